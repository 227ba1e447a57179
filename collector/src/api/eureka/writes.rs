//! The writing half of Eureka's API: registrations, renewals, ends, statuses and metadata.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};

use super::BODY_BYTES_MAX;
use super::refusal::Refusal;
use crate::api::ApiState;
use crate::api::dialect::{self, Refuse};
use crate::codec::eureka::{EurekaFormat, read_registration};
use crate::live::registry::{ChangedBy, Registry};
use crate::model::{InstanceStatus, UnixNanos};
use crate::receivers::decompress::{Encoding, inflate};
use crate::receivers::{SentFrom, user_name};

/// The reason in the journal for what a program asked for.
const REASON: &str = "by Eureka's API";
/// The parameter of every change that is no metadata: when the instance changed last, by its own clock.
const REVISED: &str = "lastDirtyTimestamp";

type Params = dialect::Params<Refusal>;

/// `POST /eureka/apps/{app}`
pub(super) async fn register(
    State(state): State<ApiState>,
    Path(app): Path<String>,
    sender: SentFrom,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, Refusal> {
    let body = body.map_err(|error| Refusal::new(error.status(), error.body_text()))?;
    let encoding = text_of(&headers, header::CONTENT_ENCODING);
    let encoding = Encoding::from_name(encoding).ok_or_else(|| {
        let problem = format!("accepted encodings are {}", Encoding::ACCEPTED);
        Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, problem)
    })?;
    let body = inflate(body, encoding, BODY_BYTES_MAX)?;
    let format = content_of(&headers)?;
    let registration = read_registration(&body, format, &app)?;
    registry(&state)
        .register_from(sender.0, registration, UnixNanos::now())
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `PUT /eureka/apps/{app}/{id}?lastDirtyTimestamp`
pub(super) async fn renew(
    State(state): State<ApiState>,
    Path((app, id)): Path<(String, String)>,
    sender: SentFrom,
    params: Params,
) -> Result<StatusCode, Refusal> {
    let revised = params.given(REVISED).and_then(|text| text.parse().ok());
    registry(&state).renew(&app, &id, revised)?;
    registry(&state).sent_by(&app, &id, sender.0);
    Ok(StatusCode::OK)
}

/// `DELETE /eureka/apps/{app}/{id}`
pub(super) async fn cancel(
    State(state): State<ApiState>,
    Path((app, id)): Path<(String, String)>,
) -> Result<StatusCode, Refusal> {
    registry(&state).leave(&app, &id, UnixNanos::now()).await?;
    Ok(StatusCode::OK)
}

/// `PUT /eureka/apps/{app}/{id}/status?value`
pub(super) async fn force_status(
    State(state): State<ApiState>,
    Path((app, id)): Path<(String, String)>,
    headers: HeaderMap,
    params: Params,
) -> Result<StatusCode, Refusal> {
    let value = params.given("value").and_then(InstanceStatus::parse);
    let value = value.ok_or_else(|| {
        let names = InstanceStatus::ALL.map(InstanceStatus::as_str).join(", ");
        Refusal::parameter("value", format!("must be one of {names}"))
    })?;
    let changed =
        registry(&state).force_status(&app, &id, Some(value), by(&headers), UnixNanos::now());
    changed.await?;
    Ok(StatusCode::OK)
}

/// `DELETE /eureka/apps/{app}/{id}/status`: the instance has the status that it reports again.
pub(super) async fn release_status(
    State(state): State<ApiState>,
    Path((app, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<StatusCode, Refusal> {
    let changed = registry(&state).force_status(&app, &id, None, by(&headers), UnixNanos::now());
    changed.await?;
    Ok(StatusCode::OK)
}

/// `PUT /eureka/apps/{app}/{id}/metadata?name=value`
pub(super) async fn add_metadata(
    State(state): State<ApiState>,
    Path((app, id)): Path<(String, String)>,
    params: Params,
) -> Result<StatusCode, Refusal> {
    let names = params.names().filter(|name| *name != REVISED);
    let values = names.map(|name| {
        let value = params.given(name).unwrap_or_default();
        (name.to_owned(), value.to_owned())
    });
    let changed = registry(&state).add_metadata(&app, &id, values.collect(), UnixNanos::now());
    changed.await?;
    Ok(StatusCode::OK)
}

fn registry(state: &ApiState) -> &Registry {
    state.query.circuits().registry()
}

fn by(headers: &HeaderMap) -> ChangedBy {
    let name = user_name(headers).unwrap_or_default();
    ChangedBy {
        name: name.chars().take(100).collect(),
        reason: REASON.to_owned(),
    }
}

/// Returns the format of a body. A page of another site can send neither without a preflight.
fn content_of(headers: &HeaderMap) -> Result<EurekaFormat, Refusal> {
    let kind = text_of(headers, header::CONTENT_TYPE);
    match kind.split(';').next().unwrap_or_default().trim() {
        kind if kind.ends_with("json") => Ok(EurekaFormat::Json),
        kind if kind.ends_with("xml") => Ok(EurekaFormat::Xml),
        _ => Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "a registration is application/json or application/xml",
        )),
    }
}

fn text_of(headers: &HeaderMap, name: header::HeaderName) -> &str {
    let value = headers.get(name);
    value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}
