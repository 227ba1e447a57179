//! Truncation of external text.

/// Returns the longest prefix of at most `bytes_max` bytes that ends between characters.
pub(crate) fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(cut("häm", 9), "häm");
        assert_eq!(cut("häm", 4), "häm");
        assert_eq!(cut("häm", 3), "hä");
        assert_eq!(cut("häm", 2), "h");
        assert_eq!(cut("ä", 1), "");
        assert_eq!(cut("", 0), "");
    }
}
