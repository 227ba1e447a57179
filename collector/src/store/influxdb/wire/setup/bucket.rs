//! The bucket in InfluxDB 2: found or created, and kept in step with the retention.

use std::path::Path;

use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::super::client::Client;
use super::admin::{self, BUCKETS};
use super::{Retention, SetupError, unknown, warn_of_retention};
use crate::store::durable;

/// The result of looking for the bucket.
enum Found {
    /// It exists and keeps points for `seconds`; 0 is for ever.
    Bucket {
        id: String,
        seconds: u64,
    },
    /// It exists, but the token must not read it.
    Hidden,
    /// It does not exist, or the token cannot see it.
    NoBucket(String),
    /// The organisation does not exist, or the token cannot see it.
    NoOrganisation(String),
    TokenRefused(String),
}

/// Creates the bucket or adjusts its retention; onboards the server first if that is needed and allowed.
pub(super) async fn ensure(
    client: &Client,
    retention: Retention,
    token_file: &Path,
) -> Result<(), SetupError> {
    if client.token().is_none() {
        return onboard(client, retention, token_file).await;
    }
    match look(client).await? {
        Found::Bucket { seconds, .. } if seconds == retention.seconds => Ok(()),
        Found::Bucket { id, .. } => alter(client, &id, retention).await,
        Found::Hidden => Ok(()),
        Found::NoBucket(said) => create(client, retention, said).await,
        Found::NoOrganisation(said) => {
            create_organisation(client, said).await?;
            create(client, retention, String::new()).await
        }
        Found::TokenRefused(said) => match refused(client, said).await {
            // We had onboarded it, and it was emptied since.
            SetupError::NotSetUp { .. } if is_ours(client) => {
                onboard(client, retention, token_file).await
            }
            error => Err(error),
        },
    }
}

/// Returns whether the token came from our onboarding, not from the options.
fn is_ours(client: &Client) -> bool {
    let options = client.options();
    options.token.is_none() && options.token_file.is_none()
}

/// Onboards a fresh server (first user, organisation, bucket) and stores the returned token.
async fn onboard(
    client: &Client,
    retention: Retention,
    token_file: &Path,
) -> Result<(), SetupError> {
    let options = client.options();
    let url = || options.url.to_string();
    if !admin::is_onboarding_allowed(client).await? {
        return Err(SetupError::NoToken {
            url: url(),
            bucket: options.bucket.clone(),
        });
    }
    if !options.onboard {
        return Err(SetupError::NotSetUp { url: url() });
    }
    // The token is only ever in the answer, so first check that it can be saved.
    keep(token_file, String::new()).await?;
    let token = admin::onboard(client, retention).await?;
    keep(token_file, token).await?;
    client.reload_token().await?;
    tracing::info!(
        url = %options.url,
        token_file = %token_file.display(),
        "set up InfluxDB; the file holds its only token"
    );
    Ok(())
}

async fn keep(file: &Path, token: String) -> Result<(), SetupError> {
    let file = file.to_owned();
    let write = move || durable::write(&file, token.as_bytes());
    let written = tokio::task::spawn_blocking(write).await;
    Ok(written.expect("writing a file does not panic")?)
}

#[derive(Deserialize)]
struct Buckets {
    buckets: Vec<Bucket>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bucket {
    id: String,
    #[serde(default)]
    retention_rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    every_seconds: u64,
}

async fn look(client: &Client) -> Result<Found, SetupError> {
    let options = client.options();
    let query = [
        ("org", options.org.as_str()),
        ("name", options.bucket.as_str()),
    ];
    let (status, body) = client.call(Method::GET, BUCKETS, &query, None).await?;
    match status {
        StatusCode::OK => found(client, &body),
        StatusCode::UNAUTHORIZED => Ok(Found::TokenRefused(body)),
        StatusCode::NOT_FOUND if body.contains("organization") => Ok(Found::NoOrganisation(body)),
        StatusCode::NOT_FOUND => Ok(Found::NoBucket(body)),
        // The token may be for a single bucket; writing will show whether it is this one.
        StatusCode::FORBIDDEN => Ok(Found::Hidden),
        _ => Err(unknown(
            client,
            "list its buckets",
            &format!("{status}: {body}"),
        )),
    }
}

fn found(client: &Client, body: &str) -> Result<Found, SetupError> {
    let buckets: Buckets =
        serde_json::from_str(body).map_err(|error| unknown(client, "list its buckets", &error))?;
    // 2.9.1 answers 404 if there is no such bucket, and an empty list if the token must not read it.
    let Some(bucket) = buckets.buckets.into_iter().next() else {
        return Ok(Found::Hidden);
    };
    let seconds = bucket.retention_rules.first();
    Ok(Found::Bucket {
        id: bucket.id,
        seconds: seconds.map_or(0, |rule| rule.every_seconds),
    })
}

async fn alter(client: &Client, id: &str, retention: Retention) -> Result<(), SetupError> {
    let path = format!("{BUCKETS}/{id}");
    let body = json!({ "retentionRules": [retention.rule()] });
    let (status, said) = client.call(Method::PATCH, &path, &[], Some(body)).await?;
    if !status.is_success() {
        warn_of_retention(client, retention, &said);
    }
    Ok(())
}

async fn create(client: &Client, retention: Retention, said: String) -> Result<(), SetupError> {
    let options = client.options();
    let missing = |said| SetupError::NoBucket {
        url: options.url.to_string(),
        org: options.org.clone(),
        bucket: options.bucket.clone(),
        seconds: retention.seconds,
        said,
    };
    let Some(organisation) = admin::organisation_id(client).await? else {
        let hidden = "the token may not see the organisation";
        return Err(missing(format!("{hidden}; {}", said.trim())));
    };
    let created = admin::create_bucket(client, organisation, retention).await;
    created.map_err(missing)
}

async fn create_organisation(client: &Client, said: String) -> Result<(), SetupError> {
    let options = client.options();
    let created = admin::create_organisation(client).await?;
    created.map_err(|answer| SetupError::NoOrganisation {
        url: options.url.to_string(),
        org: options.org.clone(),
        said: format!("{}; {answer}", said.trim()),
    })
}

/// Distinguishes a wrong token from a server that was never set up, which rejects every token.
async fn refused(client: &Client, said: String) -> SetupError {
    let url = client.options().url.to_string();
    match admin::is_onboarding_allowed(client).await {
        Ok(true) => SetupError::NotSetUp { url },
        Ok(false) | Err(_) => SetupError::TokenRefused { url, said },
    }
}
