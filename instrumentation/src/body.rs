//! A response body that is watched until it ends: a response with a successful head can still break off, hang, or carry
//! its real status after the body, as gRPC does.

use std::fmt::{self, Display};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::error_type::{Seen, panic_message};

/// Marks a layer around an HTTP service, whose calls end with the body of the response.
#[derive(Debug, Clone, Copy)]
pub enum HttpResponses {}

/// Marks a layer around a service of any kind, whose calls end with its response.
#[derive(Debug, Clone, Copy)]
pub enum AnyResponses {}

pin_project! {
    /// A response body that reports how it ends; otherwise it behaves as the body inside it.
    pub struct ResponseBody<B> {
        #[pin]
        inner: B,
        watched: Watched,
    }
}

/// Is notified how a body ends.
pub(crate) trait Watch: Send + Sync {
    /// Runs one poll of the body in the context of its call.
    fn run(&mut self, poll: &mut dyn FnMut());

    /// A part of the body has arrived that is not the last one.
    fn progress(&mut self) {}

    /// Called once, at the end.
    fn end(&mut self, end: BodyEnd<'_>);
}

/// How a body ended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum BodyEnd<'a> {
    /// The whole body has arrived; gRPC's status is in the trailers.
    Complete(Option<&'a HeaderMap>),
    /// The body broke off.
    Failed {
        error_type: &'static str,
        is_timeout: bool,
        description: &'a str,
    },
    /// The code that produces the body panicked with this payload.
    Panicked(&'a str),
    /// The body was dropped before its end while its reader waited for more.
    CutOff,
    /// The reader dropped the body without waiting for more; `was_read` tells whether it read any of it.
    Left { was_read: bool },
}

/// Notifies the watch once, at the latest when it is dropped.
struct Watched {
    watch: Option<Box<dyn Watch>>,
    /// Bytes still to come, if the length is known.
    rest: Option<u64>,
    was_read: bool,
    is_waiting: bool,
}

impl<B> ResponseBody<B> {
    /// Watches a body that ends after at most `length` bytes, if that is known.
    pub(crate) fn new(inner: B, length: Option<u64>, watch: Box<dyn Watch>) -> Self {
        let mut body = Self::unwatched(inner);
        body.watched.rest = length;
        body.watched.watch = Some(watch);
        body
    }

    /// Creates a body whose end is not reported, for example that of a response that replaces the service's response.
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

    /// Returns the inner body.
    pub fn get_ref(&self) -> &B {
        &self.inner
    }

    /// Returns the inner body; its end is not reported.
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

    /// Counts the bytes of a frame; returns whether they were the last ones.
    fn count(&mut self, data: Option<&impl Buf>) -> bool {
        let (Some(rest), Some(data)) = (&mut self.rest, data) else {
            return false;
        };
        *rest = rest.saturating_sub(data.remaining() as u64);
        *rest == 0
    }

    /// Polls the body; a panic ends the body and is propagated.
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
                // Servers and clients do not poll again once the body or its announced length says that this was the
                // end.
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
    /// Creates a body as [`unwatched`](Self::unwatched) does, for problem documents.
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
