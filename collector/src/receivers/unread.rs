//! Detects clients that do not read their answers, so that their connections are closed and the memory is
//! released.
//!
//! Clients that read too slowly are disconnected as well: an answer from the store takes up to 48 MiB of the
//! memory budget of all answers until it is sent.
//!
//! Over HTTP/1.1 a write to the socket makes no progress. Over HTTP/2 a client may also keep a stream's
//! window closed, and then nothing is written at all: the next chunk of the body is not polled.

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

/// How long a client may read nothing of an answer: a browser in the background still reads, a stopped
/// process does not.
pub(super) const UNREAD_MAX: Duration = Duration::from_secs(30);
/// Slowest rate at which a client may read an answer, bytes a second: half a megabit, at which 48 MiB take 13
/// min. A client may be behind it by `UNREAD_MAX`.
const RATE_MIN: u64 = 64 << 10;
/// How often the bodies of a connection are checked.
const CHECK_EVERY: Duration = Duration::from_secs(5);
/// Frames are passed on in chunks of this size, so that HTTP/2 buffers no more of a stream with a small
/// window.
const PIECE_BYTES: usize = 64 << 10;

pin_project! {
    /// A socket whose writes fail once one of them makes no progress for `UNREAD_MAX`.
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

/// Fails a write without progress for too long.
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

/// The answers in flight on one connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Answers(Arc<Mutex<Vec<Weak<Turn>>>>);

/// Shared by the body of an answer and its check.
#[derive(Debug)]
struct Turn(Mutex<Pace>);

#[derive(Debug)]
struct Pace {
    /// Since when a chunk has been ready for the client; `None` while it waits for the next one.
    since: Option<Instant>,
    bytes: u64,
    /// How much longer than at `RATE_MIN` the earlier chunks took; never below zero, so that a client that
    /// was fast may not be slow later.
    late: Duration,
}

impl Pace {
    fn new() -> Self {
        Self {
            since: Some(Instant::now()),
            bytes: 0,
            late: Duration::ZERO,
        }
    }

    /// Notes that the client took its chunk.
    fn took(&mut self) {
        if let Some(since) = self.since.take() {
            let allowed = Duration::from_micros(self.bytes * 1_000_000 / RATE_MIN);
            self.late = (self.late + since.elapsed()).saturating_sub(allowed);
        }
    }

    /// Notes that a chunk is ready.
    fn ready(&mut self, bytes: usize) {
        self.since = Some(Instant::now());
        self.bytes = bytes as u64;
    }

    /// Returns whether the client reads nothing, or too slowly. The chunk being read does not count in its
    /// favour.
    fn is_too_slow(&self) -> bool {
        let waited = self.since.map(|since| since.elapsed());
        waited.is_some_and(|waited| self.late + waited >= UNREAD_MAX)
    }
}

impl Answers {
    /// Wraps a body so that it is checked until it is sent or dropped.
    pub(super) fn watch<B>(&self, body: B) -> Watched<B> {
        let turn = Arc::new(Turn(Mutex::new(Pace::new())));
        let mut turns = self.0.lock();
        turns.retain(|turn| turn.strong_count() > 0);
        turns.push(Arc::downgrade(&turn));
        let rest = Bytes::new();
        Watched { body, rest, turn }
    }

    /// Waits until an answer is not read for `UNREAD_MAX`, or too slowly.
    pub(super) async fn unread(&self) {
        loop {
            sleep(CHECK_EVERY).await;
            let turns = self.0.lock();
            let mut watched = turns.iter().filter_map(Weak::upgrade);
            if watched.any(|turn| turn.0.lock().is_too_slow()) {
                return;
            }
        }
    }
}

pin_project! {
    /// The body of an answer, in chunks.
    pub(super) struct Watched<B> {
        #[pin]
        body: B,
        // The rest of the last frame.
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
        this.turn.0.lock().took();
        if this.rest.is_empty() {
            match ready!(this.body.poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.len() > PIECE_BYTES => *this.rest = data,
                    Ok(data) => {
                        this.turn.0.lock().ready(data.len());
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                    Err(frame) => {
                        this.turn.0.lock().ready(0);
                        return Poll::Ready(Some(Ok(frame)));
                    }
                },
                end => return Poll::Ready(end),
            }
        }
        let length = PIECE_BYTES.min(this.rest.len());
        // A copy: a slice would keep the whole frame in memory until its last chunk is sent.
        let piece = Bytes::copy_from_slice(&this.rest.split_to(length));
        this.turn.0.lock().ready(length);
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
    async fn a_body_that_is_not_asked_for_is_noticed_and_one_that_waits_is_not() {
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

    /// Reads an answer of 2 MiB in chunks with pauses; returns whether the client was disconnected before the
    /// end.
    async fn is_cut_off(pause: Duration) -> bool {
        let answers = Answers::default();
        let mut body = answers.watch(Full::new(Bytes::from(vec![0; 2 << 20])));
        let mut unread = std::pin::pin!(answers.unread());
        while body.frame().await.is_some() {
            tokio::select! {
                () = unread.as_mut() => return true,
                () = sleep(pause) => {}
            }
        }
        false
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_is_read_too_slowly_is_noticed() {
        assert!(is_cut_off(UNREAD_MAX * 5 / 6).await);
        assert!(is_cut_off(Duration::from_secs(3)).await);
        assert!(!is_cut_off(Duration::from_millis(900)).await);
    }

    /// *Scenario*: for an hour, a client gets one small event every 10 s and reads each within a millisecond.
    #[tokio::test(start_paused = true)]
    async fn a_stream_of_small_events_may_last() {
        let answers = Answers::default();
        let events = futures_util::stream::unfold((), |()| async {
            sleep(Duration::from_secs(10)).await;
            let event = Frame::data(Bytes::from(vec![0; 100]));
            Some((Ok::<_, io::Error>(event), ()))
        });
        let mut body = answers.watch(http_body_util::StreamBody::new(Box::pin(events)));
        let read = async {
            for _ in 0..360 {
                body.frame().await.unwrap().unwrap();
                sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            () = answers.unread() => panic!("it was cut off"),
            () = read => {}
        }
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
