//! Checks on requests that change something, besides the token: no page of another site may send them; and
//! without configured tokens, changes of running services and of kept traces must come from this machine.

use std::sync::Arc;

use axum::extract::Request;
use fusebox::http::{is_same_origin, names_private_host};

use super::paths::{VIEWERS_PATH, registers};
use super::{Auth, Denied};
use crate::receivers::places::Session;

/// Paths whose changes affect neither running services nor the people on call, nor what is kept for them. Every other
/// change is an operator's.
const HARMLESS_PATHS: [&str; 5] = [
    VIEWERS_PATH,
    "/upload",
    "/demo-trace",
    "/demo/faults",
    "/jaeger/api/transform",
];

/// Headers added by proxies: then the request may come from any machine, although the connection is local.
const FORWARDED_BY: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];

impl Auth {
    /// Rejects a change that is not allowed; the token is checked elsewhere.
    pub(super) fn judge_write(&self, request: &Request) -> Result<(), Denied> {
        if !is_same_origin(request.headers()) {
            return Err(Denied::Site);
        }
        let path = request.uri().path();
        let registers = registers(request.method(), path);
        // Services are no users of a proxy.
        let is_known = match registers {
            true => self.requires_token(),
            false => self.knows_people(),
        };
        if is_known || HARMLESS_PATHS.contains(&path) {
            return Ok(());
        }
        // Even with --insecure, which lets anyone read.
        if !names_private_host(request.uri(), request.headers()) {
            return Err(Denied::Host);
        }
        // Services register from any machine where they may send from any.
        if registers {
            return Ok(());
        }
        let session = request.extensions().get::<Arc<Session>>();
        let is_near = session.is_some_and(|session| session.peer().is_loopback());
        let headers = request.headers();
        let is_forwarded = FORWARDED_BY.iter().any(|name| headers.contains_key(*name));
        match is_near && !is_forwarded {
            true => Ok(()),
            false => Err(Denied::Remote),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use axum::body::Body;
    use http::header::HOST;
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::super::Tokens;
    use crate::receivers::access::Access;
    use crate::receivers::places::{PlaceLimits, Places};

    use super::*;

    /// Judges a change of a circuit from an address to a host.
    fn judged(auth: &Auth, peer: &str, host: &str) -> Result<(), Denied> {
        judged_with(auth, peer, host, &[])
    }

    fn judged_with(
        auth: &Auth,
        peer: &str,
        host: &str,
        headers: &[(&'static str, &'static str)],
    ) -> Result<(), Denied> {
        judged_at(
            "/api/circuits/shop/stock/changes",
            auth,
            peer,
            host,
            headers,
        )
    }

    fn judged_at(
        path: &str,
        auth: &Auth,
        peer: &str,
        host: &str,
        headers: &[(&'static str, &'static str)],
    ) -> Result<(), Denied> {
        let places = Places::new("web", PlaceLimits::of(16));
        let peer = peer.parse::<IpAddr>().unwrap();
        let (place, _) = places.take(peer.into()).unwrap();
        let request = Request::post(path).header(HOST, host);
        let mut request = request.body(Body::empty()).unwrap();
        request.headers_mut().extend(headers_of(headers));
        request.extensions_mut().insert(Arc::clone(place.session()));
        auth.judge_write(&request)
    }

    #[test]
    fn without_a_token_only_this_machine_changes_circuits() {
        for insecure in [false, true] {
            let open = Auth::new(None, insecure, Access::default());
            for here in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
                assert_eq!(judged(&open, here, "localhost:9411"), Ok(()), "{here}");
            }
            let elsewhere = judged(&open, "192.0.2.7", "fusebox:9411");
            assert_eq!(elsewhere, Err(Denied::Remote));
            let rebound = judged(&open, "127.0.0.1", "evil.example:9411");
            assert_eq!(rebound, Err(Denied::Host));
        }
        let tokens = Tokens::one(&"operator-operator".into()).unwrap();
        let closed = Auth::new(Some(tokens), false, Access::default());
        assert_eq!(judged(&closed, "192.0.2.7", "fusebox.example"), Ok(()));
    }

    #[test]
    fn without_a_token_only_this_machine_makes_other_changes() {
        let open = Auth::new(None, true, Access::default());
        for path in [
            "/traces/1f/keep",
            "/api/traces/1f/keep",
            "/kept/1f/remove",
            "/api/kept/1f",
            "/eureka/apps/SHOP/a/status",
            "/anything/else",
            "/jaeger/api/archive/1f",
        ] {
            let judged = |peer| judged_at(path, &open, peer, "fusebox:9411", &[]);
            assert_eq!(judged("192.0.2.7"), Err(Denied::Remote), "{path}");
            assert_eq!(judged("127.0.0.1"), Ok(()), "{path}");
        }
        let register = |peer, host| judged_at("/eureka/apps/SHOP", &open, peer, host, &[]);
        assert_eq!(register("192.0.2.7", "fusebox:9411"), Ok(()));
        let rebound = register("127.0.0.1", "evil.example:9411");
        assert_eq!(rebound, Err(Denied::Host));
        for path in HARMLESS_PATHS {
            let judged = judged_at(path, &open, "192.0.2.7", "fusebox:9411", &[]);
            assert_eq!(judged, Ok(()), "{path}");
        }
    }

    fn headers_of(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    /// Scenario: a proxy on this machine forwards requests from elsewhere, with the host name that it knows.
    #[test]
    fn what_a_proxy_passes_on_is_not_from_this_machine() {
        let open = Auth::new(None, false, Access::default());
        for name in ["forwarded", "x-forwarded-for", "x-real-ip", "via"] {
            let passed = judged_with(&open, "127.0.0.1", "localhost:9411", &[(name, "")]);
            assert_eq!(passed, Err(Denied::Remote), "{name}");
        }
    }
}
