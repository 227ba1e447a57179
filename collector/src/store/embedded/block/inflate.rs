//! Inflates what is short enough to be inflated at once.

use std::cell::RefCell;

thread_local! {
    /// A context costs more to make than a small part costs to inflate.
    static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Inflates bytes to exactly that length.
pub(crate) fn inflate(stored: &[u8], raw: usize) -> Option<Vec<u8>> {
    DECOMPRESSOR.with_borrow_mut(|slot| {
        if slot.is_none() {
            *slot = Some(zstd::bulk::Decompressor::new().ok()?);
        }
        let inflated = slot.as_mut()?.decompress(stored, raw).ok()?;
        (inflated.len() == raw).then_some(inflated)
    })
}
