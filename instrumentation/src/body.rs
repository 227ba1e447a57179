//! The body of a response, watched to its end: a response whose head was fine can still break off, hang, or carry its real
//! status behind the body, as gRPC's does.

use std::fmt::{self, Display};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::error_type::{Seen, panic_message};

/// Marks a layer around a service of HTTP, whose calls end with the body of the response.
#[derive(Debug, Clone, Copy)]
pub enum HttpResponses {}

/// Marks a layer around a service of any kind, whose calls end with its response.
#[derive(Debug, Clone, Copy)]
pub enum AnyResponses {}

pin_project! {
    /// A response's body that reports how it ends; as a body it is the one within.
    pub struct ResponseBody<B> {
        #[pin]
        inner: B,
        watched: Watched,
    }
}

/// Receives how a body ends.
pub(crate) trait Watch: Send + Sync {
    /// Runs one poll of the body in the context to which it belongs.
    fn run(&mut self, poll: &mut dyn FnMut());

    /// A part of the body has arrived, and it is not the last one.
    fn progress(&mut self) {}

    /// Called once, at the end.
    fn end(&mut self, end: BodyEnd<'_>);
}

/// How a body ended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum BodyEnd<'a> {
    /// All of it has arrived; gRPC's has its status in the trailers.
    Complete(Option<&'a HeaderMap>),
    /// It broke off.
    Failed {
        error_type: &'static str,
        is_timeout: bool,
        description: &'a str,
    },
    /// The code that makes it panicked, with this payload.
    Panicked(&'a str),
    /// It was dropped before its end, while its reader waited for more.
    CutOff,
    /// Its reader wanted no more of it, or nothing at all.
    Left { was_read: bool },
}

/// Tells the watch once how the body ended, at the latest when it is dropped.
struct Watched {
    watch: Option<Box<dyn Watch>>,
    /// Bytes still to come, if the length is known.
    rest: Option<u64>,
    was_read: bool,
    is_waiting: bool,
}

impl<B> ResponseBody<B> {
    /// Watches a body, which ends at the latest after `length` bytes if that is known.
    pub(crate) fn new(inner: B, length: Option<u64>, watch: Box<dyn Watch>) -> Self {
        let mut body = Self::unwatched(inner);
        body.watched.rest = length;
        body.watched.watch = Some(watch);
        body
    }

    /// Creates a body whose end is not reported: that of an answer which replaces the service's, for example.
    pub fn unwatched(inner: B) -> Self {
        Self {
            inner,
            watched: Watched {
                watch: None,
                rest: None,
                was_read: false,
                is_waiting: false,
            },
        }
    }

    /// Returns the body within.
    pub fn get_ref(&self) -> &B {
        &self.inner
    }

    /// Returns the body within; how it ends is not reported.
    pub fn into_inner(self) -> B {
        self.inner
    }
}

impl Watched {
    fn end(&mut self, end: BodyEnd<'_>) {
        if let Some(mut watch) = self.watch.take() {
            watch.end(end);
        }
    }

    /// Counts the bytes of a part of the body; returns whether that were the last ones.
    fn count(&mut self, data: Option<&impl Buf>) -> bool {
        let (Some(rest), Some(data)) = (&mut self.rest, data) else {
            return false;
        };
        *rest = rest.saturating_sub(data.remaining() as u64);
        *rest == 0
    }

    /// Polls the body; a panic ends it and goes on.
    fn poll<T>(&mut self, mut poll: impl FnMut() -> T) -> T {
        self.was_read = true;
        let Some(watch) = &mut self.watch else {
            return poll();
        };
        let mut polled = None;
        let run = AssertUnwindSafe(|| watch.run(&mut || polled = Some(poll())));
        if let Err(panic) = catch_unwind(run) {
            self.end(BodyEnd::Panicked(panic_message(&*panic)));
            resume_unwind(panic)
        }
        polled.expect("a watch runs the poll")
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.end(match self.is_waiting {
            true => BodyEnd::CutOff,
            false => BodyEnd::Left {
                was_read: self.was_read,
            },
        });
    }
}

impl<B> Body for ResponseBody<B>
where
    B: Body,
    B::Error: Display + 'static,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let (mut inner, watched) = (this.inner, this.watched);
        let polled = watched.poll(|| inner.as_mut().poll_frame(cx));
        watched.is_waiting = polled.is_pending();
        let frame = ready!(polled);
        match &frame {
            None => watched.end(BodyEnd::Complete(None)),
            Some(Err(error)) => {
                let seen = Seen::of(error);
                watched.end(BodyEnd::Failed {
                    error_type: seen.error_type(),
                    is_timeout: seen.is_timeout(),
                    description: &seen.description(error),
                });
            }
            Some(Ok(frame)) => match frame.trailers_ref() {
                Some(trailers) => watched.end(BodyEnd::Complete(Some(trailers))),
                // Servers and clients do not ask again once the body or its announced length says that this was all.
                None if watched.count(frame.data_ref()) || inner.is_end_stream() => {
                    watched.end(BodyEnd::Complete(None))
                }
                None => watched.watch.iter_mut().for_each(|watch| watch.progress()),
            },
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B: From<String>> From<String> for ResponseBody<B> {
    /// As [`unwatched`](Self::unwatched): the body of a problem document.
    fn from(text: String) -> Self {
        Self::unwatched(B::from(text))
    }
}

impl<B: Default> Default for ResponseBody<B> {
    /// An empty body that is not watched.
    fn default() -> Self {
        Self::unwatched(B::default())
    }
}

impl<B: fmt::Debug> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ResponseBody").field(&self.inner).finish()
    }
}
