//! An address to listen on, as configured.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// An address to listen on: an IP address and a port, or a port on every loopback address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenAddr {
    /// This address.
    One(SocketAddr),
    /// 127.0.0.1 and, with IPv6, ::1: clients that resolve `localhost` try either one first.
    Localhost(u16),
}

/// Why a text is not an address to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ListenAddrError {
    /// Neither an address nor `localhost`.
    #[error(
        "wanted an IP address and a port, such as 127.0.0.1:9411 or [::1]:9411, or localhost:9411"
    )]
    Address,
    /// `localhost` without a port.
    #[error("wanted a port after localhost, such as localhost:9411")]
    Port,
}

impl ListenAddr {
    /// Returns whether only this machine can connect.
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::One(addr) => addr.ip().is_loopback(),
            Self::Localhost(_) => true,
        }
    }
}

impl From<SocketAddr> for ListenAddr {
    fn from(addr: SocketAddr) -> Self {
        Self::One(addr)
    }
}

impl FromStr for ListenAddr {
    type Err = ListenAddrError;

    fn from_str(text: &str) -> Result<Self, ListenAddrError> {
        match text.strip_prefix("localhost:") {
            Some(port) => {
                let port = port.parse().map_err(|_| ListenAddrError::Port)?;
                Ok(Self::Localhost(port))
            }
            None => {
                let addr = text.parse().map_err(|_| ListenAddrError::Address)?;
                Ok(Self::One(addr))
            }
        }
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(addr) => addr.fmt(f),
            Self::Localhost(port) => write!(f, "localhost:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_is_shown() {
        for text in ["localhost:9411", "127.0.0.1:0", "[::1]:9411", "0.0.0.0:80"] {
            let addr: ListenAddr = text.parse().unwrap();
            assert_eq!(addr.to_string(), text);
            assert_eq!(addr.is_loopback(), text != "0.0.0.0:80");
        }
        for wrong in [
            "localhost",
            "localhost:",
            "localhost:65536",
            "example.org:80",
            "9411",
            "",
        ] {
            let error = wrong.parse::<ListenAddr>().unwrap_err().to_string();
            assert!(error.starts_with("wanted"), "{wrong}");
        }
    }
}
