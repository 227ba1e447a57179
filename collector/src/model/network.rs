//! Addresses and networks that settings name: trusted proxies, and the instances whose actuators may be read.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// An address, or a network such as `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    network: IpAddr,
    /// Number of leading bits that must match.
    bits: u8,
}

/// The text is not an address or network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither an address nor a network, such as 192.0.2.7, 10.0.0.0/8 or fd00::/8")]
pub struct NetworkError(String);

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || NetworkError(text.to_owned());
        let (network, bits) = match text.split_once('/') {
            Some((network, bits)) => (network, Some(bits.parse().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let network: IpAddr = network.parse().map_err(|_| wrong())?;
        let all = width(network);
        let bits = bits.unwrap_or(all);
        match bits <= all {
            true => Ok(Self { network, bits }),
            false => Err(wrong()),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bits == width(self.network) {
            true => self.network.fmt(f),
            false => write!(f, "{}/{}", self.network, self.bits),
        }
    }
}

impl Network {
    /// Returns whether an address is this one or in the network.
    pub(crate) fn has(&self, addr: IpAddr) -> bool {
        let addr = addr.to_canonical();
        let free = u32::from(width(addr)).saturating_sub(u32::from(self.bits));
        let prefix = |addr| number(addr).checked_shr(free).unwrap_or(0);
        width(addr) == width(self.network) && prefix(addr) == prefix(self.network)
    }
}

fn width(addr: IpAddr) -> u8 {
    if addr.is_ipv4() { 32 } else { 128 }
}

fn number(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(addr) => addr.to_bits().into(),
        IpAddr::V6(addr) => addr.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_and_hold_their_addresses() {
        let has = |network: &str, addr: &str| {
            let read: Network = network.parse().unwrap();
            assert_eq!(read.to_string(), network);
            read.has(addr.parse().unwrap())
        };
        assert!(has("10.0.0.0/8", "10.255.0.1") && has("10.0.0.0/8", "::ffff:10.0.0.1"));
        assert!(has("192.0.2.7", "192.0.2.7") && has("fd00::/8", "fd12::1"));
        assert!(has("0.0.0.0/0", "192.0.2.7") && has("::/0", "2001:db8::1"));
        assert!(!has("10.0.0.0/8", "11.0.0.1") && !has("192.0.2.7", "192.0.2.8"));
        assert!(!has("0.0.0.0/0", "2001:db8::1") && !has("fd00::/8", "10.0.0.1"));
        for wrong in [
            "",
            "10.0.0.0/33",
            "fd00::/129",
            "10.0.0",
            "proxy",
            "10.0.0.0/",
        ] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }
}
