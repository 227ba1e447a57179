//! One reader of a stream: gets the newest frame at each interval, in chunks, so that little text is in
//! memory.

use std::convert::Infallible;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::unfold;
use serde::Serialize;
use serde_json::json;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, timeout_at};

use super::frame::{FULL, Frame};
use super::row::Row;
use super::{Wanted, around};
use crate::api::Problem;
use crate::model::policy::{POOL, PolicyView};

/// Objects per chunk, 2 KiB each.
const PIECE: usize = 50;

/// Keeps the stream from being idle, with the field that Hystrix and Turbine send and as a comment for other
/// clients.
const PINGS: [&str; 2] = ["ping: \n\n", ": ping\n\n"];

pub(super) struct Reader {
    frames: Receiver<Arc<Frame>>,
    wanted: Wanted,
    delay: Duration,
    frame: Arc<Frame>,
    /// The next object of the frame; `None` once it is sent.
    next: Option<usize>,
    sent_at: Instant,
}

impl Reader {
    /// Waits for the first frame.
    ///
    /// # Errors
    /// When nothing requested has ever reported, or the collector stops.
    pub(super) async fn start(
        mut frames: Receiver<Arc<Frame>>,
        wanted: Wanted,
        delay: Duration,
    ) -> Result<Self, Problem> {
        let frame = newest(&mut frames).await;
        let frame = frame.ok_or_else(|| Problem::new(StatusCode::SERVICE_UNAVAILABLE, FULL))?;
        if let Wanted::Service(name) | Wanted::Cluster(name) = &wanted
            && !frame.rows.iter().any(|row| row.key.service == *name)
        {
            let problem = format!("service `{name}` reports no circuit breaker now");
            return Err(Problem::not_found(problem));
        }
        Ok(Self {
            frames,
            wanted,
            delay,
            frame,
            next: Some(0),
            sent_at: Instant::now(),
        })
    }

    /// Returns the text of the stream, which ends when the collector stops.
    pub(super) fn chunks(self) -> impl Stream<Item = Result<Bytes, Infallible>> {
        unfold(self, |mut reader| async {
            let text = reader.piece().await?;
            Some((Ok(text.into()), reader))
        })
    }

    /// Waits for the interval and takes the newest frame; `None` as soon as the collector stops.
    async fn next_frame(&mut self) -> Option<()> {
        let due = self.sent_at + self.delay;
        let mut is_new = false;
        while let Ok(frame) = timeout_at(due, newest(&mut self.frames)).await {
            self.frame = frame?;
            is_new = true;
        }
        if !is_new {
            self.frame = newest(&mut self.frames).await?;
        }
        Some(())
    }

    async fn piece(&mut self) -> Option<String> {
        let first = match self.next {
            Some(first) => first,
            None => {
                self.next_frame().await?;
                self.sent_at = Instant::now();
                0
            }
        };
        let mut text = String::new();
        let rows = self.frame.rows.iter().map(Object::Breaker);
        let objects = rows.chain(self.frame.policies.iter().map(Object::Policy));
        let objects = objects.enumerate().skip(first);
        let mut objects = objects.filter(|(_, object)| self.wanted.includes(object.service()));
        for (_, object) in objects.by_ref().take(PIECE) {
            object.put(&mut text, &self.wanted, self.frame.time_ms);
        }
        self.next = objects.next().map(|(index, _)| index);
        if self.next.is_none() {
            self.end(&mut text);
        }
        Some(text)
    }

    fn end(&self, text: &mut String) {
        if let Wanted::Service(_) = self.wanted {
            text.push_str(PINGS[0]);
            return;
        }
        let meta = json!({
            "type": "meta",
            "name": "meta",
            "reportingHostsLast10Seconds": self.frame.hosts,
            "timestamp": self.frame.time_ms,
        });
        put(text, &meta);
        text.push_str(PINGS[1]);
    }
}

/// An object of a frame, before it is rendered.
enum Object<'a> {
    Breaker(&'a Row),
    Policy(&'a PolicyView),
}

impl Object<'_> {
    fn service(&self) -> &str {
        match self {
            Self::Breaker(row) => &row.key.service,
            Self::Policy(policy) => &policy.service,
        }
    }

    fn put(&self, text: &mut String, wanted: &Wanted, time_ms: u64) {
        let named = |name: &str| wanted.name(self.service(), name);
        match self {
            Self::Breaker(row) => {
                let (name, pool) = (named(&row.key.name), row.pool().map(named));
                put(text, &row.event(&name, pool.as_deref(), time_ms));
            }
            Self::Policy(policy) if policy.kind == POOL => {
                put(text, &around::pool(policy, &named(&policy.name), time_ms));
            }
            Self::Policy(policy) => {
                let name = named(&policy.name);
                put(text, &around::collapser(policy, &name, time_ms));
            }
        }
    }
}

impl Wanted {
    /// Returns the name of an object: services may use the same names, and the dashboard has one tile per name.
    fn name(&self, service: &str, name: &str) -> String {
        match self {
            Self::Everything => format!("{service}.{name}"),
            Self::Service(_) | Self::Cluster(_) => name.to_owned(),
        }
    }

    fn includes(&self, service: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Service(name) | Self::Cluster(name) => name == service,
        }
    }
}

/// Returns the newest frame; `None` when the collector stops.
async fn newest(frames: &mut Receiver<Arc<Frame>>) -> Option<Arc<Frame>> {
    loop {
        match frames.recv().await {
            Ok(frame) => return Some(frame),
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return None,
        }
    }
}

/// Appends an event; serialising our own structs cannot fail.
fn put(text: &mut String, event: &impl Serialize) {
    if let Ok(json) = serde_json::to_string(event) {
        let _ = write!(text, "data: {json}\n\n");
    }
}
