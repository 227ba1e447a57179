//! Checks the names in the InfluxQL of panels: every measurement, tag and field must be one that the store writes, of a type
//! that fits its use. It understands the part of the language that panels use.

use fusebox_collector::store::influxdb::schema::{self, FieldType, Measurement};

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Tag,
    Field(FieldType),
}

/// A column and its name.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

/// The result of a query: its columns without `time`, and the tags that it is grouped by.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    pub(crate) columns: Vec<Column>,
    pub(crate) tags: Vec<Column>,
}

/// Parses a `SELECT`.
pub(crate) fn select(query: &str) -> Result<Answer, String> {
    let mut reader = Reader::new(query)?;
    let answer = reader.select()?;
    reader.end()?;
    Ok(answer)
}

/// Parses a `SHOW TAG VALUES`; returns the tag.
pub(crate) fn tag_values(query: &str) -> Result<String, String> {
    let mut reader = Reader::new(query)?;
    for word in ["SHOW", "TAG", "VALUES", "FROM"] {
        reader.word(word)?;
    }
    let source = columns_of(&reader.name()?)?;
    for word in ["WITH", "KEY"] {
        reader.word(word)?;
    }
    reader.symbol("=")?;
    let tag = reader.name()?;
    if find(&source, &tag)?.kind != Kind::Tag {
        return Err(format!("{tag} is no tag"));
    }
    if reader.takes("WHERE") {
        let filter = reader.until(&[])?;
        check_filter(&filter, &source)?;
    }
    reader.end()?;
    Ok(tag)
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    /// A bare word: a keyword, a function or `time`.
    Word(String),
    /// A double-quoted identifier.
    Name(String),
    /// A single-quoted text.
    Text,
    /// A regex.
    Regex,
    /// A number or a duration.
    Number,
    /// One or two characters.
    Symbol(String),
}

fn tokens(query: &str) -> Result<Vec<Token>, String> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut rest = query.trim_start();
    while let Some(first) = rest.chars().next() {
        let after_match = matches!(tokens.last(), Some(Token::Symbol(s)) if s == "=~" || s == "!~");
        let (token, length) = match first {
            '"' => quoted(rest, '"').map(|(text, n)| (Token::Name(text), n))?,
            '\'' => quoted(rest, '\'').map(|(_, n)| (Token::Text, n))?,
            '/' if after_match => quoted(rest, '/').map(|(_, n)| (Token::Regex, n))?,
            c if c.is_ascii_digit() => (Token::Number, alphanumeric(rest)),
            c if c.is_alphabetic() || c == '_' => {
                let n = alphanumeric(rest);
                (Token::Word(rest[..n].to_owned()), n)
            }
            _ => symbol(rest),
        };
        tokens.push(token);
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

fn quoted(rest: &str, quote: char) -> Result<(String, usize), String> {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return Ok((rest[1..at].to_owned(), at + 1)),
            _ => {}
        }
    }
    Err(format!("nothing ends {rest}"))
}

fn alphanumeric(rest: &str) -> usize {
    let part = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    rest.find(|c| !part(c)).unwrap_or(rest.len())
}

fn symbol(rest: &str) -> (Token, usize) {
    let pair = ["=~", "!~", "<=", ">=", "!=", "<>"];
    let length = match pair.iter().find(|pair| rest.starts_with(**pair)) {
        Some(_) => 2,
        None => rest.chars().next().map_or(0, char::len_utf8),
    };
    (Token::Symbol(rest[..length].to_owned()), length)
}

struct Reader {
    tokens: Vec<Token>,
    at: usize,
}

impl Reader {
    fn new(query: &str) -> Result<Self, String> {
        Ok(Self {
            tokens: tokens(query)?,
            at: 0,
        })
    }

    fn select(&mut self) -> Result<Answer, String> {
        self.word("SELECT")?;
        let items = self.until(&["FROM"])?;
        self.word("FROM")?;
        let source = self.source()?;
        if self.takes("WHERE") {
            let filter = self.until(&["GROUP", "ORDER", "LIMIT"])?;
            check_filter(&filter, &source)?;
        }
        let tags = match self.takes("GROUP") {
            true => {
                self.word("BY")?;
                let groups = self.until(&["ORDER", "LIMIT"])?;
                groups_of(&groups, &source)?
            }
            false => Vec::new(),
        };
        let limited = !self.until(&[])?.is_empty();
        if limited && !tags.is_empty() {
            return Err("openGemini cuts the whole answer where LIMIT meets GROUP BY".to_owned());
        }
        let columns = split(&items, ",")
            .map(|item| column(item, &source))
            .collect::<Result<_, _>>()?;
        Ok(Answer { columns, tags })
    }

    /// Parses the part after `FROM`: a measurement, or a query in parentheses.
    fn source(&mut self) -> Result<Vec<Column>, String> {
        if self.tokens.get(self.at) != Some(&Token::Symbol("(".to_owned())) {
            let name = self.name()?;
            return columns_of(&name);
        }
        self.symbol("(")?;
        let inner = self.select()?;
        self.symbol(")")?;
        Ok([inner.columns, inner.tags].concat())
    }

    /// Consumes everything up to one of the words, the closing parenthesis of this query, or the end.
    fn until(&mut self, words: &[&str]) -> Result<Vec<Token>, String> {
        let begin = self.at;
        let mut depth = 0;
        while let Some(token) = self.tokens.get(self.at) {
            match token {
                Token::Word(word) if depth == 0 && words.contains(&word.as_str()) => break,
                Token::Symbol(s) if s == "(" => depth += 1,
                Token::Symbol(s) if s == ")" && depth == 0 => break,
                Token::Symbol(s) if s == ")" => depth -= 1,
                _ => {}
            }
            self.at += 1;
        }
        Ok(self.tokens[begin..self.at].to_vec())
    }

    fn takes(&mut self, word: &str) -> bool {
        let there = self.tokens.get(self.at) == Some(&Token::Word(word.to_owned()));
        self.at += usize::from(there);
        there
    }

    fn word(&mut self, word: &str) -> Result<(), String> {
        let found = format!("{:?}", self.tokens.get(self.at));
        self.takes(word)
            .then_some(())
            .ok_or_else(|| format!("{word} expected, not {found}"))
    }

    fn symbol(&mut self, symbol: &str) -> Result<(), String> {
        let there = self.tokens.get(self.at) == Some(&Token::Symbol(symbol.to_owned()));
        self.at += usize::from(there);
        there
            .then_some(())
            .ok_or_else(|| format!("{symbol} expected"))
    }

    fn name(&mut self) -> Result<String, String> {
        let Some(Token::Name(name)) = self.tokens.get(self.at) else {
            return Err(format!(
                "a quoted name expected, not {:?}",
                self.tokens.get(self.at)
            ));
        };
        self.at += 1;
        Ok(name.clone())
    }

    fn end(&self) -> Result<(), String> {
        match self.tokens.get(self.at) {
            None => Ok(()),
            more => Err(format!("the query should end before {more:?}")),
        }
    }
}

fn columns_of(measurement: &str) -> Result<Vec<Column>, String> {
    let known = |m: &&Measurement| m.name == measurement;
    let Some(found) = schema::ALL.iter().find(known) else {
        return Err(format!("no measurement is called {measurement}"));
    };
    let tags = found.tags.iter().map(|tag| (*tag, Kind::Tag));
    let fields = found
        .fields
        .iter()
        .map(|(name, kind)| (*name, Kind::Field(*kind)));
    let column = |(name, kind): (&str, Kind)| Column {
        name: name.to_owned(),
        kind,
    };
    Ok(tags.chain(fields).map(column).collect())
}

fn find<'a>(columns: &'a [Column], name: &str) -> Result<&'a Column, String> {
    let found = columns.iter().find(|column| column.name == name);
    found.ok_or_else(|| format!("there is no {name}"))
}

fn split<'a>(tokens: &'a [Token], symbol: &'static str) -> impl Iterator<Item = &'a [Token]> {
    let mut depth = 0;
    tokens.split(move |token| {
        match token {
            Token::Symbol(s) if s == "(" => depth += 1,
            Token::Symbol(s) if s == ")" => depth -= 1,
            _ => {}
        }
        depth == 0 && *token == Token::Symbol(symbol.to_owned())
    })
}

/// Parses one item of a `SELECT`: an expression and its name.
fn column(item: &[Token], source: &[Column]) -> Result<Column, String> {
    let (expression, name) = match item {
        [expression @ .., Token::Word(word), Token::Name(name)] if word == "AS" => {
            (expression, name)
        }
        [Token::Name(name)] => (item, name),
        _ => return Err(format!("an expression needs a name: {item:?}")),
    };
    if let Some(word) = unquoted(expression) {
        return Err(format!("{word} is no function: quote names"));
    }
    let kind = match expression {
        [Token::Name(field)] => find(source, field)?.kind,
        [
            Token::Word(function),
            Token::Symbol(open),
            Token::Name(field),
            ..,
        ] if open == "(" => {
            let closes = expression
                .iter()
                .filter(|t| **t == Token::Symbol(")".to_owned()))
                .count();
            let lone = closes == 1 && expression.last() == Some(&Token::Symbol(")".to_owned()));
            let kind = aggregated(function, find(source, field)?)?;
            check_arithmetic(expression, source, lone)?;
            if lone {
                kind
            } else {
                Kind::Field(FieldType::Float)
            }
        }
        _ => {
            check_arithmetic(expression, source, false)?;
            Kind::Field(FieldType::Float)
        }
    };
    Ok(Column {
        name: name.clone(),
        kind,
    })
}

/// Returns a bare word that is not a function call.
fn unquoted(expression: &[Token]) -> Option<&str> {
    let open = Some(&Token::Symbol("(".to_owned()));
    let mut words = expression
        .iter()
        .enumerate()
        .filter_map(|(at, token)| match token {
            Token::Word(word) if expression.get(at + 1) != open => Some(word.as_str()),
            _ => None,
        });
    words.next()
}

/// Returns the type of a function's result.
fn aggregated(function: &str, column: &Column) -> Result<Kind, String> {
    let Kind::Field(of) = column.kind else {
        return Err(format!(
            "{function}() takes fields, {} is a tag",
            column.name
        ));
    };
    let number = matches!(of, FieldType::Int | FieldType::Float);
    match function {
        "count" => Ok(Kind::Field(FieldType::Int)),
        "first" | "last" => Ok(column.kind),
        "sum" | "max" | "min" | "non_negative_difference" if number => Ok(column.kind),
        "mean" | "non_negative_derivative" if number => Ok(Kind::Field(FieldType::Float)),
        _ => Err(format!(
            "{function}() of {} ({of:?}) is not known to fit",
            column.name
        )),
    }
}

/// Checks that all operands are numbers; bitwise operators take integers only.
fn check_arithmetic(expression: &[Token], source: &[Column], lone: bool) -> Result<(), String> {
    if lone {
        return Ok(());
    }
    let bits = expression.contains(&Token::Symbol("&".to_owned()));
    for token in expression {
        let Token::Name(name) = token else { continue };
        match find(source, name)?.kind {
            Kind::Field(FieldType::Int) => {}
            Kind::Field(FieldType::Float) if !bits => {}
            other => return Err(format!("no arithmetic with {name} ({other:?})")),
        }
    }
    Ok(())
}

/// Checks each comparison: strings and regexes with tags and strings, numbers with numbers.
fn check_filter(filter: &[Token], source: &[Column]) -> Result<(), String> {
    for (at, token) in filter.iter().enumerate() {
        let name = match token {
            Token::Name(name) => name,
            Token::Word(word)
                if !matches!(word.as_str(), "AND" | "OR" | "and" | "or" | "time" | "now") =>
            {
                return Err(format!("{word} in a WHERE: quote names"));
            }
            _ => continue,
        };
        let textual = matches!(
            find(source, name)?.kind,
            Kind::Tag | Kind::Field(FieldType::String)
        );
        let fits = match filter.get(at + 2) {
            Some(Token::Text | Token::Regex) => textual,
            Some(Token::Number) => !textual,
            _ => false,
        };
        if !fits {
            return Err(format!("{name} is compared with {:?}", filter.get(at + 2)));
        }
    }
    Ok(())
}

/// Returns the tags of `GROUP BY`.
fn groups_of(groups: &[Token], source: &[Column]) -> Result<Vec<Column>, String> {
    let mut tags = Vec::new();
    for token in groups {
        match token {
            Token::Word(word)
                if !matches!(
                    word.as_str(),
                    "time" | "fill" | "none" | "null" | "previous"
                ) =>
            {
                return Err(format!("{word} in a GROUP BY: quote names"));
            }
            Token::Name(name) => tags.push(find(source, name)?.clone()),
            _ => {}
        }
    }
    match tags.iter().find(|tag| tag.kind != Kind::Tag) {
        Some(field) => Err(format!("{} is no tag to group by", field.name)),
        None => Ok(tags),
    }
}

#[test]
fn it_reads_what_panels_ask() {
    let answer = select(
        r#"SELECT max("w") AS "worst" FROM (SELECT last("state") AS "w" FROM "circuit_state" WHERE time > 5ms - 3m AND "svc" =~ /^a\/b$/ GROUP BY "svc", "inst") GROUP BY "svc""#,
    );
    let answer = answer.expect("a valid query");
    assert_eq!(answer.columns[0].name, "worst");
    assert_eq!(answer.tags[0].name, "svc");
    let tag = tag_values(r#"SHOW TAG VALUES FROM "red" WITH KEY = "op" WHERE "svc" =~ /^x$/"#);
    assert_eq!(tag.as_deref(), Ok("op"));
}

#[test]
fn it_refuses_what_the_store_does_not_write() {
    let wrong = [
        r#"SELECT sum("calls") AS "n" FROM "redd""#,
        r#"SELECT sum("call") AS "n" FROM "red""#,
        r#"SELECT sum("h") AS "n" FROM "red""#,
        r#"SELECT max("svc") AS "n" FROM "red""#,
        r#"SELECT sum(calls) AS "n" FROM "red""#,
        r#"SELECT sum("calls") / 5 FROM "red""#,
        r#"SELECT 1 + "h" AS "n" FROM "red""#,
        r#"SELECT ("failure_rate" + 3) & 8 AS "n" FROM "circuit_10s""#,
        r#"SELECT "calls" FROM "red" WHERE "calls" = 'a'"#,
        r#"SELECT "calls" FROM "red" WHERE "svc" = 5"#,
        r#"SELECT "calls" FROM "red" WHERE svc = 'a'"#,
        r#"SELECT "calls" FROM "red" GROUP BY "calls""#,
        r#"SELECT last("calls") AS "n" FROM "red" GROUP BY "svc" LIMIT 5"#,
        r#"SELECT "p50" FROM (SELECT sum("calls") AS "n" FROM "red")"#,
        r#"from(bucket: "fusebox")"#,
    ];
    for query in wrong {
        assert!(select(query).is_err(), "{query}");
    }
    assert!(tag_values(r#"SHOW TAG VALUES FROM "red" WITH KEY = "calls""#).is_err());
}
