//! Users that a reverse proxy has identified and names in a header. The header is believed only on connections of trusted
//! proxies; on all others it is removed and counted, so that no client can pass for another user.

use axum::extract::Request;
use fusebox::control::BY_CHARS_MAX;
use http::header::HeaderValue;
use http::{HeaderMap, HeaderName};

use super::{Role, Roles};
use crate::receivers::places::Session;

/// Headers that mean something else, and would be taken from every request.
const RESERVED: [&str; 6] = [
    "authorization",
    "host",
    "cookie",
    "origin",
    "via",
    "forwarded",
];

/// The header in which the user is passed on to handlers. It is removed from every request that arrives.
pub(super) const USER: HeaderName = HeaderName::from_static("fusebox-user");

/// Who may do what, by the name that a reverse proxy gives. The name `*` stands for every user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProxyUsers {
    /// The header with the user's name.
    pub header: String,
    /// Users who may change things, and see everything.
    pub operators: Vec<String>,
    /// Users who may see everything.
    pub viewers: Vec<String>,
}

impl ProxyUsers {
    /// Returns the rule that is broken, if one is.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        let is_name = |name: &String| (1..=BY_CHARS_MAX).contains(&name.chars().count());
        let header = self.header.to_ascii_lowercase();
        let mut names = self.operators.iter().chain(&self.viewers);
        if self.header.parse::<HeaderName>().is_err() {
            Some("must be the name of a header, such as X-Forwarded-User")
        } else if RESERVED.contains(&&*header) || header == USER.as_str() {
            Some("must be a header of its own, such as X-Forwarded-User")
        } else if self.operators.is_empty() && self.viewers.is_empty() {
            Some("needs at least one --proxy-operator or --proxy-viewer; `*` stands for every user")
        } else if !names.all(is_name) {
            Some("knows only users with names of 1 to 100 characters, as in the journal")
        } else {
            None
        }
    }

    pub(super) fn roles(&self, user: &str) -> Roles {
        let has = |users: &[String]| users.iter().any(|name| name == "*" || name == user);
        match (has(&self.operators), has(&self.viewers)) {
            (true, _) => Roles::of(&[Role::Read, Role::Operate]),
            (false, true) => Roles::of(&[Role::Read]),
            (false, false) => Roles::of(&[]),
        }
    }

    /// Takes the headers that name a user from a request, and returns the user if they can be believed.
    pub(super) fn take(&self, request: &mut Request, session: Option<&Session>) -> Named {
        let knows_host = fusebox::http::names_private_host(request.uri(), request.headers());
        let named = take_all(request.headers_mut(), &self.header);
        let is_trusted = session.is_some_and(|session| {
            // A browser on this machine connects from the same address as a proxy there, and a page of any site can
            // make it send headers to a name that it points here.
            session.is_proxy() && (knows_host || !session.peer().is_loopback())
        });
        match named.as_slice() {
            [] => Named::Unnamed,
            [one] if is_trusted => name(one).map_or(Named::Forged, Named::User),
            _ => Named::Forged,
        }
    }
}

/// What a request says about its user.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// Nothing.
    Unnamed,
    /// The name that a trusted proxy gave.
    User(String),
    /// Something that no trusted proxy said.
    Forged,
}

fn take_all(headers: &mut HeaderMap, name: &str) -> Vec<HeaderValue> {
    let values = headers.get_all(name).iter().cloned().collect();
    headers.remove(name);
    values
}

fn name(value: &HeaderValue) -> Option<String> {
    let name = std::str::from_utf8(value.as_bytes()).ok()?.trim();
    let is_name = (1..=BY_CHARS_MAX).contains(&name.chars().count());
    let is_name = is_name && !name.chars().any(char::is_control);
    is_name.then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::Arc;

    use axum::body::Body;
    use http::header::HOST;

    use super::*;
    use crate::receivers::access::Access;
    use crate::receivers::auth::{Auth, Denied, user_name};
    use crate::receivers::places::{PlaceLimits, Places};

    const PROXY: &str = "10.0.0.7";
    const PAGE: &str = "/circuits/shop/stock/settings";

    fn auth() -> Auth {
        let users = ProxyUsers {
            header: "X-Forwarded-User".to_owned(),
            operators: vec!["ada@example.org".to_owned()],
            viewers: vec!["*".to_owned()],
        };
        assert_eq!(users.problem(), None);
        let proxies = [PROXY.parse().unwrap(), "127.0.0.1".parse().unwrap()];
        Auth::new(None, false, Access::behind(&proxies)).with_users(Some(users))
    }

    /// Sends a request from an address to a host; returns the answer, the user that handlers see, and the denials.
    async fn sent(
        method: &str,
        peer: &str,
        host: &str,
        headers: &[(&str, &str)],
    ) -> (Result<(), Denied>, Option<String>, Vec<&'static str>) {
        sent_to(PAGE, method, peer, host, headers).await
    }

    async fn sent_to(
        path: &str,
        method: &str,
        peer: &str,
        host: &str,
        headers: &[(&str, &str)],
    ) -> (Result<(), Denied>, Option<String>, Vec<&'static str>) {
        let auth = auth();
        let places = Places::new("web", PlaceLimits::of(16));
        let peer = peer.parse::<IpAddr>().unwrap();
        let (place, _) = places.take(peer.into()).unwrap();
        if auth.access.is_proxy(peer) {
            place.session().trust_forwarded();
        }
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, host);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::empty()).unwrap();
        request.extensions_mut().insert(Arc::clone(place.session()));
        let answer = auth.admit_web(&mut request).await;
        let denials = auth.access.denials().into_keys().map(|(_, reason)| reason);
        (answer, user_name(request.headers()), denials.collect())
    }

    #[tokio::test]
    async fn a_trusted_proxy_names_operators_and_viewers() {
        let ada = [("x-forwarded-user", "ada@example.org")];
        let (answer, user, denials) = sent("POST", PROXY, "fusebox.example", &ada).await;
        assert_eq!((answer, user.as_deref()), (Ok(()), Some("ada@example.org")));
        assert_eq!(denials, Vec::<&str>::new());
        let eve = [("x-forwarded-user", "eve")];
        let operate = Denied::Role(Roles::of(&[Role::Operate]));
        assert_eq!(
            sent("POST", PROXY, "fusebox.example", &eve).await.0,
            Err(operate)
        );
        assert_eq!(sent("GET", PROXY, "fusebox.example", &eve).await.0, Ok(()));
        let cross = [ada[0], ("sec-fetch-site", "cross-site")];
        let refused = sent("POST", PROXY, "fusebox.example", &cross).await;
        assert_eq!(refused.0, Err(Denied::Site));
    }

    /// Scenario: somebody who is no trusted proxy names an operator; one behind the proxy adds a second name; and one names
    /// the user in the header of the handlers.
    /// Guarantees: none of the names is believed, and each attempt is counted.
    #[tokio::test]
    async fn other_peoples_headers_are_removed_and_counted() {
        let ada = ("x-forwarded-user", "ada@example.org");
        for (peer, headers) in [
            ("192.0.2.9", &[ada][..]),
            (PROXY, &[ada, ("X-Forwarded-User", "eve")]),
            (PROXY, &[("x-forwarded-user", "")]),
            (PROXY, &[("fusebox-user", "ada@example.org")]),
        ] {
            for method in ["GET", "POST"] {
                let (answer, user, denials) = sent(method, peer, "fusebox", headers).await;
                assert_eq!((answer, user), (Err(Denied::Missing), None), "{headers:?}");
                assert_eq!(denials, ["missing", "user_header"], "{headers:?}");
            }
        }
    }

    /// Scenario: a page of another site points its own name at this machine, whose proxy is trusted, and sends the header.
    #[tokio::test]
    async fn a_rebinding_page_is_no_proxy() {
        let ada = [("x-forwarded-user", "ada@example.org")];
        let rebound = sent("POST", "127.0.0.1", "evil.example:9411", &ada).await;
        assert_eq!((rebound.0, rebound.1), (Err(Denied::Missing), None));
        let own = sent("POST", "127.0.0.1", "localhost:9411", &ada).await;
        assert_eq!(own.0, Ok(()));
    }

    /// Scenario: people are known by the proxy, and there is no token for services.
    /// Guarantees: services register and read the registry, under private host names; a status is only set by an operator.
    #[tokio::test]
    async fn services_need_no_user() {
        let status = "/eureka/apps/SHOP/a/status";
        let service = async |method, path, host, headers: &[(&str, &str)]| {
            sent_to(path, method, "192.0.2.9", host, headers).await.0
        };
        for method in ["GET", "POST"] {
            let register = "/eureka/apps/SHOP";
            let own = service(method, register, "fusebox:9411", &[]).await;
            assert_eq!(own, Ok(()), "{method}");
            let rebound = service(method, register, "evil.example:9411", &[]).await;
            assert_eq!(rebound, Err(Denied::Host), "{method}");
        }
        let api = service("GET", "/api/instances", "fusebox:9411", &[]).await;
        assert_eq!(api, Err(Denied::Missing));
        let forced = service("PUT", status, "fusebox:9411", &[]).await;
        assert_eq!(forced, Err(Denied::Missing));
        let ada = [("x-forwarded-user", "ada@example.org")];
        let forced = sent_to(status, "PUT", PROXY, "fusebox.example", &ada).await;
        assert_eq!(forced.0, Ok(()));
    }

    #[test]
    fn an_incomplete_set_is_refused() {
        let users = |header: &str, operators: &[&str]| ProxyUsers {
            header: header.to_owned(),
            operators: operators.iter().map(|name| (*name).to_owned()).collect(),
            viewers: Vec::new(),
        };
        for (users, words) in [
            (users("", &["ada"]), "name of a header"),
            (users("x user", &["ada"]), "name of a header"),
            (users("x-user", &[]), "at least one"),
            (users("x-user", &[""]), "1 to 100 characters"),
            (users("Authorization", &["ada"]), "header of its own"),
        ] {
            assert!(users.problem().unwrap().contains(words), "{users:?}");
        }
    }
}
