//! Which address a gateway has.

use std::{
    collections::BTreeSet,
    fmt,
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, TcpListener},
    str::FromStr,
};

/// A block of IPv4 addresses to give to gateways, such as `127.77.0.0/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange {
    first: Ipv4Addr,
    prefix: u8,
}

/// Why text is no [`AddressRange`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an IPv4 block with 8 to 30 bits of prefix, such as 127.77.0.0/16")]
pub struct AddressRangeError;

impl FromStr for AddressRange {
    type Err = AddressRangeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, prefix) = text.split_once('/').ok_or(AddressRangeError)?;
        let address: Ipv4Addr = address.parse().map_err(|_| AddressRangeError)?;
        let prefix: u8 = prefix.parse().map_err(|_| AddressRangeError)?;
        if !(8..=30).contains(&prefix) {
            return Err(AddressRangeError);
        }
        Ok(Self {
            first: Ipv4Addr::from_bits(address.to_bits() & (u32::MAX << (32 - prefix))),
            prefix,
        })
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.first, self.prefix)
    }
}

impl AddressRange {
    /// Its addresses in order, without those that look like a network's or a broadcast's.
    fn addresses(self) -> impl Iterator<Item = Ipv4Addr> {
        let count = 1_u32 << (32 - self.prefix);
        (0..count)
            .map(move |offset| Ipv4Addr::from_bits(self.first.to_bits() + offset))
            .filter(|address| !matches!(address.octets()[3], 0 | 255))
    }

    /// The first address that is not taken and on which nobody listens at these ports; `None` if there is none among
    /// the first thousand that are not taken.
    pub(crate) fn choose(self, taken: &BTreeSet<IpAddr>, ports: &BTreeSet<u16>) -> Option<IpAddr> {
        self.addresses()
            .map(IpAddr::from)
            .filter(|address| !taken.contains(address))
            .take(1000)
            .find(|address| usable(*address).is_ok() && ports.iter().all(|port| free(*address, *port)))
    }
}

/// Whether this machine has an address, told by listening on it for a moment.
pub(crate) fn usable(address: IpAddr) -> io::Result<()> {
    TcpListener::bind((address, 0)).map(drop)
}

/// Whether nobody listens there.
fn free(address: IpAddr, port: u16) -> bool {
    match TcpListener::bind((address, port)) {
        Err(error) => error.kind() != ErrorKind::AddrInUse,
        Ok(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_blocks_of_ipv4() {
        assert_eq!(
            "127.77.3.9/16".parse::<AddressRange>().unwrap().to_string(),
            "127.77.0.0/16"
        );
        for text in [
            "127.0.0.1",
            "127.0.0.0/33",
            "127.0.0.0/31",
            "::1/64",
            "10.0.0.0/x",
            "",
        ] {
            assert_eq!(text.parse::<AddressRange>(), Err(AddressRangeError), "{text}");
        }
    }

    #[test]
    fn addresses_are_given_in_order_and_never_twice() {
        let range: AddressRange = "127.77.0.0/16".parse().unwrap();
        let mut taken = BTreeSet::new();
        for expected in ["127.77.0.1", "127.77.0.2", "127.77.0.3"] {
            let address = range.choose(&taken, &BTreeSet::new()).unwrap();
            assert_eq!(address.to_string(), expected);
            taken.insert(address);
        }
        assert_eq!(range.addresses().nth(254).unwrap().to_string(), "127.77.1.1");
    }

    #[test]
    fn an_address_where_somebody_listens_is_passed_over() {
        let listener = TcpListener::bind(("127.77.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let range: AddressRange = "127.77.0.0/24".parse().unwrap();
        let address = range.choose(&BTreeSet::new(), &BTreeSet::from([port])).unwrap();
        assert_eq!(address.to_string(), "127.77.0.2");
    }

    #[test]
    fn addresses_of_other_machines_are_not_usable() {
        assert!(usable("127.0.0.1".parse().unwrap()).is_ok());
        assert!(usable("192.0.2.1".parse().unwrap()).is_err());
    }
}
