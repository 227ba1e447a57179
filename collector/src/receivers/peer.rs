//! The address by which a client's connections are counted.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// A client's address: for IPv6 the first 64 bits, because one machine has all addresses behind them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Peer(IpAddr);

/// The network part of an IPv6 address (RFC 4291, section 2.5.1: interface identifiers are 64 bits).
const NETWORK: u128 = !0 << 64;

impl From<IpAddr> for Peer {
    fn from(addr: IpAddr) -> Self {
        Self(match addr.to_canonical() {
            IpAddr::V6(addr) if !addr.is_loopback() => {
                IpAddr::V6(Ipv6Addr::from_bits(addr.to_bits() & NETWORK))
            }
            addr => addr,
        })
    }
}

impl Peer {
    pub(crate) fn ip(self) -> IpAddr {
        self.0
    }

    pub(crate) fn is_loopback(self) -> bool {
        self.0.is_loopback()
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_machine_is_one_peer() {
        let peer = |addr: &str| Peer::from(addr.parse::<IpAddr>().unwrap()).to_string();
        assert_eq!(peer("192.0.2.7"), "192.0.2.7");
        assert_eq!(peer("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(peer("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(peer("::1"), "::1");
    }
}
