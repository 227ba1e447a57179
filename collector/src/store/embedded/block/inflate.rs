//! Inflates short inputs in one call.

use std::cell::RefCell;

thread_local! {
    /// Reused: creating a context costs more than inflating a small part.
    static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Inflates to exactly `raw` bytes.
pub(crate) fn inflate(stored: &[u8], raw: usize) -> Option<Vec<u8>> {
    DECOMPRESSOR.with_borrow_mut(|slot| {
        if slot.is_none() {
            *slot = Some(zstd::bulk::Decompressor::new().ok()?);
        }
        let inflated = slot.as_mut()?.decompress(stored, raw).ok()?;
        (inflated.len() == raw).then_some(inflated)
    })
}
