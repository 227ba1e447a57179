//! The tokens of a TraceQL query with their positions.

use super::Error;
use crate::model::parse_duration;

/// The signs of the language; longer ones before their prefixes.
const SIGNS: [&str; 35] = [
    "&>>", "&<<", "!>>", "!<<", "&&", "||", "&>", "&<", "&~", "!>", "!<", "!~", "!=", ">>", "<<",
    ">=", "<=", "=~", "{", "}", "(", ")", ",", "|", "=", "!", ">", "<", "~", "+", "-", "*", "/",
    "%", "^",
];
/// Characters, besides blanks, that end the name of an attribute.
const NAME_ENDS: &str = "{}()=~!<>&|^,";

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// A keyword, a field, or the name of a function.
    Word(String),
    Text(String),
    Int(i64),
    Float(f64),
    /// Nanoseconds.
    Duration(i64),
    Sign(&'static str),
    End,
}

impl Token {
    /// Formats it for messages.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Word(word) => format!("`{}`", crate::model::cut(word, 64)),
            Self::Text(text) => format!("the text \"{}\"", crate::model::cut(text, 64)),
            Self::Int(number) => format!("the number {number}"),
            Self::Float(number) => format!("the number {number}"),
            Self::Duration(nanos) => format!("the duration {nanos}ns"),
            Self::Sign(sign) => format!("`{sign}`"),
            Self::End => "the end of the query".to_owned(),
        }
    }
}

/// Returns the tokens of a query, `End` last, each with its byte offset.
pub(super) fn tokens(query: &str) -> Result<Vec<(Token, usize)>, Error> {
    let mut tokens = Vec::new();
    let mut rest = query;
    loop {
        rest = rest.trim_start();
        let at = query.len() - rest.len();
        let wrong = |problem: String| Error::at(query, at, problem);
        let Some(first) = rest.chars().next() else {
            tokens.push((Token::End, at));
            return Ok(tokens);
        };
        let begins_float = first == '.' && rest[1..].starts_with(|c: char| c.is_ascii_digit());
        let (token, length) = if first.is_ascii_digit() || begins_float {
            number(rest).map_err(wrong)?
        } else if first.is_alphabetic() || first == '.' || first == '_' {
            word(rest)
        } else if first == '"' || first == '`' {
            text(rest, first).map_err(wrong)?
        } else {
            let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
            let unknown = || wrong(format!("there is no such sign: `{first}`"));
            let sign = sign.ok_or_else(unknown)?;
            (Token::Sign(sign), sign.len())
        };
        tokens.push((token, at));
        rest = &rest[length..];
    }
}

/// Reads a number, or a duration such as `1h30m`.
fn number(text: &str) -> Result<(Token, usize), String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '\u{b5}' | '\u{3bc}');
    let length = text.find(|c| !is_part(c)).unwrap_or(text.len());
    let part = &text[..length];
    let read = match part.bytes().all(|byte| byte.is_ascii_digit()) {
        true => part.parse().ok().map(Token::Int),
        false if part.chars().all(|c| c.is_ascii_digit() || c == '.') => {
            part.parse().ok().map(Token::Float)
        }
        false => duration(part).map(Token::Duration),
    };
    let wrong = || {
        format!(
            "`{}` is neither a number nor a duration such as 150ms",
            crate::model::cut(part, 64)
        )
    };
    Ok((read.ok_or_else(wrong)?, length))
}

/// Parses a sequence of numbers with units to nanoseconds.
pub(crate) fn duration(text: &str) -> Option<i64> {
    let text = text.replace('\u{3bc}', "\u{b5}");
    let mut rest = text.as_str();
    let mut nanos: i64 = 0;
    while !rest.is_empty() {
        let is_number = |c: char| c.is_ascii_digit() || c == '.';
        let unit = rest.find(|c| !is_number(c))?;
        let end = rest[unit..]
            .find(is_number)
            .map_or(rest.len(), |end| unit + end);
        let part = i64::try_from(parse_duration(&rest[..end])?).ok()?;
        nanos = nanos.checked_add(part)?;
        rest = &rest[end..];
    }
    (!text.is_empty()).then_some(nanos)
}

/// Reads a word; from its first dot on, it is an attribute's name, which may contain almost any sign.
fn word(text: &str) -> (Token, usize) {
    let is_plain = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let mut length = text.find(|c| !is_plain(c)).unwrap_or(text.len());
    if text[length..].starts_with('.') {
        length += name_length(&text[length..]);
    }
    (Token::Word(text[..length].to_owned()), length)
}

/// Returns the length of an attribute's name, including quoted parts.
fn name_length(text: &str) -> usize {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, letter) in text.char_indices() {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            letter if !is_quoted && (letter.is_whitespace() || NAME_ENDS.contains(letter)) => {
                return at;
            }
            _ => {}
        }
    }
    text.len()
}

/// Reads a text in double quotes, with escapes, or in backticks, without.
fn text(text: &str, quote: char) -> Result<(Token, usize), String> {
    let mut read = String::new();
    let mut letters = text.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        match letter {
            letter if letter == quote => return Ok((Token::Text(read), at + 1)),
            '\\' if quote == '"' => {
                let escaped = letters.next().map(|(_, letter)| letter);
                read.push(match escaped {
                    Some('n') => '\n',
                    Some('t') => '\t',
                    Some('r') => '\r',
                    Some(same @ ('"' | '\\')) => same,
                    Some(other) => return Err(format!("there is no escape `\\{other}`")),
                    None => break,
                });
            }
            letter => read.push(letter),
        }
    }
    Err("a text does not end".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Vec<Token> {
        let tokens = tokens(query).unwrap().into_iter();
        tokens.map(|(token, _)| token).collect()
    }

    #[test]
    fn words_signs_and_values_are_distinguished() {
        let word = |text: &str| Token::Word(text.to_owned());
        let text = |text: &str| Token::Text(text.to_owned());
        assert_eq!(
            read("{span.a-b/c=\"x\\\"y\"&&.n>=-1.5}|count()>2"),
            [
                Token::Sign("{"),
                word("span.a-b/c"),
                Token::Sign("="),
                text("x\"y"),
                Token::Sign("&&"),
                word(".n"),
                Token::Sign(">="),
                Token::Sign("-"),
                Token::Float(1.5),
                Token::Sign("}"),
                Token::Sign("|"),
                word("count"),
                Token::Sign("("),
                Token::Sign(")"),
                Token::Sign(">"),
                Token::Int(2),
                Token::End,
            ]
        );
        assert_eq!(
            read("span.\"a } b\".c !>> `\\d` &<< .5 1h30m 2µs"),
            [
                word("span.\"a } b\".c"),
                Token::Sign("!>>"),
                text("\\d"),
                Token::Sign("&<<"),
                Token::Float(0.5),
                Token::Duration(5_400_000_000_000),
                Token::Duration(2_000),
                Token::End,
            ]
        );
        assert_eq!(
            read("event:name*2")[..2],
            [word("event:name"), Token::Sign("*")]
        );
    }

    #[test]
    fn what_cannot_be_read_is_refused_where_it_stands() {
        for (query, problem) in [
            ("{ name = \"x }", "col 10: a text does not end"),
            ("{ duration > 5parsecs }", "col 14: `5parsecs` is neither"),
            ("{ 1.2.3 }", "col 3"),
            ("{\n $x }", "line 2, col 2: there is no such sign: `$`"),
            ("{ name = \"\\q\" }", "no escape `\\q`"),
            ("{ .x > 99999999999999999999 }", "col 8"),
        ] {
            let error = tokens(query).unwrap_err().to_string();
            assert!(error.contains(problem), "{query}: {error}");
        }
    }
}
