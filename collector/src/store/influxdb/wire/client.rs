//! The HTTP side: one pooled client for every generation of InfluxDB and what speaks its API.
//!
//! Writes go to `/write` (1.x, openGemini) or `/api/v2/write` (2.x, 3), queries always to `/query` as InfluxQL.
//! Which it is, the headers of `/ping` tell. The token can change while it runs: where it came from a file, the file
//! is read again when the server refuses it.

use std::path::PathBuf;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Method, RequestBuilder, StatusCode, Url};

use super::query::{Answer, Query, Series};
use crate::store::StoreError;
use crate::store::influxdb::InfluxdbOptions;
use crate::store::influxdb::silence::Silence;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer may take: InfluxDB gives up on a write after 10 s, on most queries never.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an idle connection is kept: less than proxies do (60 s and more), which close it as a request arrives.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// The largest answer that is read: a trace at its cap of 50,000 spans has about 40 MB.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// The most of an error's text that is kept.
const ERROR_BYTES_MAX: usize = 4 << 10;
/// The most of a write's answer that is kept: InfluxDB 2 repeats every line that it cannot parse.
const WRITE_ANSWER_BYTES_MAX: usize = 1 << 20;

/// What kind of server it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// InfluxDB 1.x.
    V1,
    /// InfluxDB 2.x.
    V2,
    /// InfluxDB 3.
    V3,
    /// openGemini, which speaks the API of 1.x.
    OpenGemini,
}

/// A server that answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its kind.
    pub generation: Generation,
    /// Its version as it gives it.
    pub version: String,
}

/// An answer to a write, before anything is concluded from it.
#[derive(Debug)]
pub(crate) struct WriteAnswer {
    /// The status.
    pub(crate) status: StatusCode,
    /// The body, cut.
    pub(crate) body: String,
    /// `Retry-After`, as sent.
    pub(crate) retry_after: Option<String>,
}

/// Speaks to one server.
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    options: InfluxdbOptions,
    token: RwLock<Option<String>>,
    token_file: RwLock<Option<PathBuf>>,
    server: RwLock<Option<Server>>,
    silence: Silence,
}

impl std::fmt::Debug for Client {
    /// Leaves out the token, which every reader that holds a client would show.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("options", &self.options)
            .field("server", &self.server())
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Makes a client; nothing is asked yet.
    pub(crate) fn new(options: InfluxdbOptions) -> Result<Self, StoreError> {
        check(&options.url).map_err(|problem| failed("use", SETTING, &problem))?;
        // A redirect of a proxy to its login page turns a POST into a GET that succeeds: none is followed.
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .redirect(Policy::none())
            .tcp_nodelay(true)
            .build()
            .map_err(|error| failed("make a client for", &options.url, &problem_of(&error)))?;
        Ok(Self {
            http,
            base: options.url.trim_end_matches('/').to_owned(),
            token: RwLock::new(
                options
                    .token
                    .as_ref()
                    .map(|token| token.expose().to_owned()),
            ),
            token_file: RwLock::new(options.token_file.clone()),
            server: RwLock::default(),
            silence: Silence::default(),
            options,
        })
    }

    /// Returns what it was made with.
    pub(crate) fn options(&self) -> &InfluxdbOptions {
        &self.options
    }

    /// Returns the server as last seen; `None` while it never answered.
    pub(crate) fn server(&self) -> Option<Server> {
        let server = self.server.read().unwrap_or_else(PoisonError::into_inner);
        server.clone()
    }

    /// Takes the server for one of that kind, as if it had answered so.
    #[cfg(test)]
    pub(crate) fn take_for(&self, generation: Generation) {
        let server = Server {
            generation,
            ..Server::unnamed()
        };
        *self.server.write().unwrap_or_else(PoisonError::into_inner) = Some(server);
    }

    /// Returns the token in use.
    pub(crate) fn token(&self) -> Option<String> {
        let token = self.token.read().unwrap_or_else(PoisonError::into_inner);
        token.clone()
    }

    /// Names the file that holds the token, unless one was named.
    pub(crate) fn offer_token_file(&self, path: PathBuf) {
        let mut file = self
            .token_file
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        file.get_or_insert(path);
    }

    /// Reads the token from its file again; returns whether it is another one.
    pub(crate) async fn reload_token(&self) -> Result<bool, StoreError> {
        let file = self.token_file.read();
        let file = file.unwrap_or_else(PoisonError::into_inner).clone();
        let Some(path) = file else { return Ok(false) };
        let shown = path.clone();
        let text = tokio::task::spawn_blocking(move || std::fs::read_to_string(path)).await;
        let text = text
            .map_err(std::io::Error::from)
            .flatten()
            .map_err(|error| StoreError::io("read the token from", &shown, error))?;
        let read = Some(text.trim().to_owned()).filter(|token| !token.is_empty());
        let mut token = self.token.write().unwrap_or_else(PoisonError::into_inner);
        let other = read.is_some() && *token != read;
        if other {
            *token = read;
        }
        Ok(other)
    }

    /// Asks what kind of server it is, and remembers it.
    pub(crate) async fn ping(&self) -> Result<Server, StoreError> {
        let response = self
            .authorized(self.http.get(self.url("/ping")))
            .send()
            .await
            .map_err(|error| failed("reach", &self.base, &problem_of(&error)))?;
        self.silence.ends();
        let status = response.status();
        let server = server_of(response.headers())
            .or_else(|| status.is_success().then(Server::unnamed))
            .ok_or_else(|| failed("reach", &self.base, &no_influxdb(status)))?;
        *self.server.write().unwrap_or_else(PoisonError::into_inner) = Some(server.clone());
        Ok(server)
    }

    /// Returns the kind of server, asking once.
    pub(crate) async fn generation(&self) -> Result<Generation, StoreError> {
        match self.server() {
            Some(server) => Ok(server.generation),
            None => Ok(self.ping().await?.generation),
        }
    }

    /// Sends lines of line protocol.
    pub(crate) async fn write(&self, lines: Bytes) -> Result<WriteAnswer, StoreError> {
        let generation = self.generation().await?;
        let bucket = self.options.bucket.as_str();
        let request = match generation {
            Generation::V1 | Generation::OpenGemini => self
                .http
                .post(self.url("/write"))
                .query(&[("db", bucket), ("precision", "ns")]),
            Generation::V2 | Generation::V3 => self.http.post(self.url("/api/v2/write")).query(&[
                ("org", self.options.org.as_str()),
                ("bucket", bucket),
                ("precision", "ns"),
            ]),
        };
        let response = self
            .authorized(request.body(lines))
            .send()
            .await
            .map_err(|error| failed("write to", &self.base, &problem_of(&error)))?;
        self.silence.ends();
        let status = response.status();
        let retry_after = response.headers().get(reqwest::header::RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| Some(value.to_str().ok()?.to_owned()));
        let body = self.read(response, WRITE_ANSWER_BYTES_MAX).await?;
        Ok(WriteAnswer {
            status,
            body: String::from_utf8_lossy(&body).into_owned(),
            retry_after,
        })
    }

    /// Asks a query of one statement.
    pub(crate) async fn query(&self, query: &Query) -> Result<Vec<Series>, StoreError> {
        Ok(self.queries(query).await?.into_iter().flatten().collect())
    }

    /// Asks a query of several statements; a token that was changed in its file meanwhile is taken up. A server that
    /// fell silent is not asked for a while.
    pub(crate) async fn queries(&self, query: &Query) -> Result<Vec<Vec<Series>>, StoreError> {
        if self.silence.lasts() {
            return Err(failed("query", &self.base, &SILENT));
        }
        let mut answer = self.ask(query).await?;
        let refused = answer.0 == StatusCode::UNAUTHORIZED;
        if refused && self.reload_token().await.unwrap_or(false) {
            answer = self.ask(query).await?;
        }
        let (status, answer) = answer;
        answer.map_err(|text| failed("query", &self.base, &format!("{status}: {text}")))
    }

    /// Asks a query; returns the status and what the server said: series by statement, or its error.
    pub(crate) async fn ask(&self, query: &Query) -> Result<Asked, StoreError> {
        let form = [
            ("q", query.as_str()),
            ("params", &query.parameters()),
            ("db", &self.options.bucket),
            ("epoch", "ns"),
        ];
        let request = self.http.post(self.url("/query")).form(&form);
        let ping = || self.http.get(self.url("/ping")).send();
        let answer = self.silence.or(self.exchange(request), ping).await;
        let (status, body) = answer.ok_or_else(|| failed("query", &self.base, &SILENT))??;
        let answer: Result<Answer, _> = serde_json::from_slice(&body);
        let series = match answer {
            Ok(answer) if status.is_success() || answer.error.is_some() => answer.into_series(),
            _ => {
                let text = &body[..body.len().min(ERROR_BYTES_MAX)];
                Err(String::from_utf8_lossy(text).into_owned())
            }
        };
        Ok((status, series))
    }

    /// Sends a query and reads the whole answer.
    async fn exchange(&self, request: RequestBuilder) -> Result<(StatusCode, Vec<u8>), StoreError> {
        let sent = self.authorized(request).send().await;
        let response = sent.map_err(|error| {
            if error.is_timeout() {
                self.silence.begins();
            }
            failed("query", &self.base, &problem_of(&error))
        })?;
        self.silence.ends();
        let status = response.status();
        let body = self.read(response, ANSWER_BYTES_MAX).await?;
        Ok((status, body))
    }

    /// Calls a path of the management API; returns the status and the body, cut.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<serde_json::Value>,
    ) -> Result<(StatusCode, String), StoreError> {
        let mut request = self.http.request(method, self.url(path)).query(query);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = self
            .authorized(request)
            .send()
            .await
            .map_err(|error| failed("call", &self.url(path), &problem_of(&error)))?;
        let status = response.status();
        let body = self.read(response, WRITE_ANSWER_BYTES_MAX).await?;
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }

    /// Returns the address of a path; a path prefix of a proxy stays in front.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Adds the token: as user and password where it has a colon and the server is of the first generation.
    pub(crate) fn authorized(&self, request: RequestBuilder) -> RequestBuilder {
        let token = self.token.read().unwrap_or_else(PoisonError::into_inner);
        let Some(token) = token.as_deref() else {
            return request;
        };
        let generation = self.server().map(|server| server.generation);
        let first = !matches!(generation, Some(Generation::V2 | Generation::V3));
        match token.split_once(':').filter(|_| first) {
            Some((user, password)) => request.basic_auth(user, Some(password)),
            None => match HeaderValue::from_str(&format!("Token {token}")) {
                Ok(mut value) => {
                    value.set_sensitive(true);
                    request.header(AUTHORIZATION, value)
                }
                Err(_) => request,
            },
        }
    }

    /// Reads a body, of which no more than that is kept.
    async fn read(
        &self,
        mut response: reqwest::Response,
        most: usize,
    ) -> Result<Vec<u8>, StoreError> {
        let mut body = Vec::new();
        let failed = |error: &dyn std::fmt::Display| failed("read from", &self.base, error);
        let problem = |error: reqwest::Error| failed(&problem_of(&error));
        while let Some(chunk) = response.chunk().await.map_err(problem)? {
            if body.len() + chunk.len() > most {
                if most == ANSWER_BYTES_MAX {
                    return Err(failed(&"the answer is too large"));
                }
                body.extend_from_slice(&chunk[..most - body.len()]);
                break;
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// What came of a query: the status, and series by statement or what the server said.
pub(crate) type Asked = (StatusCode, Result<Vec<Vec<Series>>, String>);

impl Server {
    /// A server that answers pings and does not say what it is: most that imitate InfluxDB know its first API.
    fn unnamed() -> Self {
        Self {
            generation: Generation::V1,
            version: String::new(),
        }
    }
}

/// What is said of a server that answers neither a query nor a ping.
const SILENT: &str = "no answer, not even to a ping";

/// What the address is called in errors before it is known to hold no password.
const SETTING: &str = "the address of InfluxDB";

/// Says what is wrong with an address, if something is.
pub(crate) fn check(url: &str) -> Result<(), String> {
    let url = Url::parse(url).map_err(|error| format!("it is no address: {error}"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("user and password belong into the token: user:password".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("it ends with its path, without ? and #".to_owned());
    }
    match url.scheme() {
        "http" if url.has_host() => Ok(()),
        "https" => Err("it needs TLS, which this program leaves to a proxy beside it".to_owned()),
        _ => Err("it is no address like http://127.0.0.1:8086".to_owned()),
    }
}

/// Says what answered where a ping should.
fn no_influxdb(status: StatusCode) -> String {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            format!("it answers {status} to a ping: the token is missing or wrong")
        }
        status => format!("what answers there is no InfluxDB ({status} to a ping)"),
    }
}

/// Returns an error of the HTTP client with its cause, without the address, which the message names already.
fn problem_of(error: &reqwest::Error) -> String {
    let mut text = match error {
        error if error.is_timeout() => "no answer in time".to_owned(),
        error if error.is_connect() => "no connection".to_owned(),
        _ => "the connection failed".to_owned(),
    };
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        // Only the last cause says what happened: the others repeat it or say that there was an error.
        cause = error.source();
        if cause.is_none() {
            text = format!("{text}: {error}");
        }
    }
    text
}

/// Tells the kind of server by the headers of `/ping`; `None` where they name none.
fn server_of(headers: &HeaderMap) -> Option<Server> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    // openGemini has headers of its own and, in some builds, InfluxDB's beside them.
    if let Some(version) = text("x-geminidb-version") {
        return Some(Server {
            generation: Generation::OpenGemini,
            version: version.to_owned(),
        });
    }
    let build = text("x-influxdb-build").unwrap_or_default();
    let version = text("x-influxdb-version")?;
    let generation = match version.trim_start_matches('v') {
        _ if build.contains("Gemini") => Generation::OpenGemini,
        digits if digits.starts_with("2.") => Generation::V2,
        digits if digits.starts_with("3.") || build == "Core" => Generation::V3,
        _ => Generation::V1,
    };
    Some(Server {
        generation,
        version: version.to_owned(),
    })
}

/// Makes the error of a request.
pub(crate) fn failed(
    action: &'static str,
    url: &str,
    problem: &dyn std::fmt::Display,
) -> StoreError {
    StoreError::Remote {
        action,
        url: url.to_owned(),
        problem: problem.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_a_client_nor_its_address_shows_a_secret() {
        let options = InfluxdbOptions {
            token: Some("s3cret".into()),
            ..InfluxdbOptions::new("http://127.0.0.1:8086")
        };
        let client = Client::new(options).unwrap();
        assert!(!format!("{client:?}").contains("s3cret"));
        assert!(client.options().has_http_url());
        let with_password = InfluxdbOptions::new("http://fusebox:s3cret@127.0.0.1:8086");
        assert!(!with_password.has_http_url());
        let error = Client::new(with_password).unwrap_err();
        assert!(!error.to_string().contains("s3cret"));
    }

    /// The headers are those of real answers; InfluxDB 3's by its source.
    #[test]
    fn a_server_is_known_by_the_headers_of_its_ping() {
        let table = [
            ("x-influxdb-version", "1.6.7~rc0", "OSS", Generation::V1),
            ("x-influxdb-version", "1.8.10", "OSS", Generation::V1),
            ("x-influxdb-version", "v2.9.1", "OSS", Generation::V2),
            ("x-influxdb-version", "3.10.1", "Core", Generation::V3),
            ("x-influxdb-version", "3.10.1", "Enterprise", Generation::V3),
            (
                "x-geminidb-version",
                "v1.5.2",
                "OSS",
                Generation::OpenGemini,
            ),
        ];
        for (header, version, build, generation) in table {
            let mut headers = HeaderMap::new();
            headers.insert(header, HeaderValue::from_static(version));
            headers.insert("x-influxdb-build", HeaderValue::from_static(build));
            let version = version.to_owned();
            let wanted = Server {
                generation,
                version,
            };
            assert_eq!(server_of(&headers), Some(wanted));
        }
        assert_eq!(server_of(&HeaderMap::new()), None);
    }
}
