//! Notices clients that do not read their answers, so that their connections are closed and what is kept for them is freed.
//!
//! Over HTTP/1.1 a write to the socket makes no progress; over HTTP/2 a client may also keep the window of a stream shut,
//! and then nothing is written at all: the next piece of a body is not asked for.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use crate::sync::Mutex;

/// How long a client may read nothing of an answer: a browser in the background still reads, a stopped process does not.
pub(super) const UNREAD_MAX: Duration = Duration::from_secs(30);
/// How often the bodies of a connection are looked at.
const CHECK_EVERY: Duration = Duration::from_secs(5);
/// A frame is handed on in pieces of that size, so that what HTTP/2 buffers of a stream with a small window is no more.
const PIECE_BYTES: usize = 64 << 10;

pin_project! {
    /// A socket whose writes fail once one of them made no progress for `UNREAD_MAX`.
    pub(super) struct Timed<S> {
        #[pin]
        socket: S,
        stalled: Option<Pin<Box<Sleep>>>,
    }
}

impl<S> Timed<S> {
    pub(super) fn new(socket: S) -> Self {
        let stalled = None;
        Self { socket, stalled }
    }
}

/// Fails a write that made no progress for too long.
fn in_time<T>(
    write: Poll<io::Result<T>>,
    stalled: &mut Option<Pin<Box<Sleep>>>,
    context: &mut Context<'_>,
) -> Poll<io::Result<T>> {
    if write.is_ready() {
        *stalled = None;
        return write;
    }
    let timer = stalled.get_or_insert_with(|| Box::pin(sleep(UNREAD_MAX)));
    ready!(timer.as_mut().poll(context));
    let error = io::Error::new(io::ErrorKind::TimedOut, "the client reads nothing");
    Poll::Ready(Err(error))
}

impl<S: AsyncRead> AsyncRead for Timed<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.project().socket.poll_read(context, buffer)
    }
}

impl<S: AsyncWrite> AsyncWrite for Timed<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.project();
        in_time(
            this.socket.poll_write(context, bytes),
            this.stalled,
            context,
        )
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.project();
        let write = this.socket.poll_write_vectored(context, slices);
        in_time(write, this.stalled, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().socket.poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().socket.poll_shutdown(context)
    }
}

/// The answers of one connection that are under way.
#[derive(Debug, Clone, Default)]
pub(super) struct Answers(Arc<Mutex<Vec<Weak<Turn>>>>);

/// Since when it has been the client's turn: a piece lies ready for it; `None` while it waits for the next.
#[derive(Debug)]
struct Turn(Mutex<Option<Instant>>);

impl Answers {
    /// Returns a body that is watched until it is sent or dropped.
    pub(super) fn watch<B>(&self, body: B) -> Watched<B> {
        let turn = Arc::new(Turn(Mutex::new(Some(Instant::now()))));
        let mut turns = self.0.lock();
        turns.retain(|turn| turn.strong_count() > 0);
        turns.push(Arc::downgrade(&turn));
        let rest = Bytes::new();
        Watched { body, rest, turn }
    }

    /// Waits until an answer was not read on for `UNREAD_MAX`.
    pub(super) async fn unread(&self) {
        loop {
            sleep(CHECK_EVERY).await;
            let turns = self.0.lock();
            let since = turns.iter().filter_map(|turn| *turn.upgrade()?.0.lock());
            if since
                .min()
                .is_some_and(|since| since.elapsed() >= UNREAD_MAX)
            {
                return;
            }
        }
    }
}

pin_project! {
    /// The body of an answer, in pieces.
    pub(super) struct Watched<B> {
        #[pin]
        body: B,
        // What is left of the last frame.
        rest: Bytes,
        turn: Arc<Turn>,
    }
}

impl<B: Body<Data = Bytes>> Body for Watched<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        if this.rest.is_empty() {
            let polled = this.body.poll_frame(context);
            let is_waiting = !matches!(polled, Poll::Ready(Some(Ok(_))));
            *this.turn.0.lock() = (!is_waiting).then(Instant::now);
            match ready!(polled) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.len() > PIECE_BYTES => *this.rest = data,
                    Ok(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                end => return Poll::Ready(end),
            }
        }
        *this.turn.0.lock() = Some(Instant::now());
        let length = PIECE_BYTES.min(this.rest.len());
        // A copy: a slice would keep all of it in memory until the last one is sent.
        let piece = Bytes::copy_from_slice(&this.rest.split_to(length));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        let rest = self.rest.len() as u64;
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use http_body_util::{BodyExt, Full};
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_write_without_progress_fails() {
        let (ours, _theirs) = duplex(10);
        let mut socket = Timed::new(ours);
        let begun = Instant::now();
        let error = socket.write_all(&[0; 100]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(begun.elapsed(), UNREAD_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_nobody_asks_for_is_noticed_and_one_that_waits_is_not() {
        let answers = Answers::default();
        let waiting = futures_util::stream::pending::<Result<Frame<Bytes>, io::Error>>();
        let mut stream = answers.watch(http_body_util::StreamBody::new(waiting));
        assert!(stream.frame().now_or_never().is_none());
        let in_an_hour = tokio::time::timeout(Duration::from_secs(3600), answers.unread());
        assert!(in_an_hour.await.is_err());
        let unread = answers.watch(Full::new(Bytes::from_static(b"text")));
        answers.unread().await;
        drop(unread);
        let in_an_hour = tokio::time::timeout(Duration::from_secs(3600), answers.unread());
        assert!(in_an_hour.await.is_err());
    }

    #[tokio::test]
    async fn a_large_frame_comes_in_pieces() {
        let whole: Vec<u8> = (0..200_000_u32).map(|n| n as u8).collect();
        let mut body = Answers::default().watch(Full::new(Bytes::from(whole.clone())));
        assert_eq!(body.size_hint().exact(), Some(200_000));
        let mut read = Vec::new();
        while let Some(frame) = body.frame().await {
            let piece = frame.unwrap().into_data().unwrap();
            assert!(piece.len() <= PIECE_BYTES);
            read.extend_from_slice(&piece);
        }
        assert_eq!(read, whole);
    }
}
