//! Registered instances: their status by an operator, and their removal.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::params::Params;
use super::{ApiState, Problem, order};
use crate::actuator::ActuatorView;
use crate::live::registry::{ChangedBy, RegistryError};
use crate::model::{CircuitKey, InstanceStatus, OperatorChange, UnixNanos};
use crate::receivers::user_name;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Removal {
    reason: String,
    /// Optional if the request identifies its user (`Authorization: Basic`).
    #[serde(default)]
    by: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Order {
    /// `OUT_OF_SERVICE`, or `null` for the status that the instance reports.
    #[serde(deserialize_with = "Option::deserialize")]
    status: Option<InstanceStatus>,
    reason: String,
    /// Optional if the request identifies its user (`Authorization: Basic`).
    #[serde(default)]
    by: String,
}

/// `POST /api/instances/{service}/{id}/status`
pub(super) async fn order_status(
    State(state): State<ApiState>,
    Path((service, id)): Path<(String, String)>,
    headers: HeaderMap,
    order: Result<Json<Order>, JsonRejection>,
) -> Result<StatusCode, Problem> {
    let Json(order) = order.map_err(|error| Problem::new(error.status(), error.body_text()))?;
    let by = ChangedBy {
        name: user_name(&headers).unwrap_or(order.by),
        reason: order.reason,
    };
    let registry = state.query.circuits().registry();
    let ordered = registry.order_status(&service, &id, order.status, by, UnixNanos::now());
    ordered.await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /api/instances/{service}/{id}`
pub(super) async fn remove(
    State(state): State<ApiState>,
    Path((service, id)): Path<(String, String)>,
    headers: HeaderMap,
    removal: Result<Json<Removal>, JsonRejection>,
) -> Result<StatusCode, Problem> {
    let Json(removal) = removal.map_err(|error| Problem::new(error.status(), error.body_text()))?;
    let by = ChangedBy {
        name: user_name(&headers).unwrap_or(removal.by),
        reason: removal.reason,
    };
    let registry = state.query.circuits().registry();
    registry.remove(&service, &id, by, UnixNanos::now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /api/instances/{service}/{id}/actuator`
pub(super) async fn actuator(
    State(state): State<ApiState>,
    Path((service, id)): Path<(String, String)>,
    params: Params,
) -> Result<Json<ActuatorView>, Problem> {
    params.only(&[])?;
    let read = state.query.actuators().read(&service, &id).await;
    let unknown = "no such instance is registered with an actuator that may be read";
    read.map(Json).ok_or_else(|| Problem::not_found(unknown))
}

/// `POST /api/instances/{service}/{id}/breakers/{name}`
pub(super) async fn switch(
    State(state): State<ApiState>,
    Path((service, id, name)): Path<(String, String, String)>,
    headers: HeaderMap,
    order: Result<Json<order::Order>, JsonRejection>,
) -> Result<(StatusCode, Json<OperatorChange>), Problem> {
    let order = order::Order::read(order, &["action"])?;
    let action = order.action;
    let action = action.ok_or_else(|| order::invalid("action", "missing field"))?;
    let mut order = order.of(action, &headers);
    order.instances = vec![id];
    let key = CircuitKey { service, name };
    let control = state.query.circuits().control();
    let change = control.request_through_actuator(key, order, UnixNanos::now());
    Ok((StatusCode::ACCEPTED, Json(change.await?)))
}

impl From<RegistryError> for Problem {
    fn from(error: RegistryError) -> Self {
        let detail = error.to_string();
        match error {
            RegistryError::Unknown => Self::not_found(detail),
            RegistryError::Invalid { parameter, .. } => Self {
                parameter: Some(parameter.to_owned()),
                ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
            },
            RegistryError::Full(_) => Self::new(StatusCode::SERVICE_UNAVAILABLE, detail),
            RegistryError::Store(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::{Request, header};
    use tower::ServiceExt;

    use super::super::tests::Fixture;
    use crate::model::{InstanceStatus, Registration, UnixNanos};

    #[tokio::test]
    async fn an_operator_takes_an_instance_out_of_service() {
        let fixture = Fixture::new();
        let registry = fixture.state.query.circuits().registry();
        let shop = Registration {
            service: "shop".to_owned(),
            instance: "a".to_owned(),
            status: InstanceStatus::Up,
            ..Registration::default()
        };
        registry.register(shop, UnixNanos::now()).await.unwrap();
        let order = async |instance: &str, body: &'static str| {
            let uri = format!("/api/instances/shop/{instance}/status");
            let request = Request::post(uri).header(header::CONTENT_TYPE, "application/json");
            let request = request.body(Body::from(body)).unwrap();
            let answer = fixture.router.clone().oneshot(request).await.unwrap();
            answer.status().as_u16()
        };
        let out = r#"{"status": "OUT_OF_SERVICE", "reason": "it misbehaves", "by": "kim"}"#;
        assert_eq!(order("a", out).await, 204);
        assert_eq!(order("b", out).await, 404);
        let without = r#"{"reason": "it is mended", "by": "kim"}"#;
        assert_eq!(order("a", without).await, 422);
        assert_eq!(order("a", r#"{"status": null, "reason": ""}"#).await, 422);
        let listed = fixture.json("/api/instances").await;
        assert_eq!(listed["instances"][0]["liveness"], "out_of_service");
        let entries = "/api/changes?kind=status&instance=a&start=2020-01-01T00:00:00Z";
        let journal = fixture.json(entries).await;
        let entry = &journal["changes"][0];
        for (field, expected) in [
            ("kind", "status"),
            ("event", "status_forced"),
            ("detail", "OUT_OF_SERVICE"),
            ("service", "shop"),
            ("by", "kim"),
        ] {
            assert_eq!(entry[field], expected, "{entry}");
        }
        let back = r#"{"status": null, "reason": "it is mended", "by": "kim"}"#;
        assert_eq!(order("a", back).await, 204);
        let listed = fixture.json("/api/instances").await;
        assert_eq!(listed["instances"][0]["liveness"], "live");
        let remove = async |body: &'static str| {
            let request = Request::delete("/api/instances/shop/a");
            let request = request.header(header::CONTENT_TYPE, "application/json");
            let request = request.body(Body::from(body)).unwrap();
            let answer = fixture.router.clone().oneshot(request).await.unwrap();
            answer.status().as_u16()
        };
        assert_eq!(remove(r#"{"reason": "", "by": "kim"}"#).await, 422);
        let made_up = r#"{"reason": "it does not exist", "by": "kim"}"#;
        assert_eq!(remove(made_up).await, 204);
        assert_eq!(remove(made_up).await, 404);
        let journal = fixture.json("/api/changes?kind=registration").await;
        assert_eq!(journal["changes"][0]["by"], "kim");
    }
}
