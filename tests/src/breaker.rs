//! Sends what a circuit breaker of some service would, as OTLP JSON.

use fusebox::circuit_breaker::EffectiveState;
use fusebox::semconv;
use fusebox_collector::model::UnixNanos;
use serde_json::{Value, json};

/// The bucket of calls that took 31 ms, at three bits of scale.
const BUCKET: i64 = -40;

/// One instance of a breaker that counts its calls.
#[derive(Debug)]
pub struct FakeBreaker {
    service: String,
    name: String,
    instance: String,
    state: EffectiveState,
    started: u64,
    calls: u64,
}

impl FakeBreaker {
    /// Returns a closed breaker without calls.
    pub fn new(service: &str, name: &str, instance: &str) -> Self {
        Self {
            service: service.to_owned(),
            name: name.to_owned(),
            instance: instance.to_owned(),
            state: EffectiveState::Closed,
            started: UnixNanos::now().get(),
            calls: 0,
        }
    }

    /// Reports more successful calls and the state.
    ///
    /// # Panics
    /// Panics unless the answer is 200.
    pub async fn report(&mut self, otlp_http: &str, more_calls: u64) {
        self.calls += more_calls;
        post(&format!("{otlp_http}/v1/metrics"), &self.metrics()).await;
    }

    /// Returns what it would report.
    pub fn body(&self) -> Value {
        self.metrics()
    }

    /// Changes its state, caused by a call of that trace, and reports the transition.
    ///
    /// # Panics
    /// Panics unless the answers are 200.
    pub async fn turn(&mut self, otlp_http: &str, to: EffectiveState, trace_id: &str) {
        let from = std::mem::replace(&mut self.state, to);
        post(
            &format!("{otlp_http}/v1/logs"),
            &self.event(from, to, trace_id),
        )
        .await;
        self.report(otlp_http, 0).await;
    }

    fn metrics(&self) -> Value {
        let now = UnixNanos::now().get().to_string();
        let state = |state: EffectiveState| {
            json!({
                "attributes": [self.name(), text(semconv::BREAKER_STATE, state.as_str())],
                "timeUnixNano": now,
                "asInt": u8::from(state == self.state).to_string(),
            })
        };
        let calls = json!({
            "attributes": [self.name(), text(semconv::BREAKER_OUTCOME, "success")],
            "startTimeUnixNano": self.started.to_string(),
            "timeUnixNano": now,
            "count": self.calls.to_string(),
            "scale": 3,
            "positive": { "offset": BUCKET, "bucketCounts": [self.calls.to_string()] },
        });
        let durations = json!({ "aggregationTemporality": 2, "dataPoints": [calls] });
        let metrics = json!([
            { "name": semconv::STATE, "gauge": { "dataPoints": EffectiveState::ALL.map(state) } },
            { "name": semconv::CALL_DURATION, "exponentialHistogram": durations },
        ]);
        let scope = json!([{ "metrics": metrics }]);
        json!({ "resourceMetrics": [{ "resource": self.resource(), "scopeMetrics": scope }] })
    }

    fn event(&self, from: EffectiveState, to: EffectiveState, trace_id: &str) -> Value {
        let record = json!({
            "timeUnixNano": UnixNanos::now().get().to_string(),
            "eventName": semconv::EVENT_TRANSITION,
            "attributes": [
                self.name(),
                text(semconv::TRANSITION_FROM, from.as_str()),
                text(semconv::TRANSITION_TO, to.as_str()),
                text(semconv::TRANSITION_REASON, "52 % of 118 calls failed"),
            ],
            "traceId": trace_id,
            "spanId": "0000000000000001",
        });
        let scope = json!([{ "logRecords": [record] }]);
        json!({ "resourceLogs": [{ "resource": self.resource(), "scopeLogs": scope }] })
    }

    fn name(&self) -> Value {
        text(semconv::BREAKER_NAME, &self.name)
    }

    fn resource(&self) -> Value {
        let service = text("service.name", &self.service);
        let instance = text("service.instance.id", &self.instance);
        json!({ "attributes": [service, instance] })
    }
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

async fn post(url: &str, body: &Value) {
    let response = reqwest::Client::new().post(url).json(body).send().await;
    let response = response.expect("the collector answers");
    assert_eq!(response.status(), 200, "{:?}", response.text().await);
}
