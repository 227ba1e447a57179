//! The settings of a circuit: a form that changes them, what the change would have done in the last minutes, and the
//! earlier versions with a button that returns to each. It works without JavaScript.

mod page;
mod preview;
mod version;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect, Response};
use fusebox::circuit_breaker::{SettingValues, Settings};
use fusebox::control::Action;
use fusebox_collector::live::circuits::{ChangeOrder, ControlError};
use fusebox_collector::model::{CircuitKey, CircuitView, UnixNanos};
use fusebox_collector::user_name;

use super::Pages;
use super::frame::error::{PageError, PageResult};
use super::frame::operator::{Operator, refused_status};
use super::frame::page::Page;
use super::frame::params::Params;
use super::frame::sent::SentForm;
use super::switch::find;
use super::view::href::Href;
pub(crate) use page::{Known, SettingsPage, Versions};

/// How long a change lasts unless chosen otherwise: until the next one.
const ENDLESS: u64 = 0;

/// In place of a version: the service's own settings.
const OWN: &str = "own";

/// The values entered in the form.
#[derive(Debug, Clone)]
pub(crate) struct Entered {
    operator: Operator,
    /// The entered settings; `None` if the form was not sent.
    values: Option<SettingValues>,
    /// The version to return to; `own` for the service's own settings.
    version: Option<String>,
    /// The latest change that the page showed.
    seen: Option<u64>,
    instances: Vec<String>,
}

impl Entered {
    /// Reads the values from a URL or a form; `user` is the user of the request.
    pub(crate) fn read(params: &Params, user: Option<String>) -> Self {
        let text = |name: &'static str| {
            params
                .word(name)
                .map(|text| (name.to_owned(), text.to_owned()))
        };
        let is_sent = Settings::names().any(|name| params.get(name).is_some());
        Self {
            operator: Operator::read(params, user, ENDLESS),
            values: is_sent.then(|| Settings::names().filter_map(text).collect()),
            version: params.word("version").map(str::to_owned),
            seen: params.word("after").and_then(|id| id.parse().ok()),
            instances: params.all("instance").map(str::to_owned).collect(),
        }
    }

    fn order(&self) -> ChangeOrder {
        let order = self
            .operator
            .order(Action::Settings, self.instances.clone());
        ChangeOrder {
            lifetime: order.lifetime.filter(|_| !self.operator.is_endless()),
            ..order
        }
    }
}

/// Serves the form, with a preview if settings are entered.
pub(crate) async fn show(
    State(pages): State<Pages>,
    Path((service, name)): Path<(String, String)>,
    headers: HeaderMap,
    params: Params,
) -> PageResult<SettingsPage> {
    let circuit = find(&pages, CircuitKey { service, name }).await?;
    let entered = Entered::read(&params, user_name(&headers));
    page(&pages, circuit, entered, None).await
}

/// Receives the form, or the version to return to.
pub(crate) async fn send(
    State(pages): State<Pages>,
    Path((service, name)): Path<(String, String)>,
    sent: SentForm,
) -> Result<Response, PageError> {
    let circuit = find(&pages, CircuitKey { service, name }).await?;
    let entered = Entered::read(&sent.params, sent.user);
    match change(&pages, &circuit, &entered).await {
        Ok(()) => {
            let circuit = Href::circuit(&circuit.key).at("switch");
            Ok(Redirect::to(&circuit.to_string()).into_response())
        }
        Err(ControlError::Store(error)) => Err(error.into()),
        Err(error) => {
            let status = refused_status(&error);
            let page = page(&pages, circuit, entered, Some(error)).await?;
            Ok((status, page).into_response())
        }
    }
}

async fn change(
    pages: &Pages,
    circuit: &CircuitView,
    entered: &Entered,
) -> Result<(), ControlError> {
    let (control, now) = (pages.query.circuits().control(), UnixNanos::now());
    let values = match (entered.version.as_deref(), &entered.values) {
        (Some(OWN), _) => SettingValues::new(),
        (Some(version), _) => {
            let version = version.parse().map_err(|_| missing())?;
            control.version(&circuit.key, version, now).await?
        }
        (None, Some(values)) => values.clone(),
        (None, None) => return Err(missing()),
    };
    let order = entered.order();
    let change = control.request_settings(circuit, order, values, entered.seen, now);
    change.await.map(|_| ())
}

fn missing() -> ControlError {
    ControlError::Invalid {
        parameter: "settings",
        problem: "is missing".to_owned(),
    }
}

async fn page(
    pages: &Pages,
    circuit: CircuitView,
    entered: Entered,
    error: Option<ControlError>,
) -> PageResult<SettingsPage> {
    let now = UnixNanos::now();
    let circuits = pages.query.circuits();
    let preview = match (&entered.values, &error) {
        (Some(values), None) => Some(circuits.preview(&circuit, values, now).await),
        _ => None,
    };
    let (preview, refused) = match preview {
        Some(Err(ControlError::Store(error))) => return Err(error.into()),
        Some(Err(error)) => (None, Some(error)),
        Some(Ok(preview)) => (Some(preview), None),
        None => (None, None),
    };
    let control = circuits.control();
    let known = Known {
        settings: control.settings(&circuit, now),
        versions: Versions {
            changes: control.versions(&circuit.key, now).await?,
            kept_for: pages.query.retention(),
        },
        circuit,
        preview,
    };
    Ok(Page(SettingsPage::new(
        known,
        entered,
        error.or(refused),
        now.get(),
    )))
}
