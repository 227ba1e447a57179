//! `/api/stream`: changes as they happen, as server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::params::Params;
use super::{ApiState, Problem};
use crate::query::{Cost, Greeting, QueryService, StreamEvent, Topic};

/// Interval of comments that keep proxies from closing an idle stream.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// When a browser reconnects after the stream broke.
const RETRY: Duration = Duration::from_secs(2);

/// `GET /api/stream?topics`
pub(super) async fn stream(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let topics = read_topics(&params.only(&["topics"])?)?;
    let client = Client {
        receiver: state.query.stream()?,
        query: state.query,
        topics,
        behind: true,
        greeting: None,
        greeted: false,
    };
    let events = unfold(client, |mut client| async {
        let event = client.next().await?;
        Some((Ok(event), client))
    });
    let heartbeat = KeepAlive::new().interval(HEARTBEAT).text("heartbeat");
    Ok(Sse::new(events).keep_alive(heartbeat))
}

/// Returns the topics of a comma-separated list; all without one.
fn read_topics(params: &Params) -> Result<Vec<Topic>, Problem> {
    let words = Topic::ALL.map(Topic::as_str).join(", ");
    let expected = format!("a comma-separated list of {words}");
    let topics = params.read("topics", expected, |text| {
        text.split(',')
            .map(|word| Topic::parse(word.trim()))
            .collect::<Option<Vec<_>>>()
    })?;
    Ok(topics.unwrap_or_else(|| Topic::ALL.to_vec()))
}

/// One client of the stream.
struct Client {
    receiver: Receiver<StreamEvent>,
    query: QueryService,
    topics: Vec<Topic>,
    /// It needs every breaker again: it is new, or lost events.
    behind: bool,
    /// What it has not received yet of them.
    greeting: Option<Greeting>,
    greeted: bool,
}

impl Client {
    /// Returns every breaker. While there is no room, or the store cannot be read, the client waits for the next change.
    async fn greet(&mut self) -> Option<Greeting> {
        let admitted = self.query.admission().admit(Cost::Light).await;
        let Ok(admitted) = admitted else {
            self.behind = true;
            return None;
        };
        let wall = self.query.circuits().wall(None).await.ok()?;
        Some(Greeting::new(wall, admitted))
    }

    /// Returns its next event; `None` once the collector stops.
    async fn next(&mut self) -> Option<Event> {
        if !std::mem::replace(&mut self.greeted, true) {
            return Some(Event::default().retry(RETRY).comment("fusebox"));
        }
        loop {
            if std::mem::take(&mut self.behind) && self.topics.contains(&Topic::Circuits) {
                self.greeting = self.greet().await;
            }
            if let Some(event) = self.greeting.as_mut().and_then(Greeting::next) {
                return Some(render(&event));
            }
            self.greeting = None;
            match self.receiver.recv().await {
                Ok(event) if self.topics.contains(&event.topic) => return Some(render(&event)),
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => self.behind = true,
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

fn render(event: &StreamEvent) -> Event {
    Event::default()
        .event(event.topic.as_str())
        .data(&event.json)
}
