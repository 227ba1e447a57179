//! One reader of a stream: gets the newest frame each interval, in pieces, so that little of it is in memory
//! as text.

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

use super::Wanted;
use super::frame::{FULL, Frame};
use crate::api::Problem;

/// Breakers in one piece, 2 KiB each.
const PIECE: usize = 50;

/// Keeps the stream from being idle, with the field that Hystrix and Turbine send and as a comment for other
/// clients.
const PINGS: [&str; 2] = ["ping: \n\n", ": ping\n\n"];

pub(super) struct Reader {
    frames: Receiver<Arc<Frame>>,
    wanted: Wanted,
    delay: Duration,
    frame: Arc<Frame>,
    /// The next row of the frame; `None` once it is sent.
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
        let rows = self.frame.rows.iter().enumerate().skip(first);
        let mut rows = rows.filter(|(_, row)| self.wanted.includes(&row.key.service));
        for (_, row) in rows.by_ref().take(PIECE) {
            let name = match &self.wanted {
                // Services may have breakers with the same name, and the dashboard has one tile per name.
                Wanted::Everything => format!("{}.{}", row.key.service, row.key.name),
                Wanted::Service(_) | Wanted::Cluster(_) => row.key.name.clone(),
            };
            put(&mut text, &row.event(&name, self.frame.time_ms));
        }
        self.next = rows.next().map(|(index, _)| index);
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

impl Wanted {
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
