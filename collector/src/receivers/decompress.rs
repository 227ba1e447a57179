//! The one place that decompresses: request bodies in gzip, zstd or deflate, step by step, never beyond a
//! limit.
//!
//! Uncompressed bodies are returned unchanged. A decompression bomb costs at most the limit, because sizes in
//! headers are not trusted.

use std::io::Read;

use bytes::{Buf, Bytes};

/// Bytes inflated per step: about a quarter of a millisecond of zstd, one of gzip.
const STEP_BYTES: usize = 256 << 10;

/// Largest zstd window, 2^23 = 8 MiB: what RFC 9659 allows for the content coding.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// First guess of the compression ratio; OTLP traces shrink to about an eighth (a 336 KB request to 41-45
/// KB).
const RATIO_GUESS: usize = 8;

/// A compression method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// No compression.
    Identity,
    /// RFC 1952, multiple members allowed.
    Gzip,
    /// RFC 1950 (zlib), which HTTP calls `deflate`.
    Deflate,
    /// RFC 8878, multiple frames allowed.
    Zstd,
}

impl Encoding {
    /// The value of `Accept-Encoding` and `grpc-accept-encoding`.
    pub const ACCEPTED: &'static str = "gzip, zstd, deflate, identity";

    /// Returns the encoding of that name, ignoring case; `None` if it is unknown.
    pub fn from_name(name: &str) -> Option<Self> {
        let known = [
            ("identity", Self::Identity),
            ("", Self::Identity),
            ("gzip", Self::Gzip),
            ("x-gzip", Self::Gzip),
            ("zstd", Self::Zstd),
            ("deflate", Self::Deflate),
        ];
        known
            .iter()
            .find(|(word, _)| word.eq_ignore_ascii_case(name.trim()))
            .map(|&(_, encoding)| encoding)
    }

    /// Returns the name in headers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Zstd => "zstd",
        }
    }
}

/// Why a body could not be inflated.
#[derive(Debug, thiserror::Error)]
pub enum InflateError {
    /// It exceeds the limit.
    #[error("the body inflates to more than {limit} bytes")]
    TooLarge {
        /// The limit, bytes.
        limit: usize,
    },
    /// It is invalid in its encoding, or truncated.
    #[error("the body is not valid {encoding}: {problem}")]
    Corrupt {
        /// The announced encoding.
        encoding: &'static str,
        /// The decoder's error.
        problem: std::io::Error,
    },
}

/// Inflates a whole body.
///
/// # Errors
/// When it is corrupt or exceeds the limit.
pub fn inflate(body: Bytes, encoding: Encoding, limit: usize) -> Result<Bytes, InflateError> {
    let mut inflater = Inflater::new(body, encoding, limit)?;
    while inflater.step()? {}
    Ok(inflater.finish())
}

/// A body inflated step by step, so that other tasks run and memory is accounted for between steps.
pub struct Inflater {
    state: State,
    limit: usize,
    encoding: Encoding,
}

enum State {
    Untouched(Bytes),
    Inflating {
        reader: Box<dyn Read + Send>,
        inflated: Vec<u8>,
    },
}

impl Inflater {
    /// Starts to inflate a body.
    ///
    /// # Errors
    /// When an uncompressed body exceeds the limit, or the decoder cannot be created.
    pub fn new(body: Bytes, encoding: Encoding, limit: usize) -> Result<Self, InflateError> {
        let guess = body.len().saturating_mul(RATIO_GUESS).min(STEP_BYTES * 2);
        let reader: Box<dyn Read + Send> = match encoding {
            // Some clients label every request as compressed, even empty ones.
            _ if body.is_empty() => return Self::untouched(body, limit),
            Encoding::Identity => return Self::untouched(body, limit),
            Encoding::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(body.reader())),
            Encoding::Deflate => Box::new(flate2::bufread::ZlibDecoder::new(body.reader())),
            Encoding::Zstd => Box::new(zstd_decoder(body)?),
        };
        let state = State::Inflating {
            reader,
            inflated: Vec::with_capacity(guess.min(limit)),
        };
        Ok(Self {
            state,
            limit,
            encoding,
        })
    }

    fn untouched(body: Bytes, limit: usize) -> Result<Self, InflateError> {
        if body.len() > limit {
            return Err(InflateError::TooLarge { limit });
        }
        Ok(Self {
            state: State::Untouched(body),
            limit,
            encoding: Encoding::Identity,
        })
    }

    /// Inflates one step; returns whether there may be more.
    ///
    /// # Errors
    /// When the body is corrupt or exceeds the limit.
    pub fn step(&mut self) -> Result<bool, InflateError> {
        let State::Inflating { reader, inflated } = &mut self.state else {
            return Ok(false);
        };
        // One byte past the limit proves that it is exceeded.
        let room = (self.limit + 1 - inflated.len()).min(STEP_BYTES);
        let read = reader
            .by_ref()
            .take(room as u64)
            .read_to_end(inflated)
            .map_err(|problem| corrupt(self.encoding, problem))?;
        if inflated.len() > self.limit {
            return Err(InflateError::TooLarge { limit: self.limit });
        }
        Ok(read == room)
    }

    /// Returns the number of bytes inflated so far.
    pub fn len(&self) -> usize {
        match &self.state {
            State::Untouched(body) => body.len(),
            State::Inflating { inflated, .. } => inflated.len(),
        }
    }

    /// Returns the number of bytes allocated so far.
    pub fn capacity(&self) -> usize {
        match &self.state {
            State::Untouched(body) => body.len(),
            State::Inflating { inflated, .. } => inflated.capacity(),
        }
    }

    /// Returns whether nothing is inflated so far.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the inflated bytes.
    pub fn finish(self) -> Bytes {
        match self.state {
            State::Untouched(body) => body,
            State::Inflating { inflated, .. } => Bytes::from(inflated),
        }
    }
}

impl std::fmt::Debug for Inflater {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inflater")
            .field("encoding", &self.encoding)
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// Returns a zstd decoder with a bounded window.
fn zstd_decoder(body: Bytes) -> Result<impl Read + Send, InflateError> {
    let bounded = || {
        let mut reader = zstd::stream::read::Decoder::with_buffer(body.reader())?;
        reader.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
        Ok(reader)
    };
    bounded().map_err(|problem| corrupt(Encoding::Zstd, problem))
}

fn corrupt(encoding: Encoding, problem: std::io::Error) -> InflateError {
    InflateError::Corrupt {
        encoding: encoding.as_str(),
        problem,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};
    use proptest::prelude::*;

    use super::*;

    fn deflate(plain: &[u8], encoding: Encoding) -> Bytes {
        let packed = match encoding {
            Encoding::Identity => plain.to_vec(),
            Encoding::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(plain).unwrap();
                encoder.finish().unwrap()
            }
            Encoding::Deflate => {
                let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(plain).unwrap();
                encoder.finish().unwrap()
            }
            Encoding::Zstd => zstd::encode_all(plain, 1).unwrap(),
        };
        packed.into()
    }

    const COMPRESSED: [Encoding; 3] = [Encoding::Gzip, Encoding::Deflate, Encoding::Zstd];

    proptest! {
        #[test]
        fn what_was_deflated_inflates_to_itself(plain in proptest::collection::vec(any::<u8>(), 0..5_000)) {
            for encoding in [Encoding::Identity, Encoding::Gzip, Encoding::Deflate, Encoding::Zstd] {
                let inflated = inflate(deflate(&plain, encoding), encoding, 5_000).unwrap();
                prop_assert_eq!(&inflated[..], &plain[..]);
            }
        }

        #[test]
        fn noise_never_panics_and_never_passes_the_cap(noise in proptest::collection::vec(any::<u8>(), 0..500)) {
            for encoding in COMPRESSED {
                if let Ok(inflated) = inflate(noise.clone().into(), encoding, 100) {
                    prop_assert!(inflated.len() <= 100);
                }
            }
        }
    }

    #[test]
    fn identity_is_not_copied() {
        let body = Bytes::from(vec![7; 1_000]);
        let same = inflate(body.clone(), Encoding::Identity, 1_000).unwrap();
        assert_eq!(body.as_ptr(), same.as_ptr());
    }

    #[test]
    fn exactly_the_cap_passes_and_one_byte_more_does_not() {
        let plain = vec![1; 3 * STEP_BYTES];
        for encoding in [
            Encoding::Identity,
            Encoding::Gzip,
            Encoding::Deflate,
            Encoding::Zstd,
        ] {
            let packed = deflate(&plain, encoding);
            assert_eq!(
                inflate(packed.clone(), encoding, plain.len())
                    .unwrap()
                    .len(),
                plain.len()
            );
            let error = inflate(packed, encoding, plain.len() - 1).unwrap_err();
            assert!(
                error.to_string().contains(&(plain.len() - 1).to_string()),
                "{error}"
            );
        }
    }

    #[test]
    fn a_bomb_stops_at_the_cap() {
        let plain = vec![0; 8 << 20];
        for encoding in COMPRESSED {
            let mut inflater = Inflater::new(deflate(&plain, encoding), encoding, 1 << 20).unwrap();
            let error = loop {
                match inflater.step() {
                    Ok(more) => assert!(more),
                    Err(error) => break error,
                }
            };
            assert!(matches!(error, InflateError::TooLarge { .. }));
            assert!(inflater.len() <= (1 << 20) + 1);
        }
    }

    #[test]
    fn a_missing_end_is_an_error() {
        let plain: Vec<u8> = (0..100_000_u32)
            .map(|i| (i.wrapping_mul(i) >> 7) as u8)
            .collect();
        for encoding in COMPRESSED {
            let packed = deflate(&plain, encoding);
            let torn = packed.slice(..packed.len() - 9);
            let error = inflate(torn, encoding, 1 << 20).unwrap_err();
            assert!(matches!(error, InflateError::Corrupt { .. }), "{error}");
        }
    }

    #[test]
    fn members_that_follow_each_other_are_one_body() {
        for encoding in [Encoding::Gzip, Encoding::Zstd] {
            let mut twice = deflate(b"one ", encoding).to_vec();
            twice.extend_from_slice(&deflate(b"two", encoding));
            assert_eq!(
                &inflate(twice.into(), encoding, 100).unwrap()[..],
                b"one two"
            );
        }
    }

    #[test]
    fn names_in_any_case_are_known() {
        assert_eq!(Encoding::from_name("GZip"), Some(Encoding::Gzip));
        assert_eq!(Encoding::from_name(" zstd "), Some(Encoding::Zstd));
        assert_eq!(Encoding::from_name("br"), None);
    }
}
