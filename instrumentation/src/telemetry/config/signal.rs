//! Whether a signal is sent, where to and how: from the variables, or the endpoint that the code sets.

use std::time::Duration;

use http::{HeaderMap, HeaderName, Uri};

use super::super::environment::{Environment, gzip, header_map};
use super::super::protocol::Protocol;

/// Whether, to which address and in which protocol a signal (traces, metrics or logs) is sent.
#[derive(Debug, Clone)]
pub(in crate::telemetry) struct Signal {
    name: &'static str,
    pub(in crate::telemetry) is_exported: bool,
    pub(in crate::telemetry) protocol: Protocol,
    pub(super) address: Address,
    /// The headers of the signal's own variable, which replace those of the common one.
    pub(in crate::telemetry) headers: Option<HeaderMap>,
    pub(in crate::telemetry) is_compressed: bool,
    /// The timeout of the signal's own variable, instead of the common one.
    pub(in crate::telemetry) timeout: Option<Duration>,
}

/// The address of a signal.
#[derive(Debug, Clone)]
pub(super) enum Address {
    Default,
    /// The base address of a receiver; the signal's path is appended.
    Receiver(String),
    /// The address from the signal's own variable; used unchanged over HTTP.
    Whole(String),
}

/// A problem with an address.
pub(super) struct AddressProblem {
    pub(super) text: String,
    /// Whether the address can be used nevertheless.
    pub(super) is_assumption: bool,
}

impl Signal {
    pub(super) fn read(name: &'static str, env: &mut Environment<'_>) -> Self {
        let upper = name.to_ascii_uppercase();
        let exporter = |name: &str| match name {
            "otlp" => Some(true),
            "none" => Some(false),
            _ => None,
        };
        let unknown = "neither otlp nor none; otlp is used";
        let is_exported = env.choice(&format!("OTEL_{upper}_EXPORTER"), exporter, unknown);
        let unknown = "neither http/protobuf nor grpc; http/protobuf is used";
        let own = env.choice(
            &format!("OTEL_EXPORTER_OTLP_{upper}_PROTOCOL"),
            Protocol::parse,
            unknown,
        );
        // The common variable is reported once, for the first signal.
        let common = "OTEL_EXPORTER_OTLP_PROTOCOL";
        let common = match name {
            "traces" => env.choice(common, Protocol::parse, unknown),
            _ => env
                .get(common)
                .and_then(|name| Protocol::parse(&name.to_ascii_lowercase())),
        };
        let whole = env
            .get(&format!("OTEL_EXPORTER_OTLP_{upper}_ENDPOINT"))
            .map(Address::Whole);
        let receiver = || {
            env.get("OTEL_EXPORTER_OTLP_ENDPOINT")
                .map(Address::Receiver)
        };
        Self {
            name,
            is_exported: is_exported.unwrap_or(true),
            protocol: own.or(common).unwrap_or(Protocol::HttpProtobuf),
            address: whole.or_else(receiver).unwrap_or(Address::Default),
            headers: headers(&upper, env),
            is_compressed: is_compressed(&upper, env),
            timeout: env.own_millis(&format!("OTEL_EXPORTER_OTLP_{upper}_TIMEOUT")),
        }
    }

    /// Sets a header that the code adds to all exports; an invalid one is reported once, with the common headers.
    pub(super) fn set_header(&mut self, name: &str, value: &str) {
        if let Some(headers) = &mut self.headers
            && let (Ok(name), Ok(value)) = (HeaderName::try_from(name), value.try_into())
        {
            headers.insert(name, value);
        }
    }

    /// Returns the name of the signal's own variable, for example for `ENDPOINT`.
    pub(super) fn variable(&self, what: &str) -> String {
        let name = self.name.to_ascii_uppercase();
        format!("OTEL_EXPORTER_OTLP_{name}_{what}")
    }

    /// Returns the URL for the signal.
    pub(in crate::telemetry) fn url(&self) -> String {
        let path = self.protocol.path(self.name);
        let (address, path) = match &self.address {
            Address::Default => (self.protocol.default_endpoint(), path),
            Address::Receiver(address) => (address.as_str(), path),
            Address::Whole(url) if self.protocol == Protocol::HttpProtobuf => {
                (url.as_str(), String::new())
            }
            Address::Whole(url) => (url.as_str(), path),
        };
        let address = with_scheme(address);
        match path.is_empty() {
            true => address,
            false => format!("{}{path}", address.trim_end_matches('/')),
        }
    }

    /// Returns the URL of the receiver; `None` if it is unknown.
    pub(super) fn receiver(&self) -> Option<String> {
        let url = self.is_exported.then(|| self.url())?;
        let receiver = url.strip_suffix(&self.protocol.path(self.name))?;
        Some(receiver.to_owned())
    }

    pub(super) fn check(&self) -> Result<(), AddressProblem> {
        let (address, set_by) = match &self.address {
            Address::Default => return Ok(()),
            Address::Receiver(address) => {
                let set_by = "with_endpoint or OTEL_EXPORTER_OTLP_ENDPOINT";
                (address, set_by.to_owned())
            }
            Address::Whole(address) => (address, self.variable("ENDPOINT")),
        };
        let is_usable = |uri: Uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri
                    .authority()
                    .is_some_and(|authority| !authority.host().is_empty())
        };
        let (name, shown) = (self.name, without_credentials(address));
        let endpoint = format!("endpoint {shown:?} ({set_by})");
        if !with_scheme(address).parse().is_ok_and(is_usable) {
            return Err(AddressProblem {
                text: format!("{endpoint}: no http:// or https:// URL; no {name} are sent"),
                is_assumption: false,
            });
        }
        match address.contains("://") {
            true => Ok(()),
            false => Err(AddressProblem {
                text: format!("{endpoint} of {name}: no scheme; http:// is assumed"),
                is_assumption: true,
            }),
        }
    }
}

/// Reads the signal's own headers.
fn headers(upper: &str, env: &mut Environment<'_>) -> Option<HeaderMap> {
    let variable = format!("OTEL_EXPORTER_OTLP_{upper}_HEADERS");
    env.get(&variable)?;
    let pairs = env.pairs(&variable);
    Some(header_map(&pairs, &variable, &mut env.problems))
}

/// Reads whether requests are compressed, from the signal's own variable or the common one, which `check_sdk` checks.
fn is_compressed(upper: &str, env: &mut Environment<'_>) -> bool {
    let own = format!("OTEL_EXPORTER_OTLP_{upper}_COMPRESSION");
    let own = env.choice(&own, gzip, "neither gzip nor none; it is ignored");
    let common = || {
        env.get("OTEL_EXPORTER_OTLP_COMPRESSION")
            .and_then(|name| gzip(&name.to_ascii_lowercase()))
    };
    own.or_else(common).unwrap_or(false)
}

/// Removes `user:secret@` and the query, also from an address that cannot be parsed.
pub(super) fn without_credentials(address: &str) -> String {
    let address = address.split('?').next().unwrap_or_default();
    let (scheme, rest) = match address.find("://") {
        Some(at) => address.split_at(at + "://".len()),
        None => ("", address),
    };
    // An unencoded secret may contain any character, so everything before the last @ is removed.
    let rest = rest.rfind('@').map_or(rest, |at| &rest[at + 1..]);
    format!("{scheme}{rest}")
}

/// Adds a missing scheme, for example to `localhost:4317`.
fn with_scheme(address: &str) -> String {
    match address.contains("://") {
        true => address.to_owned(),
        false => format!("http://{address}"),
    }
}
