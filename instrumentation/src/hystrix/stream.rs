//! `/hystrix.stream`: an axum handler that repeatedly sends every breaker of a registry as server-sent events.

use std::convert::Infallible;
use std::fmt;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::handler::Handler;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use http_body::Frame;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::clients::Place;
use super::watch::Watch;
use crate::circuit_breaker::Registry;

/// Default limit of concurrent readers (Hystrix, `hystrix.config.stream.maxConcurrentConnections`).
pub const READERS_MAX: usize = 5;

/// Default interval of frames (Hystrix, `hystrix.stream.dashboard.intervalInMilliseconds`).
pub const DELAY: Duration = Duration::from_millis(500);

/// The shortest interval; figures do not change faster.
pub const DELAY_MIN: Duration = Duration::from_millis(100);

/// The longest interval; proxies close connections that are idle for longer.
pub const DELAY_MAX: Duration = Duration::from_secs(60);

/// Keeps the stream from being idle, as Hystrix does; clients ignore the unknown field.
const PING: &str = "ping: \n\n";

/// The handler of `/hystrix.stream`, for Hystrix's dashboard and Turbine. Clones share their readers and figures.
///
/// A reader receives a frame immediately and then one every [`DELAY`], or every `?delay=` milliseconds between
/// [`DELAY_MIN`] and [`DELAY_MAX`]. A frame has an object for every breaker that was ever called, and ends with a
/// `ping`. Counts cover the last ten whole seconds, durations the last minute. Breakers are watched while there are
/// readers and for a minute longer; calls of a breaker older than ten seconds count only from the first reading on.
/// `rollingMaxConcurrentExecutionCount` is the maximum of ten readings a second.
///
/// The stream contains names of breakers, groups and limits: serve it only where operators can reach it.
///
/// ```no_run
/// use axum::{Router, routing::get};
/// use fusebox::hystrix::HystrixStream;
///
/// # async fn serve() -> std::io::Result<()> {
/// let stream = HystrixStream::new();
/// let app: Router = Router::new().route("/hystrix.stream", get(stream.clone()));
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:8081").await?;
/// // Streams never end by themselves; a graceful shutdown waits for them.
/// let stop = async move {
///     tokio::signal::ctrl_c().await.ok();
///     stream.close();
/// };
/// axum::serve(listener, app).with_graceful_shutdown(stop).await
/// # }
/// ```
#[derive(Clone)]
pub struct HystrixStream {
    watch: Arc<Watch>,
    readers_max: usize,
}

impl HystrixStream {
    /// Creates the stream of the process's breakers for up to [`READERS_MAX`] concurrent readers.
    pub fn new() -> Self {
        Self::of(Registry::global())
    }

    /// As [`new`](Self::new), for the breakers of a registry.
    pub fn of(registry: &Registry) -> Self {
        Self {
            watch: Arc::new(Watch::new(registry.clone())),
            readers_max: READERS_MAX,
        }
    }

    /// Sets the limit of concurrent readers. Further readers receive a 503, unless an existing reader has read nothing
    /// for a minute and a half; then the new reader takes its slot.
    pub fn readers_max(mut self, readers: usize) -> Self {
        self.readers_max = readers;
        self
    }

    /// Ends every stream with its next frame, and answers new readers with a 503.
    pub fn close(&self) {
        self.watch.close();
    }

    /// Returns the response to a request with this query.
    fn respond(&self, query: Option<&str>) -> Response {
        let delay = match delay(query) {
            Ok(delay) => delay,
            Err(problem) => return (StatusCode::BAD_REQUEST, problem).into_response(),
        };
        if self.watch.is_closed() {
            return unavailable("Service has been shut down.".to_owned());
        }
        let Some(place) = self.watch.clients.enter(self.readers_max) else {
            return unavailable(format!(
                "MaxConcurrentConnections reached: {}",
                self.readers_max
            ));
        };
        let body = Stream::new(Arc::clone(&self.watch), place, delay);
        let headers = [
            (header::CONTENT_TYPE, "text/event-stream;charset=UTF-8"),
            (
                header::CACHE_CONTROL,
                "no-cache, no-store, max-age=0, must-revalidate",
            ),
            (header::PRAGMA, "no-cache"),
        ];
        (headers, Body::new(body)).into_response()
    }
}

impl Default for HystrixStream {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for HystrixStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HystrixStream")
            .field("readers_max", &self.readers_max)
            .finish_non_exhaustive()
    }
}

impl<S> Handler<(), S> for HystrixStream {
    type Future = Ready<Response>;

    fn call(self, request: Request, _state: S) -> Self::Future {
        ready(self.respond(request.uri().query()))
    }
}

/// Parses `?delay=`, milliseconds; values out of bounds are clamped.
fn delay(query: Option<&str>) -> Result<Duration, &'static str> {
    let mut pairs = query.unwrap_or_default().split('&');
    let Some(text) = pairs.find_map(|pair| pair.strip_prefix("delay=")) else {
        return Ok(DELAY);
    };
    let millis = text
        .parse()
        .map_err(|_| "delay: must be a whole number of milliseconds\n")?;
    Ok(Duration::from_millis(millis).clamp(DELAY_MIN, DELAY_MAX))
}

fn unavailable(why: String) -> Response {
    let mut response = (StatusCode::SERVICE_UNAVAILABLE, why).into_response();
    let wait = HeaderValue::from_static("5");
    response.headers_mut().insert(header::RETRY_AFTER, wait);
    response
}

/// The body for one reader. A frame is created when it is read: a slow reader gets fewer frames, and none are buffered.
struct Stream {
    watch: Arc<Watch>,
    place: Arc<Place>,
    ticks: Interval,
}

impl Stream {
    fn new(watch: Arc<Watch>, place: Arc<Place>, delay: Duration) -> Self {
        watch.begin();
        let mut ticks = interval(delay);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            watch,
            place,
            ticks,
        }
    }
}

impl http_body::Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        this.place.read();
        ready!(this.ticks.poll_tick(cx));
        if this.watch.is_closed() || this.place.is_lost() {
            return Poll::Ready(None);
        }
        // The watching task ends with the runtime of the reader that started it.
        this.watch.begin();
        let text = format!("{}{PING}", this.watch.frame());
        Poll::Ready(Some(Ok(Frame::data(text.into()))))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.watch.clients.leave(&self.place);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;
    use crate::circuit_breaker::{CircuitBreaker, Outcome};

    /// Scenario: the runtime of the first reader, on which breakers are watched, ends.
    /// Guarantees: the reader on another runtime still receives breakers.
    #[test]
    fn a_reader_outlives_the_runtime_of_another() {
        let registry = Registry::new();
        let stock = CircuitBreaker::builder("stock").registry(&registry).build();
        let permit = stock.try_acquire().unwrap();
        permit.record(Outcome::Success, Duration::from_millis(1));
        let stream = HystrixStream::of(&registry);
        let runtime = || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            runtime.enable_time().build().unwrap()
        };
        let (first, second) = (runtime(), runtime());
        drop(first.block_on(async { stream.respond(None) }));
        let mut body = second.block_on(async { stream.respond(None) }).into_body();
        drop(first);
        let frame = poll_fn(|cx| http_body::Body::poll_frame(Pin::new(&mut body), cx));
        let frame = second.block_on(frame).unwrap().unwrap();
        let text = frame.into_data().unwrap();
        assert!(text.starts_with(b"data: "), "{text:?}");
    }

    #[test]
    fn the_delay_is_bounded_and_must_be_a_number() {
        assert_eq!(delay(None), Ok(DELAY));
        assert_eq!(delay(Some("authorization=x")), Ok(DELAY));
        assert_eq!(delay(Some("a=1&delay=2000")), Ok(Duration::from_secs(2)));
        assert_eq!(delay(Some("delay=0")), Ok(DELAY_MIN));
        assert_eq!(delay(Some("delay=99999999")), Ok(DELAY_MAX));
        assert!(delay(Some("delay=soon")).is_err() && delay(Some("delay=-1")).is_err());
    }
}
