//! Truncation of external text, and the check of lines that people enter.

/// Returns the longest prefix of at most `bytes_max` bytes that ends between characters.
pub(crate) fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Returns the text without spaces around it if it is one line of at most `chars_max` characters, or what is wrong.
pub(crate) fn one_line(text: &str, chars_max: usize) -> Result<String, String> {
    let text = text.trim();
    let chars = text.chars().count();
    if chars == 0 {
        return Err("is missing".to_owned());
    }
    if chars > chars_max {
        return Err(format!(
            "{chars} characters are too many; at most {chars_max}"
        ));
    }
    if text.chars().any(char::is_control) {
        return Err("must be one line without control characters".to_owned());
    }
    Ok(text.to_owned())
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
