//! Requests of a process to its collector besides exports: small JSON documents over the connection of exports, to a path
//! below the receiver's address, by HTTP or as gRPC calls.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use http::StatusCode;
use opentelemetry::Key;
use opentelemetry_sdk::Resource;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::TelemetryConfig;
use super::otlp_client::{ExportError, OtlpClient};
use super::protocol::Protocol;

/// How much longer than its wait a request may take, for slow networks.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// The pause after the first failure; it doubles with each further one.
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// The longest pause while the collector is unreachable: services find it again within half a minute of its return.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// The pause if the receiver has no such path; it may be replaced by a collector that has one.
const PAUSE_WITHOUT_PATH: Duration = Duration::from_secs(300);

/// A path of the collector, and who asks; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    client: OtlpClient,
    protocol: Protocol,
    url: String,
    /// `service.name` of the resource.
    pub(crate) service: String,
    /// `service.instance.id` of the resource.
    pub(crate) instance: String,
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error(transparent)]
    Send(#[from] ExportError),
    #[error("could not read or write a message: {0}")]
    Message(#[from] serde_json::Error),
}

impl Link {
    /// Returns the link to a path; `None` if nothing is sent to a receiver.
    pub(super) fn new(
        config: &TelemetryConfig,
        client: &OtlpClient,
        resource: &Resource,
        path: &str,
        grpc_path: &str,
    ) -> Option<Self> {
        let (protocol, receiver) = config.receiver()?;
        let path = match protocol {
            Protocol::HttpProtobuf => path,
            Protocol::Grpc => grpc_path,
        };
        let attribute = |key: &'static str| {
            let value = resource.get(&Key::from_static_str(key));
            value.map(|value| value.to_string()).unwrap_or_default()
        };
        Some(Self {
            client: client.clone(),
            protocol,
            url: format!("{receiver}{path}"),
            service: attribute("service.name"),
            instance: attribute("service.instance.id"),
        })
    }

    /// Calls `write`, which writes a log line, with the subscriber of telemetry.
    pub(crate) fn log(&self, write: impl FnOnce()) {
        self.client.log(write);
    }

    /// Posts a message that the collector may hold for `wait`; returns its answer.
    pub(crate) async fn post<A: DeserializeOwned>(
        &self,
        message: &impl Serialize,
        wait: Duration,
    ) -> Result<A, LinkError> {
        let json = serde_json::to_vec(message)?;
        let within = wait + ANSWER_WITHIN;
        let sent = self
            .client
            .post_json(self.protocol, &self.url, json, within);
        let response = sent.await?;
        match response.status() {
            StatusCode::OK => Ok(serde_json::from_slice(response.body())?),
            status => Err(ExportError::Status(status).into()),
        }
    }
}

/// Waits for an answer; returns `None` if `news` comes first.
pub(crate) async fn unless<T>(
    answer: impl Future<Output = T>,
    news: impl Future<Output = ()>,
) -> Option<T> {
    let (mut answer, mut news) = (pin!(answer), pin!(news));
    poll_fn(|context| match answer.as_mut().poll(context) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending => news.as_mut().poll(context).map(|()| None),
    })
    .await
}

impl LinkError {
    pub(super) fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Send(ExportError::Status(status)) => Some(*status),
            _ => None,
        }
    }
}

/// Returns the pause after a failure. It grows with each failure and differs between processes, so that they do not all
/// ask at the same time.
pub(crate) fn pause(failures: u32, error: &LinkError) -> Duration {
    let longest = match error.status() {
        Some(
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED,
        ) => PAUSE_WITHOUT_PATH,
        _ => PAUSE_MAX.min(PAUSE_MIN * 2_u32.saturating_pow(failures.min(16))),
    };
    longest.mul_f64(0.5 + fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_differ() {
        let away = LinkError::Send(ExportError::Status(StatusCode::BAD_GATEWAY));
        let missing = LinkError::Send(ExportError::Status(StatusCode::NOT_FOUND));
        for failures in [0, 1, 5, 6, 40, u32::MAX] {
            let longest = PAUSE_MAX.min(PAUSE_MIN * 2_u32.pow(failures.min(10)));
            let pause = pause(failures, &away);
            assert!(pause >= longest / 2 && pause <= longest, "{pause:?}");
        }
        assert!(pause(0, &missing) >= PAUSE_WITHOUT_PATH / 2);
        assert_ne!(pause(9, &away), pause(9, &away));
    }
}
