//! The part of an `NginxFleet` that is for the proxy beside NGINX.

use super::Check;
use crate::{
    api::{self, ByteSize, NginxProxy, NginxProxyBuffers, NginxProxyTimeouts},
    config::ProxySettings,
};

/// What holds for all legs; whatever is absent or wrong has its default.
pub(super) fn settings(check: &mut Check, proxy: &NginxProxy) -> ProxySettings {
    let NginxProxy {
        timeouts:
            NginxProxyTimeouts {
                connect,
                first_byte,
                idle,
                picker_connect,
                picker,
                picker_response,
            },
        buffers: NginxProxyBuffers {
            replay,
            request,
            response,
        },
    } = proxy;
    let default = ProxySettings::default();
    let mut time = |field, timeout: &Option<api::Duration>, default| {
        let timeout = check.positive_duration(field, timeout.as_ref());
        timeout.unwrap_or(default)
    };
    let [connect, first_byte, idle, picker_connect, picker, picker_response] = [
        time("timeouts.connect", connect, default.connect),
        time("timeouts.firstByte", first_byte, default.first_byte),
        time("timeouts.idle", idle, default.idle),
        time("timeouts.pickerConnect", picker_connect, default.picker_connect),
        time("timeouts.picker", picker, default.picker),
        time(
            "timeouts.pickerResponse",
            picker_response,
            default.picker_response,
        ),
    ];
    let mut size = |field, size: &Option<ByteSize>, default| {
        let remedy = "a number of bytes above 0, or a quantity such as 8Mi";
        check
            .field(field, size.as_ref(), remedy, |size| {
                size.bytes().filter(|bytes| *bytes > 0)
            })
            .unwrap_or(default)
    };
    ProxySettings {
        connect,
        first_byte,
        idle,
        picker_connect,
        picker,
        picker_response,
        replay_buffer: size("buffers.replay", replay, default.replay_buffer),
        request_buffer: size("buffers.request", request, default.request_buffer),
        response_buffer: size("buffers.response", response, default.response_buffer),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn read(yaml: &str) -> (ProxySettings, Vec<String>) {
        let proxy: NginxProxy = serde_saphyr::from_str(yaml).expect("the settings of a proxy");
        let mut check = Check::of("proxy");
        let settings = settings(&mut check, &proxy);
        (settings, check.problems)
    }

    #[test]
    fn every_setting_is_taken_over() {
        let (settings, problems) = read(
            "
            timeouts: {connect: 1s, firstByte: 2s, idle: 3s, pickerConnect: 4s, picker: 5s, pickerResponse: 6s}
            buffers: {replay: 1, request: 2Ki, response: 3Ki}",
        );
        let wanted = ProxySettings {
            connect: Duration::from_secs(1),
            first_byte: Duration::from_secs(2),
            idle: Duration::from_secs(3),
            picker_connect: Duration::from_secs(4),
            picker: Duration::from_secs(5),
            picker_response: Duration::from_secs(6),
            replay_buffer: 1,
            request_buffer: 2 << 10,
            response_buffer: 3 << 10,
        };
        assert_eq!((settings, problems), (wanted, Vec::new()));
    }

    #[test]
    fn what_is_wrong_has_its_default_and_is_said() {
        let (settings, problems) = read("{timeouts: {picker: 0s}, buffers: {response: 0}}");
        assert_eq!(settings, ProxySettings::default());
        assert_eq!(
            problems,
            [
                r#"spec.proxy.timeouts.picker is "0s"; it can be a duration above 0, such as 90s"#,
                "spec.proxy.buffers.response is 0; it can be a number of bytes above 0, or a quantity such as 8Mi",
            ]
        );
    }
}
