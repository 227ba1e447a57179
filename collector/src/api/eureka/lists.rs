//! The reading half of Eureka's API: applications, instances, and what changed lately.

use std::collections::VecDeque;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use serde_json::Value;

use super::format_of;
use super::refusal::Refusal;
use crate::api::{ApiState, pieces};
use crate::codec::eureka::{self, EurekaFormat, hash_code, put_xml};
use crate::live::registry::{ChangeKind, Listed};
use crate::model::{Registration, UnixNanos};

/// How far back the changes reach (Eureka, `retentionTimeInMSInDeltaQueue`): clients ask every 30 s.
const DELTA: Duration = Duration::from_secs(180);

/// An instance as it is listed.
type Row = (Listed, ChangeKind);

/// `GET /eureka/apps`
pub(super) async fn all(State(state): State<ApiState>, headers: HeaderMap) -> Response {
    let rows = of_all(&state);
    let hash = hash_of(&rows);
    applications(rows, &hash, format_of(&headers))
}

/// `GET /eureka/apps/delta`
pub(super) async fn delta(State(state): State<ApiState>, headers: HeaderMap) -> Response {
    let registry = state.query.circuits().registry();
    // Read before the changes: if one comes between, the client sees that the code differs, and reads everything.
    let hash = hash_of(&of_all(&state));
    let changed = registry.changed_since(UnixNanos::now() - DELTA);
    applications(changed, &hash, format_of(&headers))
}

/// `GET /eureka/apps/{app}`
pub(super) async fn application(
    State(state): State<ApiState>,
    Path(app): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let format = format_of(&headers);
    let found = state.query.circuits().registry().of_service(&app);
    let rows = added(found);
    match rows.is_empty() {
        true => Err(Refusal::not_found()),
        false => Ok(one("application", application_of(&rows, format), format)),
    }
}

/// `GET /eureka/apps/{app}/{id}`
pub(super) async fn instance(
    State(state): State<ApiState>,
    Path((app, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let found = state.query.circuits().registry().find(&app, &id);
    let found = found.ok_or_else(Refusal::not_found)?;
    let format = format_of(&headers);
    let value = instance_of(&(found, ChangeKind::Added), format);
    Ok(one("instance", value, format))
}

/// `GET /eureka/instances/{id}`
pub(super) async fn instance_by_id(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let mut rows = of_all(&state).into_iter();
    let found = rows.find(|row| registration(row).instance == id);
    let found = found.ok_or_else(Refusal::not_found)?;
    let format = format_of(&headers);
    Ok(one("instance", instance_of(&found, format), format))
}

/// `GET /eureka/vips/{vip}`
pub(super) async fn vip(
    State(state): State<ApiState>,
    Path(vip): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    by_vip(&state, &vip, &headers, |registration| &registration.vip)
}

/// `GET /eureka/svips/{vip}`
pub(super) async fn secure_vip(
    State(state): State<ApiState>,
    Path(vip): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    by_vip(&state, &vip, &headers, |registration| {
        &registration.secure_vip
    })
}

fn by_vip(
    state: &ApiState,
    vip: &str,
    headers: &HeaderMap,
    of: fn(&Registration) -> &str,
) -> Result<Response, Refusal> {
    let mut rows = of_all(state);
    let is_named = |name: &str| name.trim().eq_ignore_ascii_case(vip);
    rows.retain(|row| of(registration(row)).split(',').any(is_named));
    let hash = hash_of(&rows);
    match rows.is_empty() {
        true => Err(Refusal::not_found()),
        false => Ok(applications(rows, &hash, format_of(headers))),
    }
}

fn of_all(state: &ApiState) -> Vec<Row> {
    added(state.query.circuits().registry().all())
}

fn added(listed: Vec<Listed>) -> Vec<Row> {
    let listed = listed.into_iter();
    listed.map(|one| (one, ChangeKind::Added)).collect()
}

fn registration((listed, _): &Row) -> &Registration {
    &listed.registered.registration
}

fn app_of(row: &Row) -> String {
    eureka::written_app(&registration(row).service)
}

fn hash_of(rows: &[Row]) -> String {
    hash_code(rows.iter().map(|(listed, _)| listed.registered.status()))
}

fn instance_of((listed, change): &Row, format: EurekaFormat) -> Value {
    let action = match change {
        ChangeKind::Added => "ADDED",
        ChangeKind::Modified => "MODIFIED",
        ChangeKind::Deleted => "DELETED",
    };
    eureka::instance(&listed.registered, listed.last_renewed, action, format)
}

fn application_of(rows: &[Row], format: EurekaFormat) -> Value {
    let service = rows.first().map_or("", |row| &registration(row).service);
    let instances = rows.iter().map(|row| instance_of(row, format));
    eureka::application(service, instances.collect())
}

/// Returns a document with one root element.
fn one(root: &'static str, value: Value, format: EurekaFormat) -> Response {
    let mut value = Some(value);
    let write = move |out: &mut Vec<u8>| {
        if let Some(value) = value.take() {
            match format {
                EurekaFormat::Json => pieces::put(out, &serde_json::json!({ root: value })),
                EurekaFormat::Xml => put_element(out, root, &value),
            }
        }
        false
    };
    typed(pieces::json(write), format)
}

/// Returns the applications, which are written one by one while the client reads.
fn applications(mut rows: Vec<Row>, hash: &str, format: EurekaFormat) -> Response {
    rows.sort_by_cached_key(app_of);
    let bytes = rows.iter().map(|row| registration(row).bytes()).sum();
    let mut rows = VecDeque::from(rows);
    let next = move |out: &mut Vec<u8>| {
        let Some(first) = rows.front().map(app_of) else {
            return false;
        };
        let count = rows.iter().take_while(|row| app_of(row) == first).count();
        let of_app: Vec<_> = rows.drain(..count).collect();
        let value = application_of(&of_app, format);
        match format {
            EurekaFormat::Json => pieces::put(out, &value),
            EurekaFormat::Xml => put_element(out, "application", &value),
        }
        true
    };
    let response = match format {
        EurekaFormat::Json => pieces::json(pieces::list(
            format!(
                r#"{{"applications":{{"versions__delta":"1","apps__hashcode":"{hash}","application":["#
            ),
            next,
            "]}}",
        )),
        EurekaFormat::Xml => pieces::json(pieces::joined(
            format!(
                "<applications><versions__delta>1</versions__delta><apps__hashcode>{hash}</apps__hashcode>"
            ),
            "",
            next,
            "</applications>",
        )),
    };
    pieces::holding(typed(response, format), bytes)
}

fn put_element(out: &mut Vec<u8>, name: &str, value: &Value) {
    let mut text = String::new();
    put_xml(&mut text, name, value);
    out.extend_from_slice(text.as_bytes());
}

fn typed(mut response: Response, format: EurekaFormat) -> Response {
    if format == EurekaFormat::Xml {
        let xml = HeaderValue::from_static("application/xml");
        response.headers_mut().insert(header::CONTENT_TYPE, xml);
    }
    response
}
