//! `/healthz`: whether the collector can do its work.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;

use super::ApiState;
use crate::counters::Incident;
use crate::notify::{Notifier, TargetReport};
use crate::receivers::Anonymous;
use crate::store::influxdb::Influxdb;

/// The public part: whether data can be sent here.
#[derive(Debug, Serialize)]
struct Status {
    status: &'static str,
}

#[derive(Debug, Serialize)]
struct Report {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    version: &'static str,
    spans_stored: u64,
    spans_queued: u64,
    /// Spans in irreparable blocks, since the start.
    spans_damaged: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    influxdb: Option<InfluxdbHealth>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notifications: Option<NotificationsHealth>,
}

/// Failing notifications; the status stays `ok`, as for InfluxDB.
#[derive(Debug, Serialize)]
struct NotificationsHealth {
    targets: usize,
    /// Why the last message could not be delivered, by target.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    failing: BTreeMap<String, String>,
    /// Why the file of targets is not fully in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl NotificationsHealth {
    fn of(notifier: &Notifier) -> Option<Self> {
        let found = notifier.overview();
        let targets = found.targets.len();
        let problem_of = |target: TargetReport| Some((target.name, target.problem?));
        let health = Self {
            targets,
            failing: found.targets.into_iter().filter_map(problem_of).collect(),
            problem: found.problem,
        };
        (targets > 0 || health.problem.is_some()).then_some(health)
    }
}

/// An unreachable InfluxDB does not stop the collector's work: it is reported, and the status stays `ok`.
#[derive(Debug, Serialize)]
struct InfluxdbHealth {
    reachable: Option<bool>,
    backlog_spans: u64,
    backlog_log_records: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl InfluxdbHealth {
    fn of(influxdb: &Influxdb) -> Self {
        let report = influxdb.report();
        let standing = report.standing;
        Self {
            reachable: standing.reachable,
            backlog_spans: report.backlog_spans,
            backlog_log_records: report.backlog_log_records,
            problem: standing
                .last_error
                .filter(|_| standing.reachable == Some(false)),
        }
    }
}

/// `GET /healthz`
pub(super) async fn healthz(
    State(state): State<ApiState>,
    anonymous: Option<Extension<Anonymous>>,
) -> Response {
    let problem = state.health.problem();
    let (code, status) = match problem {
        None => (StatusCode::OK, "ok"),
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, "failing"),
    };
    if anonymous.is_some() {
        return (code, Json(Status { status })).into_response();
    }
    let report = Report {
        status,
        problem,
        version: env!("CARGO_PKG_VERSION"),
        spans_stored: state.query.store_stats().spans,
        spans_queued: state.counters.spans_queued.get(),
        spans_damaged: state.counters.incidents.of(Incident::DamagedSpan),
        influxdb: state.influxdb.as_ref().map(InfluxdbHealth::of),
        notifications: NotificationsHealth::of(&state.notifier),
    };
    (code, Json(report)).into_response()
}
