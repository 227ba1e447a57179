//! Invariants for any stream: the fuzz target of its lines, objects and counts.

use super::followed::Followed;
use super::lines::Lines;
use crate::codec::hystrix::decode;
use crate::model::UnixNanos;

const SECOND: u64 = 1_000_000_000;

/// Reads the bytes as a stream, one chunk a second; the first byte is the length of a chunk.
///
/// # Panics
/// When there are more observations than commands.
pub(in crate::receivers) fn stream(bytes: &[u8]) {
    let Some((&length, bytes)) = bytes.split_first() else {
        return;
    };
    let (mut lines, mut followed) = (Lines::default(), Followed::new("shop", "a".to_owned()));
    followed.connected();
    for (second, piece) in bytes.chunks(8 * usize::from(length) + 1).enumerate() {
        let now = UnixNanos::new((second as u64 + 1) * SECOND);
        let mut objects = 0;
        lines.read(piece, |data| {
            if let Ok(object) = decode(data) {
                objects += 1;
                followed.read(object, now);
            }
        });
        assert!(followed.take_second(now).observations.len() <= objects);
    }
}
