//! A server on loopback that answers as a test says, and remembers what it was sent.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};

use crate::store::influxdb::InfluxdbOptions;

#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) authorization: String,
    pub(super) body: String,
    /// Number of earlier requests to that path.
    pub(super) before: usize,
}

impl Sent {
    pub(super) fn is_write(&self) -> bool {
        self.path.ends_with("/write")
    }
}

/// In place of a status: closes the connection without an answer.
pub(super) const HANG_UP: u16 = 0;

/// An answer: status, `Retry-After` unless empty, body.
pub(super) type Reply = (u16, &'static str, String);

type Script = Box<dyn Fn(&Sent) -> Option<Reply> + Send + Sync>;

struct Shared {
    headers: HeaderMap,
    script: Script,
    sent: Mutex<Vec<Sent>>,
}

/// Ends with the runtime.
pub(super) struct Fake {
    shared: Arc<Shared>,
    pub(super) url: String,
}

impl Fake {
    /// Starts a server of a version, or one that reports none; requests without a scripted answer succeed.
    pub(super) async fn start(
        version: &'static str,
        script: impl Fn(&Sent) -> Option<Reply> + Send + Sync + 'static,
    ) -> Self {
        let mut headers = HeaderMap::new();
        if !version.is_empty() {
            headers.insert("x-influxdb-version", version.parse().unwrap());
        }
        let shared = Arc::new(Shared {
            headers,
            script: Box::new(script),
            sent: Mutex::default(),
        });
        let app = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&shared));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { shared, url }
    }

    pub(super) fn options(&self) -> InfluxdbOptions {
        InfluxdbOptions {
            token: Some("t0".into()),
            ..InfluxdbOptions::at(&self.url)
        }
    }

    /// Returns the requests to paths with that ending.
    pub(super) fn sent(&self, path: &str) -> Vec<Sent> {
        let sent = self.shared.sent.lock().unwrap();
        let to_path = |sent: &&Sent| sent.path.ends_with(path);
        sent.iter().filter(to_path).cloned().collect()
    }

    pub(super) fn writes(&self) -> Vec<String> {
        let sent = self.sent("/write").into_iter();
        sent.map(|sent| sent.body).collect()
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX)
        .await
        .unwrap_or(Bytes::new());
    let header = |name| parts.headers.get(name).and_then(|v| v.to_str().ok());
    let mut sent = Sent {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        authorization: header("authorization").unwrap_or_default().to_owned(),
        body: String::from_utf8_lossy(&body).into_owned(),
        before: 0,
    };
    {
        let mut all = shared.sent.lock().unwrap();
        sent.before = all.iter().filter(|other| other.path == sent.path).count();
        all.push(sent.clone());
    }
    let (status, wish, body) = (shared.script)(&sent).unwrap_or_else(|| usual(&sent));
    // A handler that panics takes its connection along.
    assert!(status != HANG_UP, "hanging up, as scripted");
    let mut headers = shared.headers.clone();
    if !wish.is_empty() {
        headers.insert("retry-after", wish.parse().unwrap());
    }
    (StatusCode::from_u16(status).unwrap(), headers, body).into_response()
}

/// The answer of a server that is ready.
fn usual(sent: &Sent) -> Reply {
    let body = match sent.path.as_str() {
        "/query" if sent.body.contains("RETENTION") => {
            r#"{"results":[{"series":[{"columns":["name","duration","default"],"values":[["autogen","168h0m0s",true]]}]}]}"#
        }
        "/query" => r#"{"results":[]}"#,
        "/api/v2/buckets" => {
            r#"{"buckets":[{"id":"b1","name":"fusebox","retentionRules":[{"type":"expire","everySeconds":604800}]}]}"#
        }
        _ => return (204, "", String::new()),
    };
    (200, "", body.to_owned())
}
