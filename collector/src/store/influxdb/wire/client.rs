//! The HTTP client for every generation of InfluxDB and compatible servers.
//!
//! Writes go to `/write` (1.x, openGemini) or `/api/v2/write` (2.x, 3), queries always to `/query` as
//! InfluxQL; the headers of `/ping` tell the generation. The token can change at run time: a token file is
//! read again when the server rejects the token.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::Full;
use url::form_urlencoded::Serializer;

use super::http::{Http, HttpError, Reply};
use super::query::{Answer, Query, Series};
use super::reachability::{HANGS, Reachability};
use super::server::{Generation, Server};
use crate::files;
use crate::secret::Secret;
use crate::store::StoreError;
use crate::store::cancel::off_worker;
use crate::store::influxdb::InfluxdbOptions;
use crate::sync::RwLock;

/// Largest answer that is read: with its parsed form it fits, beside the 48 MiB of a trace, into the 64 MiB
/// that one of our answers may cost. Readers ask for less where an answer could be larger.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// The error of a larger one.
const TOO_LARGE: &str = "the answer is too large";
/// Longest error text that is kept.
const ERROR_BYTES_MAX: usize = 4 << 10;
/// Answers up to this size are parsed on the async worker, within a millisecond.
const QUICK_ANSWER_BYTES: usize = 64 << 10;
/// Longest answer to a write that is kept: InfluxDB 2 repeats every line that it cannot parse.
const WRITE_ANSWER_BYTES_MAX: usize = 1 << 20;

/// An uninterpreted answer to a write.
#[derive(Debug)]
pub(crate) struct WriteAnswer {
    pub(crate) status: StatusCode,
    /// Possibly cut.
    pub(crate) body: String,
    pub(crate) retry_after: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Client {
    http: Http,
    options: InfluxdbOptions,
    token: RwLock<Option<Secret>>,
    token_file: RwLock<Option<PathBuf>>,
    reachability: Reachability,
}

enum Body {
    None,
    Lines(Bytes),
    Form(String),
    Json(serde_json::Value),
}

const TOKEN_FILE_BYTES_MAX: u64 = 64 << 10;

/// Reads a token file; `None` if it is empty.
fn read_token(path: &Path) -> Result<Option<Secret>, StoreError> {
    let read = || {
        let bytes = files::read_regular(path, TOKEN_FILE_BYTES_MAX)?;
        let text = String::from_utf8(bytes).map_err(std::io::Error::other)?;
        match text.trim().chars().any(char::is_control) {
            true => Err(std::io::Error::other(
                "the token holds a line break or another control character",
            )),
            false => Ok(text),
        }
    };
    let text = read().map_err(|error| StoreError::io("read the token from", path, error))?;
    let token = Some(text.trim()).filter(|token| !token.is_empty());
    Ok(token.map(Secret::from))
}

impl Client {
    /// Makes a client without contacting the server.
    ///
    /// # Errors
    /// When the file of certificate authorities or the token file cannot be used.
    pub(crate) fn new(options: InfluxdbOptions) -> Result<Self, StoreError> {
        let ca_file = options.ca_file.as_deref();
        let http = Http::new(&options.url, ca_file).map_err(|error| {
            let shown = ca_file.map_or_else(String::new, |file| file.display().to_string());
            failed("trust the certificate authorities in", &shown, &error)
        })?;
        if let Some(path) = options.token_file.as_deref().filter(|path| path.exists()) {
            // The token is read on demand; this reports an unreadable file immediately.
            read_token(path)?;
        }
        Ok(Self {
            http,
            token: RwLock::new(options.token.clone()),
            token_file: RwLock::new(options.token_file.clone()),
            reachability: Reachability::default(),
            options,
        })
    }

    pub(crate) fn options(&self) -> &InfluxdbOptions {
        &self.options
    }

    /// Returns the shared state of the server's reachability.
    pub(crate) fn reachability(&self) -> &Reachability {
        &self.reachability
    }

    pub(crate) fn server(&self) -> Option<Server> {
        self.reachability.server()
    }

    /// Sets the generation without asking the server.
    #[cfg(test)]
    pub(crate) fn take_for(&self, generation: Generation) {
        let server = Server {
            generation,
            ..Server::unnamed()
        };
        self.reachability.set_server(server);
    }

    pub(crate) fn token(&self) -> Option<Secret> {
        self.token.read().clone()
    }

    pub(crate) fn offer_token_file(&self, path: PathBuf) {
        let mut file = self.token_file.write();
        file.get_or_insert(path);
    }

    /// Reads the token file again; returns whether the token changed.
    pub(crate) async fn reload_token(&self) -> Result<bool, StoreError> {
        let Some(path) = self.token_file.read().clone() else {
            return Ok(false);
        };
        let read = tokio::task::spawn_blocking(move || read_token(&path)).await;
        let read = read.map_err(|error| self.failed("read the token", &error))??;
        let mut token = self.token.write();
        let other = read.is_some() && *token != read;
        if other {
            *token = read;
        }
        Ok(other)
    }

    pub(crate) async fn ping(&self) -> Result<Server, StoreError> {
        let reply = self
            .send(Method::GET, "/ping", &[], Body::None, ERROR_BYTES_MAX)
            .await
            .map_err(|error| self.unanswered("reach", error))?;
        let server = Server::of(&reply.headers)
            .or_else(|| reply.status.is_success().then(Server::unnamed))
            .ok_or_else(|| self.failed("reach", &no_influxdb(reply.status)))?;
        self.reachability.set_server(server.clone());
        Ok(server)
    }

    /// Returns the kind of server, asking at most once.
    pub(crate) async fn generation(&self) -> Result<Generation, StoreError> {
        match self.server() {
            Some(server) => Ok(server.generation),
            None => Ok(self.ping().await?.generation),
        }
    }

    pub(crate) async fn write(&self, lines: Bytes) -> Result<WriteAnswer, StoreError> {
        let InfluxdbOptions { org, bucket, .. } = &self.options;
        let precision = ("precision", "ns");
        let lines = Body::Lines(lines);
        let most = WRITE_ANSWER_BYTES_MAX;
        let sent = match self.generation().await? {
            Generation::V1 | Generation::OpenGemini => {
                let query = [("db", bucket.as_str()), precision];
                self.send(Method::POST, "/write", &query, lines, most).await
            }
            Generation::V2 | Generation::V3 => {
                let query = [("org", org.as_str()), ("bucket", bucket), precision];
                self.send(Method::POST, "/api/v2/write", &query, lines, most)
                    .await
            }
        };
        let reply = sent.map_err(|error| self.failed("write to", &error))?;
        let retry_after = reply.headers.get(RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| Some(value.to_str().ok()?.to_owned()));
        Ok(WriteAnswer {
            status: reply.status,
            body: String::from_utf8_lossy(&reply.body).into_owned(),
            retry_after,
        })
    }

    /// Runs a query of one statement.
    pub(crate) async fn query(&self, query: &Query) -> Result<Vec<Series>, StoreError> {
        Ok(self.queries(query).await?.into_iter().flatten().collect())
    }

    /// Runs a query of several statements; reloads the token if its file changed meanwhile. After a timeout
    /// the server is not queried for a while.
    pub(crate) async fn queries(&self, query: &Query) -> Result<Vec<Vec<Series>>, StoreError> {
        if self.reachability.is_paused() {
            return Err(self.failed("query", &"it did not answer a moment ago"));
        }
        let mut answer = self.ask(query).await?;
        let refused = answer.0 == StatusCode::UNAUTHORIZED;
        if refused && self.reload_token().await.unwrap_or(false) {
            answer = self.ask(query).await?;
        }
        let (status, answer) = answer;
        answer.map_err(|text| self.failed("query", &format!("{status}: {text}")))
    }

    /// Runs a query; returns the status, and the series by statement or the server's error.
    pub(crate) async fn ask(&self, query: &Query) -> Result<Asked, StoreError> {
        let form = [
            ("q", query.as_str()),
            ("params", &query.parameters()),
            ("db", &self.options.bucket),
            ("epoch", "ns"),
        ];
        let form = Body::Form(encoded(&form));
        let request = self.send(Method::POST, "/query", &[], form, ANSWER_BYTES_MAX);
        let ping = || self.send(Method::GET, "/ping", &[], Body::None, ERROR_BYTES_MAX);
        let reply = self.reachability.watch(request, ping).await;
        let reply = reply.ok_or_else(|| self.failed("query", &HANGS))?;
        let reply = reply.map_err(|error| self.unanswered("query", error))?;
        if reply.is_cut {
            return Err(self.failed("query", &TOO_LARGE));
        }
        let (status, body) = (reply.status, reply.body);
        if body.len() <= QUICK_ANSWER_BYTES {
            return Ok((status, series_of(status, &body)));
        }
        off_worker(Path::new("an answer"), move || {
            Ok((status, series_of(status, &body)))
        })
        .await
    }

    /// Calls a path of the management API; returns the status and the body, possibly cut.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<serde_json::Value>,
    ) -> Result<(StatusCode, String), StoreError> {
        let body = body.map_or(Body::None, Body::Json);
        let reply = self
            .send(method, path, query, body, WRITE_ANSWER_BYTES_MAX)
            .await
            .map_err(|error| failed("call", &self.url(path), &error))?;
        Ok((
            reply.status,
            String::from_utf8_lossy(&reply.body).into_owned(),
        ))
    }

    /// Returns the URL of a path, including a proxy's path prefix.
    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.options.url)
    }

    /// Sends a request with the token and returns the answer, whatever its status.
    async fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Body,
        answer_bytes_max: usize,
    ) -> Result<Reply, HttpError> {
        let mut uri = self.url(path);
        if !query.is_empty() {
            uri = format!("{uri}?{}", encoded(query));
        }
        let (content_type, body) = match body {
            Body::None => (None, Bytes::new()),
            Body::Lines(lines) => (Some("text/plain; charset=utf-8"), lines),
            Body::Form(form) => (Some("application/x-www-form-urlencoded"), form.into()),
            Body::Json(json) => (Some("application/json"), json.to_string().into()),
        };
        let headers = [
            (AUTHORIZATION, self.authorization()),
            (CONTENT_TYPE, content_type.map(HeaderValue::from_static)),
        ];
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        let request = request
            .body(Full::new(body))
            .map_err(|error| HttpError::Connect(error.to_string()))?;
        let reply = self.http.send(request, answer_bytes_max).await;
        if reply.is_ok() {
            self.reachability.answered();
        }
        reply
    }

    /// Returns the `Authorization` header: user and password if the token has a colon and the server is 1.x.
    fn authorization(&self) -> Option<HeaderValue> {
        let token = self.token()?;
        let token = token.expose();
        let generation = self.server().map(|server| server.generation);
        let is_first = !matches!(generation, Some(Generation::V2 | Generation::V3));
        let text = match is_first && token.contains(':') {
            true => format!("Basic {}", STANDARD.encode(token)),
            false => format!("Token {token}"),
        };
        let mut value = HeaderValue::from_bytes(text.as_bytes()).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Returns the error of an exchange without an answer. Only a server that refuses connections or times
    /// out counts as unreachable: a single connection may break for many reasons.
    fn unanswered(&self, action: &'static str, error: HttpError) -> StoreError {
        if !matches!(error, HttpError::Broken(_)) {
            self.reachability.unanswered(&error);
        }
        self.failed(action, &error)
    }

    fn failed(&self, action: &'static str, problem: &dyn std::fmt::Display) -> StoreError {
        failed(action, &self.options.url, problem)
    }
}

/// Returns whether a query failed because its answer is too large, so that a smaller one may succeed.
pub(crate) fn is_too_large(error: &StoreError) -> bool {
    matches!(error, StoreError::Remote { problem, .. } if problem == TOO_LARGE)
}

/// Returns the series of an answer by statement, or its error.
fn series_of(status: StatusCode, body: &[u8]) -> Result<Vec<Vec<Series>>, String> {
    match serde_json::from_slice::<Answer>(body) {
        Ok(answer) if status.is_success() || answer.error.is_some() => answer.into_series(),
        _ => {
            let text = &body[..body.len().min(ERROR_BYTES_MAX)];
            Err(String::from_utf8_lossy(text).into_owned())
        }
    }
}

fn encoded(pairs: &[(&str, &str)]) -> String {
    Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// The result of a query: status, and series by statement or the server's error.
pub(crate) type Asked = (StatusCode, Result<Vec<Vec<Series>>, String>);

/// Describes a server that does not answer pings like InfluxDB.
fn no_influxdb(status: StatusCode) -> String {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            format!("it answers {status} to a ping: the token is missing or wrong")
        }
        status => format!("there is no InfluxDB at this address: it answers {status} to a ping"),
    }
}

pub(crate) fn failed(
    action: &'static str,
    url: &dyn std::fmt::Display,
    problem: &dyn std::fmt::Display,
) -> StoreError {
    StoreError::Remote {
        action,
        url: url.to_string(),
        problem: problem.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_shows_no_secret() {
        let options = InfluxdbOptions {
            token: Some("s3cret".into()),
            ..InfluxdbOptions::at("http://127.0.0.1:8086")
        };
        let client = Client::new(options).unwrap();
        assert!(!format!("{client:?}").contains("s3cret"));
        let authorization = client.authorization().unwrap();
        assert_eq!(authorization, "Token s3cret");
        assert!(authorization.is_sensitive());
    }

    #[test]
    fn a_token_file_that_no_header_can_hold_is_refused_at_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        let client = || {
            Client::new(InfluxdbOptions {
                token_file: Some(file.clone()),
                ..InfluxdbOptions::at("http://127.0.0.1:8086")
            })
        };
        assert!(client().is_ok(), "it may be written later");
        std::fs::write(&file, "s3cret\n").unwrap();
        assert!(client().is_ok());
        std::fs::write(&file, "s3cret\nother\n").unwrap();
        let error = client().unwrap_err().to_string();
        assert!(error.contains("a line break"), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
}
