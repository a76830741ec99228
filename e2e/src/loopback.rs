//! Ranges of loopback addresses, one per test, so that every test can use the real ports.

use std::{
    collections::hash_map::RandomState,
    env,
    fmt::{self, Display},
    fs::{self, File, OpenOptions},
    hash::{BuildHasher, Hasher},
    net::{Ipv4Addr, SocketAddr},
};

use anyhow::{Context, Result, bail};

/// A `/24` of `127.0.0.0/8` that no other test on this machine uses while this value lives.
#[derive(Debug)]
pub struct Loopback {
    network: [u8; 3],
    /// Holds the lock; the kernel frees it however the process ends.
    _lock: File,
}

impl Loopback {
    /// Takes a free range; fails only when the temporary folder cannot hold a lock file.
    pub fn lease() -> Result<Self> {
        let folder = env::temp_dir().join("flotilla-loopback");
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let first = RandomState::new().build_hasher().finish();
        // 127.0.x.x and 127.1.x.x are left to people and to the product's defaults.
        for candidate in (0..64_000).map(|step| (first % 64_000 + step) % 64_000) {
            let [second, third] = [2 + candidate / 256, candidate % 256]
                .map(|octet| u8::try_from(octet).expect("64,000 candidates fit in two octets"));
            let path = folder.join(format!("127.{second}.{third}"));
            let lock = OpenOptions::new().create(true).append(true).open(&path);
            let lock = lock.with_context(|| format!("cannot open {}", path.display()))?;
            if lock.try_lock().is_ok() {
                return Ok(Self {
                    network: [127, second, third],
                    _lock: lock,
                });
            }
        }
        bail!("every loopback range is leased; see {}", folder.display())
    }

    /// The address with this last octet.
    pub fn address(&self, host: u8) -> Ipv4Addr {
        let [first, second, third] = self.network;
        Ipv4Addr::new(first, second, third, host)
    }

    /// The socket address with this last octet and this port.
    pub fn socket(&self, host: u8, port: u16) -> SocketAddr {
        SocketAddr::from((self.address(host), port))
    }
}

/// As `flotilla run --addresses` takes it: `127.x.y.0/24`.
impl Display for Loopback {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/24", self.address(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_leases_never_share_a_range() {
        let (first, second) = (Loopback::lease().unwrap(), Loopback::lease().unwrap());
        assert_ne!(first.to_string(), second.to_string());
        assert!(first.to_string().ends_with(".0/24"));
    }
}
