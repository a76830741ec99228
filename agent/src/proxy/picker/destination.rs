//! The endpoints that a picker chose.

use std::net::{Ipv6Addr, SocketAddr};

/// More than this many endpoints are not looked at.
const MOST_ENDPOINTS: usize = 64;

/// Those endpoints of a picker's list that are members of its pool, in the picker's order, each once.
///
/// IPv6 comes with and without brackets: the inference extension's picker leaves them away where it does not schedule.
#[must_use]
pub fn endpoints(list: &str, is_member: impl Fn(&SocketAddr) -> bool) -> Vec<SocketAddr> {
    let mut endpoints = Vec::with_capacity(1);
    for endpoint in list.split(',').take(MOST_ENDPOINTS).filter_map(endpoint) {
        if is_member(&endpoint) && !endpoints.contains(&endpoint) {
            endpoints.push(endpoint);
        }
    }
    endpoints
}

fn endpoint(text: &str) -> Option<SocketAddr> {
    let text = text.trim();
    text.parse().ok().or_else(|| {
        let (address, port) = text.rsplit_once(':')?;
        let address: Ipv6Addr = address.parse().ok()?;
        Some((address, port.parse().ok()?).into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(list: &str) -> Vec<String> {
        endpoints(list, |_| true)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn the_order_is_the_pickers_and_doubles_are_dropped() {
        let list = "10.0.0.2:80, 10.0.0.1:80,10.0.0.2:80";
        assert_eq!(all(list), ["10.0.0.2:80", "10.0.0.1:80"]);
    }

    #[test]
    fn ipv6_needs_no_brackets() {
        assert_eq!(
            all("[fd00::1]:8000,fd00::2:8000"),
            ["[fd00::1]:8000", "[fd00::2]:8000"]
        );
    }

    #[test]
    fn what_is_no_member_or_no_address_is_skipped() {
        let member = "10.0.0.1:80".parse().unwrap();
        let list = "10.0.0.9:80,example.com:80,,10.0.0.1,10.0.0.1:99999,:80,10.0.0.1:80";
        assert_eq!(endpoints(list, |endpoint| *endpoint == member), [member]);
        assert!(endpoints("", |_| true).is_empty());
    }

    #[test]
    fn an_endless_list_is_not_read_to_its_end() {
        let list: Vec<String> = (1..1000).map(|port| format!("10.0.0.1:{port}")).collect();
        assert_eq!(all(&list.join(",")).len(), MOST_ENDPOINTS);
    }
}
