//! Management calls of InfluxDB 2: onboarding, organisations, new buckets.
//!
//! The crate `influxdb2` does it where it can (`with_crate`). It supports neither TLS nor a proxy's path
//! prefix, so for such URLs, and in a build without the crate, our own client makes the same calls.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::super::client::Client;
#[cfg(feature = "influxdb2")]
use super::with_crate::Influxdb2Api;
use super::{Retention, SetupError, USER, unknown};

const SETUP: &str = "/api/v2/setup";
pub(super) const BUCKETS: &str = "/api/v2/buckets";
const ORGANISATIONS: &str = "/api/v2/orgs";

/// Returns whether the server was never set up.
pub(super) async fn is_onboarding_allowed(client: &Client) -> Result<bool, SetupError> {
    #[cfg(feature = "influxdb2")]
    if let Some(api) = Influxdb2Api::new(client) {
        return api.is_onboarding_allowed().await;
    }
    let answer = client.call(Method::GET, SETUP, &[], None).await?;
    let answer =
        success(answer).map_err(|said| unknown(client, "tell whether it is set up", &said))?;
    Ok(answer["allowed"] == true)
}

/// Onboards the server; returns its only token, which it never shows again.
pub(super) async fn onboard(client: &Client, retention: Retention) -> Result<String, SetupError> {
    let options = client.options();
    let onboarded = try_onboard(client, retention).await;
    onboarded.map_err(|said| SetupError::Onboarding {
        url: options.url.to_string(),
        org: options.org.clone(),
        user: USER,
        said,
    })
}

async fn try_onboard(client: &Client, retention: Retention) -> Result<String, String> {
    #[cfg(feature = "influxdb2")]
    if let Some(api) = Influxdb2Api::new(client) {
        return api.onboard(retention).await;
    }
    let options = client.options();
    let body = json!({
        "username": USER,
        "org": options.org,
        "bucket": options.bucket,
        "retentionPeriodSeconds": retention.seconds,
    });
    let answer = client.call(Method::POST, SETUP, &[], Some(body)).await;
    let answer = success(answer.map_err(|error| error.to_string())?)?;
    let token = answer["auth"]["token"].as_str();
    token
        .map(str::to_owned)
        .ok_or("it gave no token".to_owned())
}

/// Returns the organisation's id; `None` if the token cannot see one of that name.
pub(super) async fn organisation_id(client: &Client) -> Result<Option<String>, SetupError> {
    #[cfg(feature = "influxdb2")]
    if let Some(api) = Influxdb2Api::new(client) {
        return api.organisation_id().await;
    }
    let name = [("org", client.options().org.as_str())];
    let answer = client.call(Method::GET, ORGANISATIONS, &name, None).await?;
    let answer =
        success(answer).map_err(|said| unknown(client, "list its organisations", &said))?;
    Ok(answer["orgs"][0]["id"].as_str().map(str::to_owned))
}

/// Creates the organisation; the inner error is the server's message.
pub(super) async fn create_organisation(client: &Client) -> Result<Result<(), String>, SetupError> {
    let body = json!({ "name": client.options().org });
    let answer = client
        .call(Method::POST, ORGANISATIONS, &[], Some(body))
        .await?;
    Ok(success(answer).map(drop))
}

/// Creates the bucket; the error is the server's message.
pub(super) async fn create_bucket(
    client: &Client,
    organisation: String,
    retention: Retention,
) -> Result<(), String> {
    #[cfg(feature = "influxdb2")]
    if let Some(api) = Influxdb2Api::new(client) {
        return api.create_bucket(organisation, retention).await;
    }
    let body = json!({
        "orgID": organisation,
        "name": client.options().bucket,
        "retentionRules": [retention.rule()],
    });
    let answer = client.call(Method::POST, BUCKETS, &[], Some(body)).await;
    success(answer.map_err(|error| error.to_string())?).map(drop)
}

/// Returns the JSON of a 2xx, else the server's message.
fn success((status, body): (StatusCode, String)) -> Result<Value, String> {
    match status.is_success() {
        true => Ok(serde_json::from_str(&body).unwrap_or_default()),
        false => Err(format!("{status}: {}", body.trim())),
    }
}
