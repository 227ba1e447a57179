//! The database in InfluxDB 1.x or openGemini, and its retention policy.

use http::StatusCode;

use super::super::client::{Asked, Client};
use super::super::query::{Cell, Query, Series};
use super::{Retention, SetupError, unknown, warn_of_retention};

/// Creates the database or adjusts its retention.
pub(super) async fn ensure(client: &Client, retention: Retention) -> Result<(), SetupError> {
    let database = &client.options().bucket;
    let look = format!("SHOW RETENTION POLICIES ON {}", identifier(database));
    match ask(client, look).await? {
        (StatusCode::UNAUTHORIZED, said) => Err(refused(client, said.err().unwrap_or_default())),
        (_, Ok(series)) => match default_policy(&series) {
            Some(policy) if policy.seconds == Some(retention.seconds) => Ok(()),
            Some(policy) => alter(client, &policy.name, retention).await,
            None => create(client, retention).await,
        },
        (_, Err(said)) if said.contains("not found") => create(client, retention).await,
        // A user with only write access cannot check, and need not: writing will show what is missing.
        (StatusCode::FORBIDDEN, Err(said)) => {
            warn_of_retention(client, retention, &said);
            Ok(())
        }
        (_, Err(said)) => Err(unknown(client, "show its retention policies", &said)),
    }
}

async fn create(client: &Client, retention: Retention) -> Result<(), SetupError> {
    let database = &client.options().bucket;
    let Retention { seconds } = retention;
    let shard = retention.shard_seconds();
    let name = identifier(database);
    let text = format!("CREATE DATABASE {name} WITH DURATION {seconds}s SHARD DURATION {shard}s");
    match ask(client, text).await? {
        (_, Ok(_)) => Ok(()),
        (StatusCode::UNAUTHORIZED, Err(said)) => Err(refused(client, said)),
        (_, Err(said)) => Err(SetupError::NoDatabase {
            url: client.options().url.to_string(),
            database: database.clone(),
            seconds,
            said,
        }),
    }
}

async fn alter(client: &Client, policy: &str, retention: Retention) -> Result<(), SetupError> {
    let text = format!(
        "ALTER RETENTION POLICY {} ON {} DURATION {}s SHARD DURATION {}s",
        identifier(policy),
        identifier(&client.options().bucket),
        retention.seconds,
        retention.shard_seconds()
    );
    if let (_, Err(said)) = ask(client, text).await? {
        warn_of_retention(client, retention, &said);
    }
    Ok(())
}

async fn ask(client: &Client, text: String) -> Result<Asked, SetupError> {
    Ok(client.ask(&Query::new(text)).await?)
}

fn refused(client: &Client, said: String) -> SetupError {
    let url = client.options().url.to_string();
    match client.token() {
        Some(_) => SetupError::TokenRefused { url, said },
        None => SetupError::NoToken {
            url,
            bucket: client.options().bucket.clone(),
        },
    }
}

/// Quotes a name as an InfluxQL identifier.
fn identifier(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 2);
    text.push('"');
    for c in name.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

struct Policy {
    name: String,
    /// `None` if unparsable.
    seconds: Option<u64>,
}

fn default_policy(answer: &[Vec<Series>]) -> Option<Policy> {
    let series = answer.first()?.first()?;
    let [name, duration, default] = ["name", "duration", "default"].map(|key| series.column(key));
    let (name, duration, default) = (name?, duration?, default?);
    let row = series
        .rows
        .iter()
        .find(|row| row.get(default).and_then(Cell::as_bool) == Some(true))?;
    Some(Policy {
        name: row.get(name)?.as_text()?.to_owned(),
        seconds: row.get(duration)?.as_text().and_then(seconds_of),
    })
}

/// Parses a duration as Go formats it: `168h0m0s`.
fn seconds_of(text: &str) -> Option<u64> {
    let mut total = 0u64;
    let mut number = 0u64;
    for c in text.chars() {
        let unit = match c {
            '0'..='9' => {
                number = number.checked_mul(10)?.checked_add(u64::from(c) - 48)?;
                continue;
            }
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(unit)?)?;
        number = 0;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_names_and_durations_are_read() {
        assert_eq!(identifier(r#"a"b\c; DROP"#), r#""a\"b\\c; DROP""#);
        assert_eq!(seconds_of("168h0m0s"), Some(604_800));
        assert_eq!(seconds_of("0s"), Some(0));
        assert_eq!(seconds_of("1h30m1s"), Some(5_401));
        assert_eq!(seconds_of("1.5h"), None);
    }
}
