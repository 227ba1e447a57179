//! Requests generated ahead by a thread, so that senders do not wait for the generator.

use std::io::Write;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use flate2::Compression;
use flate2::write::GzEncoder;
use fusebox_collector::model::{HOUR, UnixNanos, nanos};
use fusebox_collector::sample::Shop;
use tokio::sync::{Mutex, Notify, mpsc};

use super::LoadOptions;

/// How much is generated ahead: about 380,000 plain spans.
const AHEAD_BYTES: usize = 256 * 1024 * 1024;
/// The size of a generated span, and the ratio of gzip.
const SPAN_BYTES: usize = 700;
const GZIP_RATIO: usize = 6;
/// The traces' times lie within the last hour.
const AGE_NANOS: u64 = nanos(HOUR);

/// A request ready to be sent.
#[derive(Debug)]
pub(super) struct Request {
    /// Its body, framed and compressed as asked.
    pub(super) body: Bytes,
    /// Its spans.
    pub(super) spans: u64,
}

/// The requests of one load; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Source {
    // Held while a sender waits for the next request; the others would wait too.
    requests: Arc<Mutex<mpsc::Receiver<Request>>>,
    filled: Arc<Notify>,
}

impl Source {
    /// Starts to generate requests.
    pub(super) fn start(options: &LoadOptions) -> Self {
        let ratio = if options.gzip { GZIP_RATIO } else { 1 };
        let request_bytes = options.spans_per_request.max(1) * SPAN_BYTES / ratio;
        let (sender, receiver) =
            mpsc::channel((AHEAD_BYTES / request_bytes.max(1)).clamp(4, 100_000));
        let filled = Arc::new(Notify::new());
        let source = Self {
            requests: Arc::new(Mutex::new(receiver)),
            filled: filled.clone(),
        };
        let options = options.clone();
        tokio::task::spawn_blocking(move || {
            make(&options, &sender, &filled);
            filled.notify_one();
        });
        source
    }

    /// Waits until all requests, or as many as fit, are generated.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }

    pub(super) async fn next(&self) -> Option<Request> {
        self.requests.lock().await.recv().await
    }
}

/// Generates all requests; stops early when every receiver is dropped.
fn make(options: &LoadOptions, sender: &mpsc::Sender<Request>, filled: &Notify) {
    let now = UnixNanos::now().get();
    let shop = Shop::new(options.seed).between(
        UnixNanos::new(now.saturating_sub(AGE_NANOS)),
        UnixNanos::new(now),
    );
    let spans = usize::try_from(options.spans).unwrap_or(usize::MAX);
    let mut requests = shop.requests(spans, options.spans_per_request);
    while let Some((message, spans)) = requests.next_counted() {
        let request = Request {
            body: frame(options, message),
            spans: spans as u64,
        };
        let unsent = match sender.try_send(request) {
            Ok(()) => continue,
            Err(mpsc::error::TrySendError::Full(request)) => request,
            Err(mpsc::error::TrySendError::Closed(_)) => return,
        };
        filled.notify_one();
        if sender.blocking_send(unsent).is_err() {
            return;
        }
    }
}

/// Compresses and frames a message as the options say.
fn frame(options: &LoadOptions, message: Bytes) -> Bytes {
    let body = if options.gzip {
        gzip(&message)
    } else {
        message
    };
    if !options.grpc {
        return body;
    }
    let mut framed = BytesMut::with_capacity(body.len() + 5);
    framed.put_u8(u8::from(options.gzip));
    framed.put_u32(u32::try_from(body.len()).expect("a request is far smaller than 4 GiB"));
    framed.put(body);
    framed.freeze()
}

fn gzip(message: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder
        .write_all(message)
        .and_then(|()| encoder.finish())
        .map(Bytes::from)
        .expect("writing to a vector cannot fail")
}
