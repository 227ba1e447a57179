//! What the crate `influxdb2` does for us on an InfluxDB 2: the first set-up, organisations, new buckets.
//!
//! It stays in this file. Its client has no timeouts, loses a proxy's path prefix and panics on a bad address, so
//! every call is timed here and it is only made for addresses that it can hold.

#![expect(
    clippy::disallowed_types,
    reason = "the one place that may use the crate's client"
)]

use std::future::Future;
use std::time::Duration;

use influxdb2::api::organization::ListOrganizationRequest;
use influxdb2::models::{PostBucketRequest, RetentionRule, retention_rule};
use influxdb2::{Client as Influxdb2, RequestError};

use super::super::client::{Client, failed};
use super::{Retention, SetupError};

/// How long one call may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The first user of a server that is set up from here.
const USER: &str = "fusebox";

/// Manages one server.
pub(super) struct Admin<'a> {
    api: Influxdb2,
    client: &'a Client,
}

impl<'a> Admin<'a> {
    /// Returns a manager; `None` for a server behind a path prefix, which the crate would drop.
    pub(super) fn new(client: &'a Client) -> Option<Self> {
        let options = client.options();
        let url = reqwest::Url::parse(&options.url).ok()?;
        if url.path() != "/" {
            return None;
        }
        let token = client.token().unwrap_or_default();
        let api = Influxdb2::new(options.url.as_str(), options.org.as_str(), token);
        Some(Self { api, client })
    }

    /// Returns whether the server was never set up.
    pub(super) async fn is_onboarding_allowed(&self) -> Result<bool, SetupError> {
        timed(self.api.is_onboarding_allowed())
            .await
            .map_err(|said| self.failed("ask for the set-up of", &said))
    }

    /// Sets it up; returns its only token, which it never tells again.
    pub(super) async fn onboard(&self, retention: Retention) -> Result<String, SetupError> {
        let options = self.client.options();
        // In seconds alone: hours, which the crate takes too, leave a 2.9.1 half set up and without any token.
        let seconds = i32::try_from(retention.seconds).ok();
        let onboarding =
            self.api
                .onboarding(USER, &options.org, &options.bucket, None, None, seconds);
        let failed = |said| SetupError::Onboarding {
            url: options.url.clone(),
            org: options.org.clone(),
            user: USER,
            said,
        };
        let answer = timed(onboarding).await.map_err(failed)?;
        let token = answer.auth.and_then(|authorization| authorization.token);
        token.ok_or_else(|| failed("it gave no token".to_owned()))
    }

    /// Returns the organisation's id; `None` where the token sees none of that name.
    pub(super) async fn organisation_id(&self) -> Result<Option<String>, SetupError> {
        let request = ListOrganizationRequest {
            org: Some(self.client.options().org.clone()),
            ..ListOrganizationRequest::default()
        };
        let listed = timed(self.api.list_organizations(request)).await;
        let listed = listed.map_err(|said| self.failed("list the organisations of", &said))?;
        Ok(listed.orgs.into_iter().find_map(|found| found.id))
    }

    /// Makes the bucket; the error is what the server said.
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

    fn failed(&self, action: &'static str, said: &str) -> SetupError {
        failed(action, &self.client.options().url, &said).into()
    }
}

/// Waits for a call, not for ever; the error is what the server said.
async fn timed<T>(call: impl Future<Output = Result<T, RequestError>>) -> Result<T, String> {
    match tokio::time::timeout(TIMEOUT, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(RequestError::Http { status, text })) => Err(format!("{status}: {}", text.trim())),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no answer in time".to_owned()),
    }
}
