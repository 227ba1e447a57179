//! Numbers of any width and in unary, as the codes of filters are written.

/// Appends bits, lowest first.
#[derive(Debug, Default)]
pub(crate) struct BitWriter {
    bytes: Vec<u8>,
    last: u64,
    bits: usize,
}

impl BitWriter {
    /// Returns how many bits were appended.
    pub(crate) fn bits(&self) -> usize {
        self.bits
    }

    /// Appends the lowest bits of a number, 56 at most.
    pub(crate) fn put(&mut self, value: u64, width: u32) {
        let used = self.bits % 8;
        self.last |= (value & ((1 << width) - 1)) << used;
        self.bits += width as usize;
        for _ in 0..(used + width as usize) / 8 {
            self.bytes.push(self.last as u8);
            self.last >>= 8;
        }
    }

    /// Appends that many ones and a zero.
    pub(crate) fn put_unary(&mut self, mut count: u64) {
        while count > 31 {
            self.put(u64::MAX, 32);
            count -= 32;
        }
        self.put((1 << count) - 1, count as u32 + 1);
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        if !self.bits.is_multiple_of(8) {
            self.bytes.push(self.last as u8);
        }
        self.bytes
    }
}

/// A cursor over bits that a `BitWriter` wrote; `None` behind their end.
#[derive(Debug)]
pub(crate) struct BitReader<'a> {
    bytes: &'a [u8],
    /// Position of the next bit.
    next: usize,
}

impl<'a> BitReader<'a> {
    /// Reads from that bit on.
    pub(crate) fn at(bytes: &'a [u8], next: usize) -> Self {
        Self { bytes, next }
    }

    /// Returns the position of the next bit.
    pub(crate) fn position(&self) -> usize {
        self.next
    }

    /// Returns at least the next 56 bits; zeros beyond the end.
    fn peek(&self) -> Option<u64> {
        let rest = self.bytes.get(self.next / 8..)?;
        let word = match rest.first_chunk::<8>() {
            Some(word) => u64::from_le_bytes(*word),
            None => rest
                .iter()
                .rev()
                .fold(0, |word, byte| word << 8 | u64::from(*byte)),
        };
        Some(word >> (self.next % 8))
    }

    pub(crate) fn take(&mut self, width: u32) -> Option<u64> {
        let value = self.peek()? & ((1 << width) - 1);
        self.next += width as usize;
        Some(value)
    }

    /// Reads what `put_unary` wrote.
    pub(crate) fn unary(&mut self) -> Option<u64> {
        let mut count = 0;
        loop {
            let ones = self.peek()?.trailing_ones().min(32);
            count += u64::from(ones);
            self.next += ones as usize;
            if ones < 32 {
                self.next += 1;
                return Some(count);
            }
        }
    }
}
