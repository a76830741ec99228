//! Times and sizes that hold for all legs.

use std::time::Duration;

use proto::fleet::ProxySettings;

/// [`ProxySettings`] with defaults in place of what is not said. They fit streams of tokens: a model may think for
/// minutes before the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    pub connect_timeout: Duration,
    pub first_byte_timeout: Duration,
    pub idle_timeout: Duration,
    pub picker_connect_timeout: Duration,
    pub picker_timeout: Duration,
    pub picker_response_timeout: Duration,
    /// Bytes of a request's body that are kept to send it again.
    pub replay_buffer: usize,
    /// Bytes of a request's body that a picker may look at.
    pub request_buffer: usize,
    /// Bytes of a response that wait for a picker.
    pub response_buffer: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self::from(ProxySettings::default())
    }
}

impl From<ProxySettings> for Settings {
    fn from(settings: ProxySettings) -> Self {
        let time = |said: u64, default: Duration| {
            if said == 0 {
                default
            } else {
                Duration::from_millis(said)
            }
        };
        let size = |said: u64, default: usize| match usize::try_from(said) {
            Ok(0) => default,
            Ok(said) => said,
            Err(_) => usize::MAX,
        };
        Self {
            connect_timeout: time(settings.connect_timeout, Duration::from_secs(5)),
            first_byte_timeout: time(settings.first_byte_timeout, Duration::from_mins(10)),
            idle_timeout: time(settings.idle_timeout, Duration::from_mins(5)),
            picker_connect_timeout: time(settings.picker_connect_timeout, Duration::from_secs(2)),
            picker_timeout: time(settings.picker_timeout, Duration::from_mins(1)),
            picker_response_timeout: time(settings.picker_response_timeout, Duration::from_secs(5)),
            replay_buffer: size(settings.replay_buffer, 1 << 20),
            request_buffer: size(settings.request_buffer, 16 << 20),
            response_buffer: size(settings.response_buffer, 256 << 10),
        }
    }
}
