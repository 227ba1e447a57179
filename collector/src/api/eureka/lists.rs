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
        false => Ok(written(rows, format, ("{\"application\":", "}"), ("", ""))),
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

/// Returns the applications of these rows.
fn applications(mut rows: Vec<Row>, hash: &str, format: EurekaFormat) -> Response {
    rows.sort_by_cached_key(app_of);
    let json = format!(
        r#"{{"applications":{{"versions__delta":"1","apps__hashcode":"{hash}","application":["#
    );
    let xml = format!(
        "<applications><versions__delta>1</versions__delta><apps__hashcode>{hash}</apps__hashcode>"
    );
    written(
        rows,
        format,
        (json.as_str(), "]}}"),
        (xml.as_str(), "</applications>"),
    )
}

/// Returns the applications of sorted rows between two texts, written one instance at a time while the client reads.
fn written(
    rows: Vec<Row>,
    format: EurekaFormat,
    json: (&str, &'static str),
    xml: (&str, &'static str),
) -> Response {
    let (head, tail) = match format {
        EurekaFormat::Json => json,
        EurekaFormat::Xml => xml,
    };
    let bytes = rows.iter().map(|row| registration(row).bytes()).sum();
    let mut writer = Writer {
        rows: rows.into(),
        app: None,
        format,
    };
    let mut head = Some(head.to_owned());
    let write = move |out: &mut Vec<u8>| {
        out.extend_from_slice(head.take().unwrap_or_default().as_bytes());
        let has_more = writer.next(out);
        if !has_more {
            out.extend_from_slice(tail.as_bytes());
        }
        has_more
    };
    pieces::holding(typed(pieces::json(write), format), bytes)
}

/// Writes applications, one instance with each call.
struct Writer {
    rows: VecDeque<Row>,
    /// The application that is being written.
    app: Option<String>,
    format: EurekaFormat,
}

impl Writer {
    fn next(&mut self, out: &mut Vec<u8>) -> bool {
        let Some(row) = self.rows.pop_front() else {
            self.end(out);
            return false;
        };
        let app = app_of(&row);
        let is_same = self.app.as_ref() == Some(&app);
        let is_first = self.app.is_none();
        if !is_same {
            self.end(out);
        }
        if !is_first && self.format == EurekaFormat::Json {
            out.push(b',');
        }
        if !is_same {
            self.begin(app, out);
        }
        let instance = instance_of(&row, self.format);
        match self.format {
            EurekaFormat::Json => pieces::put(out, &instance),
            EurekaFormat::Xml => put_element(out, "instance", &instance),
        }
        true
    }

    fn begin(&mut self, app: String, out: &mut Vec<u8>) {
        let name = Value::from(app.as_str());
        match self.format {
            EurekaFormat::Json => {
                out.extend_from_slice(b"{\"name\":");
                pieces::put(out, &name);
                out.extend_from_slice(b",\"instance\":[");
            }
            EurekaFormat::Xml => {
                out.extend_from_slice(b"<application>");
                put_element(out, "name", &name);
            }
        }
        self.app = Some(app);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if self.app.take().is_some() {
            out.extend_from_slice(match self.format {
                EurekaFormat::Json => b"]}".as_slice(),
                EurekaFormat::Xml => b"</application>".as_slice(),
            });
        }
    }
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
