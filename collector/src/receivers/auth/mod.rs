//! Authentication for every listener: valid tokens and users of a reverse proxy, and what each allows.
//!
//! Without a token, pages and queries are answered only for hosts that are not public DNS names: otherwise a
//! page of any site could point its own name at this machine and read everything (DNS rebinding). Receivers
//! then check the origin instead.

mod paths;
mod source;
mod tokens;
mod users;
mod write;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fusebox::control::BY_CHARS_MAX;
use http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use http::{Extensions, HeaderMap, StatusCode};
use tokio::time::sleep;

use super::access::Access;
use super::places::Session;
use super::refusal::Refusal;
use crate::sync::RwLock;

pub use fusebox::http::is_same_origin;
use paths::{OPEN_PATH, is_read, needed};
pub(crate) use source::TokenSource;
pub use tokens::TokenError;
pub(crate) use tokens::{Role, Roles, Tokens, check};
pub use users::ProxyUsers;
use users::{Named, USER};

/// The challenge in a 401 to senders.
pub(super) const BEARER_CHALLENGE: HeaderValue =
    HeaderValue::from_static("Bearer realm=\"fusebox\"");

/// The challenges in a 401 of the web listener; browsers ask their user for a name and a password.
const WEB_CHALLENGES: [HeaderValue; 2] = [
    BEARER_CHALLENGE,
    HeaderValue::from_static("Basic realm=\"fusebox\""),
];

/// Decides which requests are allowed: all of them, or those with a token that has the role; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Auth {
    tokens: Option<Arc<RwLock<Arc<Tokens>>>>,
    users: Option<Arc<ProxyUsers>>,
    any_host: bool,
    access: Access,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    Missing,
    Wrong,
    Role(Roles),
    /// Without a token: its host may be any public name.
    Host,
    /// Without a token: it comes from a page of a disallowed origin.
    Origin,
    /// A page of another site tries to change something.
    Site,
    /// Without a token: it would change running services, and comes from another machine.
    Remote,
}

/// Marks a request to the open path whose client must not see details.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Anonymous;

impl Auth {
    /// Requires one of these tokens, if there are any. Otherwise pages and queries require a private host
    /// name, unless `any_host`.
    pub(crate) fn new(tokens: Option<Tokens>, any_host: bool, access: Access) -> Self {
        Self {
            tokens: tokens.map(|tokens| Arc::new(RwLock::new(Arc::new(tokens)))),
            users: None,
            any_host,
            access,
        }
    }

    /// Also accepts users whom a trusted proxy names.
    pub(crate) fn with_users(mut self, users: Option<ProxyUsers>) -> Self {
        self.users = users.map(Arc::new);
        self
    }

    /// Replaces the tokens for all clones; connections already authenticated stay.
    pub(crate) fn replace(&self, tokens: Tokens) {
        if let Some(current) = &self.tokens {
            *current.write() = Arc::new(tokens);
        }
    }

    /// Returns whether a request is allowed by one of these roles, and records the decision on its
    /// connection.
    ///
    /// The token is sent as `Authorization: Bearer TOKEN` or, by browsers, as the password of `Basic` with
    /// any name.
    pub(crate) async fn admit(
        &self,
        headers: &HeaderMap,
        extensions: &Extensions,
        needed: Roles,
    ) -> Result<(), Denied> {
        // Absent for requests that do not arrive through a listener.
        let session = extensions.get::<Arc<Session>>();
        let judged = self.judge(headers, session, needed).await;
        match (session, judged) {
            (Some(session), Ok(())) => session.authenticate(),
            (_, Err(denied)) => self.turn_away(extensions, denied),
            (None, Ok(())) => {}
        }
        judged
    }

    /// Counts a rejected request, and closes its connection after the answer unless its token is valid.
    pub(crate) fn turn_away(&self, extensions: &Extensions, denied: Denied) {
        let Some(session) = extensions.get::<Arc<Session>>() else {
            return;
        };
        self.access.denied(session.listener(), denied.as_str());
        // A proxy's connection is that of all its users.
        let is_shared = self.users.is_some() && session.is_proxy();
        if !matches!(denied, Denied::Role(_)) && !is_shared {
            session.refuse();
        }
    }

    pub(crate) fn requires_token(&self) -> bool {
        self.tokens.is_some()
    }

    /// Whether only known people may use the pages and queries.
    fn knows_people(&self) -> bool {
        self.tokens.is_some() || self.users.is_some()
    }

    /// Marks the connection of a health check, which needs no token, as authenticated if no tokens are
    /// configured.
    pub(crate) fn probed(&self, extensions: &Extensions) {
        if let (None, Some(session)) = (&self.tokens, extensions.get::<Arc<Session>>()) {
            session.authenticate();
        }
    }

    async fn judge(
        &self,
        headers: &HeaderMap,
        session: Option<&Arc<Session>>,
        needed: Roles,
    ) -> Result<(), Denied> {
        let Some(tokens) = self
            .tokens
            .as_ref()
            .map(|tokens| Arc::clone(&tokens.read()))
        else {
            return Ok(());
        };
        let shown = credentials(headers).ok_or(Denied::Missing)?;
        // One attempt per connection: concurrent requests on one connection would be many guesses.
        let may_try = session.is_none_or(|session| !session.is_refused());
        let roles = tokens.find(&shown).filter(|_| may_try);
        if let Some(session) = session {
            self.hold_back(session, headers, roles.is_some()).await;
        }
        let roles = roles.ok_or(Denied::Wrong)?;
        match roles.meet(needed) {
            true => Ok(()),
            false => Err(Denied::Role(needed)),
        }
    }

    /// Counts a wrong token; delays the answer, also to a right one, if the client has sent many wrong ones.
    async fn hold_back(&self, session: &Session, headers: &HeaderMap, is_valid: bool) {
        if is_valid && session.is_authenticated() {
            return;
        }
        let client = self.access.client(session, headers);
        if is_valid {
            // Before the delay, which must not cost the connection its place.
            session.authenticate();
        } else {
            session.refuse();
            self.access.guessed(client);
        }
        let held = self.access.held(client);
        if !held.is_zero() {
            sleep(held).await;
        }
    }

    /// Requires a token, or a private host name, for every page and query of the web listener.
    pub(crate) fn guard(&self, web: Router) -> Router {
        let auth = self.clone();
        web.layer(from_fn(move |mut request: Request, next: Next| {
            let auth = auth.clone();
            async move {
                match auth.admit_web(&mut request).await {
                    Ok(()) => next.run(request).await,
                    Err(denied) => deny(denied),
                }
            }
        }))
    }

    async fn admit_web(&self, request: &mut Request) -> Result<(), Denied> {
        let user = self.take_user(request);
        let (headers, extensions) = (request.headers(), request.extensions());
        let needed = needed(request.method(), request.uri().path());
        // Services that register and find each other are no users of a proxy.
        let is_service = user.is_none() && needed.meet(Roles::of(&[Role::Send]));
        let is_known = match is_service {
            true => self.requires_token(),
            false => self.knows_people(),
        };
        let knows_host =
            is_known || self.any_host || fusebox::http::names_private_host(request.uri(), headers);
        let is_anonymous = match self.knows_people() {
            true => user.is_none() && !headers.contains_key(AUTHORIZATION),
            false => !knows_host,
        };
        if is_anonymous && request.uri().path() == OPEN_PATH {
            request.extensions_mut().insert(Anonymous);
            return Ok(());
        }
        if !knows_host {
            self.turn_away(extensions, Denied::Host);
            return Err(Denied::Host);
        }
        if !is_read(request.method(), request.uri().path()) {
            let judged = self.judge_write(request);
            judged.inspect_err(|denied| self.turn_away(extensions, *denied))?;
        }
        match (user, &self.users, &self.tokens) {
            (Some(user), Some(users), _) => {
                let judged = self.admit_user(users.roles(&user), extensions, needed);
                // Names have no control characters, so that each is a valid value.
                if let Ok(name) = HeaderValue::from_bytes(user.as_bytes()) {
                    request.headers_mut().insert(USER, name);
                }
                judged
            }
            (None, Some(_), None) if !is_service => {
                self.turn_away(extensions, Denied::Missing);
                Err(Denied::Missing)
            }
            _ => self.admit(headers, extensions, needed).await,
        }
    }

    /// Takes the user from a request. Names that no trusted proxy gave are removed and counted.
    fn take_user(&self, request: &mut Request) -> Option<String> {
        let forged = request.headers_mut().remove(USER).is_some();
        let session = request.extensions().get::<Arc<Session>>().cloned();
        let users = self.users.as_ref();
        let named = users.map(|users| users.take(request, session.as_deref()));
        if let Some(session) = session
            && (forged || named == Some(Named::Forged))
        {
            self.access.denied(session.listener(), "user_header");
        }
        match named {
            Some(Named::User(user)) => Some(user),
            _ => None,
        }
    }

    fn admit_user(
        &self,
        roles: Roles,
        extensions: &Extensions,
        needed: Roles,
    ) -> Result<(), Denied> {
        if !roles.meet(needed) {
            self.turn_away(extensions, Denied::Role(needed));
            return Err(Denied::Role(needed));
        }
        if let Some(session) = extensions.get::<Arc<Session>>() {
            session.authenticate();
        }
        Ok(())
    }
}

impl Denied {
    fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Wrong => "wrong",
            Self::Role(_) => "role",
            Self::Host => "host",
            Self::Origin => "origin",
            Self::Site => "site",
            Self::Remote => "remote",
        }
    }
}

/// Returns the token in a request.
fn credentials(headers: &HeaderMap) -> Option<Vec<u8>> {
    let (scheme, credentials) = split_scheme(headers.get(AUTHORIZATION)?.as_bytes())?;
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return Some(credentials.to_vec());
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return None;
    }
    let pair = STANDARD.decode(credentials).ok()?;
    let password = pair.splitn(2, |byte| *byte == b':').nth(1)?;
    Some(password.to_vec())
}

/// Returns the name of the user: the one that a trusted proxy gave, or that was sent with the token, as browsers ask for it;
/// `None` without one.
pub fn user_name(headers: &HeaderMap) -> Option<String> {
    if let Some(user) = headers.get(USER) {
        return std::str::from_utf8(user.as_bytes()).ok().map(shown_name);
    }
    let (scheme, credentials) = split_scheme(headers.get(AUTHORIZATION)?.as_bytes())?;
    let is_basic = scheme.eq_ignore_ascii_case(b"basic");
    let pair = is_basic.then(|| STANDARD.decode(credentials).ok())??;
    let name = pair.split(|byte| *byte == b':').next()?;
    let name = std::str::from_utf8(name).ok()?.trim();
    (!name.is_empty()).then(|| shown_name(name))
}

/// Makes a name from outside fit a line of the journal.
fn shown_name(name: &str) -> String {
    let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    name.chars().take(BY_CHARS_MAX).map(shown).collect()
}

fn deny(denied: Denied) -> Response {
    match denied {
        Denied::Missing | Denied::Wrong => unauthorized(),
        Denied::Role(needed) => {
            let problem =
                format!("this token or user does not allow that: it needs the role {needed}\n");
            (StatusCode::FORBIDDEN, problem).into_response()
        }
        Denied::Origin => {
            let problem = format!("{}\n", Refusal::Origin);
            (StatusCode::FORBIDDEN, problem).into_response()
        }
        Denied::Site => {
            let problem = "this was sent from a page of another site; nothing was changed\n";
            (StatusCode::FORBIDDEN, problem).into_response()
        }
        Denied::Remote => {
            let problem = "without a token, changes are accepted only from this machine; set a token with the role operate \
                           (--token-file)\n";
            (StatusCode::FORBIDDEN, problem).into_response()
        }
        Denied::Host => {
            let problem = "without a token only private host names are answered, such as localhost or 127.0.0.1; set a \
                           token (--token-file), or allow any name with --insecure\n";
            (StatusCode::MISDIRECTED_REQUEST, problem).into_response()
        }
    }
}

fn unauthorized() -> Response {
    let mut response = (StatusCode::UNAUTHORIZED, "a token is required\n").into_response();
    for challenge in WEB_CHALLENGES {
        response.headers_mut().append(WWW_AUTHENTICATE, challenge);
    }
    response
}

fn split_scheme(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = value.iter().position(|byte| *byte == b' ')?;
    Some((&value[..space], value[space + 1..].trim_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: a browser sends a name with its token that is long, and has a line break.
    /// Guarantees: it fits a line of the journal.
    #[test]
    fn a_name_from_outside_is_short_and_one_line() {
        let name = |name: &str| {
            let pair = STANDARD.encode(format!("{name}:token"));
            let value = HeaderValue::from_str(&format!("Basic {pair}")).unwrap();
            user_name(&HeaderMap::from_iter([(AUTHORIZATION, value)]))
        };
        assert_eq!(name(" "), None);
        assert_eq!(name("김\nby").as_deref(), Some("김\u{fffd}by"));
        let long = name(&"김".repeat(100_000)).unwrap();
        assert_eq!(long.chars().count(), BY_CHARS_MAX);
    }

    async fn shown(value: &str) -> Result<(), Denied> {
        let token = Tokens::one(&"sender-sender-01".into()).unwrap();
        let auth = Auth::new(Some(token), false, Access::default());
        let mut headers = HeaderMap::new();
        if !value.is_empty() {
            headers.insert(AUTHORIZATION, value.parse().unwrap());
        }
        let needed = Roles::of(&[Role::Send]);
        auth.admit(&headers, &Extensions::new(), needed).await
    }

    #[tokio::test]
    async fn only_the_whole_token_opens() {
        let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
        assert_eq!(shown("Bearer sender-sender-01").await, Ok(()));
        assert_eq!(shown("bearer  sender-sender-01").await, Ok(()));
        assert_eq!(shown(&basic("anybody:sender-sender-01")).await, Ok(()));
        for wrong in [
            "Bearer sender-sender-0",
            "Bearer sender-sender-011",
            "Bearer ",
        ] {
            assert_eq!(shown(wrong).await, Err(Denied::Wrong), "{wrong}");
        }
        let wrong = basic("anybody:sender-sender-011");
        assert_eq!(shown(&wrong).await, Err(Denied::Wrong));
        for none in ["", "Bearer", "sender-sender-01", "Basic sender-sender-01"] {
            assert_eq!(shown(none).await, Err(Denied::Missing), "{none}");
        }
    }
}
