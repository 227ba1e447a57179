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
use crate::query::{Greeting, QueryService, StreamEvent, Topic};

/// Interval of comments that keep proxies from closing an idle stream.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Delay before a browser reconnects.
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

/// Parses a comma-separated list of topics; all topics by default.
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

struct Client {
    receiver: Receiver<StreamEvent>,
    query: QueryService,
    topics: Vec<Topic>,
    /// It needs every breaker again: it is new, or missed events.
    behind: bool,
    /// The part of all breakers that it has not received yet.
    greeting: Option<Greeting>,
    greeted: bool,
}

impl Client {
    /// Returns every breaker; `None` if there is no room, or the store cannot be read.
    async fn greet(&self) -> Option<Greeting> {
        let cost = self.query.wall_cost();
        let admitted = self.query.admission().admit(cost).await.ok()?;
        let wall = self.query.circuits().wall(None).await.ok()?.value;
        Some(Greeting::new(wall, admitted))
    }

    /// Returns whether it gets events of a topic now.
    fn takes(&self, topic: Topic) -> bool {
        self.topics.contains(&topic) && !(self.behind && topic == Topic::Circuits)
    }

    /// Returns the next item to send; `None` once the collector stops.
    async fn next(&mut self) -> Option<Event> {
        if !std::mem::replace(&mut self.greeted, true) {
            return Some(Event::default().retry(RETRY).comment("fusebox"));
        }
        self.next_event().await.as_ref().map(render)
    }

    /// Returns the next event. Until all breakers could be sent, changes of breakers are withheld; every
    /// event of the stream, one a second, is another attempt.
    async fn next_event(&mut self) -> Option<StreamEvent> {
        loop {
            if self.behind && self.topics.contains(&Topic::Circuits) {
                self.greeting = self.greet().await;
                self.behind = self.greeting.is_none();
            }
            if let Some(event) = self.greeting.as_mut().and_then(Greeting::next) {
                return Some(event);
            }
            self.greeting = None;
            match self.receiver.recv().await {
                Ok(event) if self.takes(event.topic) => return Some(event),
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

#[cfg(test)]
mod tests {
    use tokio::sync::broadcast;

    use super::*;
    use crate::api::tests::Fixture;
    use crate::query::Cost;

    /// *Scenario*: a client connects while there is no memory for all breakers, and a breaker changes.
    /// *Guarantees*: the client gets no change before it has received all breakers, which are sent once there
    /// is memory.
    #[tokio::test(start_paused = true)]
    async fn a_client_is_sent_the_wall_before_any_change() {
        let query = Fixture::new().state.query.clone();
        let (sender, receiver) = broadcast::channel(4);
        let taken = query.admission().admit(Cost::Wall(1_000_000)).await;
        let mut client = Client {
            receiver,
            query,
            topics: Topic::ALL.to_vec(),
            behind: true,
            greeting: None,
            greeted: true,
        };
        let send = |topic| {
            let json = "{\"complete\":false}".into();
            sender.send(StreamEvent { topic, json }).unwrap();
        };
        send(Topic::Circuits);
        send(Topic::Stats);
        assert_eq!(client.next_event().await.unwrap().topic, Topic::Stats);
        drop(taken);
        let wall = client.next_event().await.unwrap();
        assert_eq!(wall.topic, Topic::Circuits);
        assert!(wall.json.contains("\"complete\":true"), "{}", wall.json);
        send(Topic::Circuits);
        let change = client.next_event().await.unwrap();
        assert!(change.json.contains("\"complete\":false"));
    }
}
