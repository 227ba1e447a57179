//! Management calls of InfluxDB 2 through the crate `influxdb2`: onboarding, organisations, new buckets.
//!
//! The crate is used in this file only. Its client has no timeouts, drops a proxy's path prefix, is built
//! without TLS and panics on a bad URL, so every call gets a timeout here and is made only for URLs that the
//! crate supports.

#![expect(
    clippy::disallowed_types,
    reason = "the one place that may use the crate's client"
)]

use std::future::Future;
use std::time::Duration;

use influxdb2::api::organization::ListOrganizationRequest;
use influxdb2::models::{PostBucketRequest, RetentionRule, retention_rule};
use influxdb2::{Client as Influxdb2, RequestError};

use super::super::client::Client;
use super::{Retention, SetupError, USER, unknown};
use crate::store::influxdb::InfluxdbOptions;

const TIMEOUT: Duration = Duration::from_secs(30);

pub(super) struct Influxdb2Api<'a> {
    api: Influxdb2,
    client: &'a Client,
}

impl<'a> Influxdb2Api<'a> {
    /// Returns `None` for a URL that the crate does not support.
    pub(super) fn new(client: &'a Client) -> Option<Self> {
        let InfluxdbOptions { url, org, .. } = client.options();
        if url.is_https() || !url.is_host_alone() {
            return None;
        }
        let token = client.token();
        let token = token.as_ref().map_or("", |token| token.expose());
        let api = Influxdb2::new(url.as_str(), org.as_str(), token);
        Some(Self { api, client })
    }

    pub(super) async fn is_onboarding_allowed(&self) -> Result<bool, SetupError> {
        timed(self.api.is_onboarding_allowed())
            .await
            .map_err(|said| unknown(self.client, "tell whether it is set up", &said))
    }

    pub(super) async fn onboard(&self, retention: Retention) -> Result<String, String> {
        let InfluxdbOptions { org, bucket, .. } = self.client.options();
        // Only in seconds: with hours, which the crate also offers, 2.9.1 ends up half set up and without a
        // token.
        let seconds = i32::try_from(retention.seconds).ok();
        let onboarding = self.api.onboarding(USER, org, bucket, None, None, seconds);
        let token = timed(onboarding).await?.auth.and_then(|auth| auth.token);
        token.ok_or_else(|| "it gave no token".to_owned())
    }

    pub(super) async fn organisation_id(&self) -> Result<Option<String>, SetupError> {
        let request = ListOrganizationRequest {
            org: Some(self.client.options().org.clone()),
            ..ListOrganizationRequest::default()
        };
        let listed = timed(self.api.list_organizations(request)).await;
        let listed =
            listed.map_err(|said| unknown(self.client, "list its organisations", &said))?;
        Ok(listed.orgs.into_iter().find_map(|found| found.id))
    }

    pub(super) async fn create_bucket(
        &self,
        organisation: String,
        retention: Retention,
    ) -> Result<(), String> {
        let bucket = self.client.options().bucket.clone();
        let seconds = i32::try_from(retention.seconds).unwrap_or(i32::MAX);
        let mut rule = RetentionRule::new(retention_rule::Type::Expire, seconds);
        rule.shard_group_duration_seconds = i64::try_from(retention.shard_seconds()).ok();
        let request = PostBucketRequest {
            retention_rules: vec![rule],
            ..PostBucketRequest::new(organisation, bucket)
        };
        timed(self.api.create_bucket(Some(request))).await
    }
}

/// Awaits a call with a timeout; the error is the server's message.
async fn timed<T>(call: impl Future<Output = Result<T, RequestError>>) -> Result<T, String> {
    match tokio::time::timeout(TIMEOUT, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(RequestError::Http { status, text })) => Err(format!("{status}: {}", text.trim())),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no answer in time".to_owned()),
    }
}
