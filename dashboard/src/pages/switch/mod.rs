//! The form that changes a circuit: it asks for reason, duration and instances, and returns to the circuit. It works
//! without JavaScript. It is a page of its own, so that one click cannot change a circuit.

mod effect;
pub(in crate::pages) mod form;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect, Response};
use fusebox_collector::live::circuits::ControlError;
use fusebox_collector::model::{CircuitKey, CircuitView, UnixNanos};
use fusebox_collector::user_name;

use form::{Entered, SwitchPage};

use crate::pages::Pages;
use crate::pages::frame::error::{PageError, PageResult};
use crate::pages::frame::operator::refused_status;
use crate::pages::frame::page::Page;
use crate::pages::frame::params::Params;
use crate::pages::frame::sent::SentForm;
use crate::pages::view::href::Href;
use crate::pages::view::text;

/// The longest form: a reason, and a hundred instances.
pub(crate) const FORM_BYTES_MAX: usize = 64 << 10;

/// Serves the form.
pub(crate) async fn show(
    State(pages): State<Pages>,
    Path((service, name)): Path<(String, String)>,
    headers: HeaderMap,
    params: Params,
) -> PageResult<SwitchPage> {
    let circuit = find(&pages, CircuitKey { service, name }).await?;
    let entered = Entered::read(&params, user_name(&headers));
    let is_switchable = pages.query.circuits().control().is_switchable(&circuit);
    let page = SwitchPage::new(circuit, entered, None);
    Ok(Page(page.switchable(is_switchable)))
}

/// Receives the form.
pub(crate) async fn send(
    State(pages): State<Pages>,
    Path((service, name)): Path<(String, String)>,
    sent: SentForm,
) -> Result<Response, PageError> {
    let circuit = find(&pages, CircuitKey { service, name }).await?;
    let entered = Entered::read(&sent.params, sent.user);
    let order = match entered.order() {
        Ok(order) => order,
        Err(error) => return Ok(again(circuit, entered, error)),
    };
    let control = pages.query.circuits().control();
    match control.request(&circuit, order, UnixNanos::now()).await {
        Ok(change) => {
            let circuit = Href::circuit(&change.key).at("switch");
            Ok(Redirect::to(&circuit.to_string()).into_response())
        }
        Err(ControlError::Store(error)) => Err(error.into()),
        Err(error) => Ok(again(circuit, entered, error)),
    }
}

/// Shows the form again with the problem.
fn again(circuit: CircuitView, entered: Entered, error: ControlError) -> Response {
    let status = refused_status(&error);
    let is_switchable = !matches!(error, ControlError::NotSwitchable(_));
    let page = SwitchPage::new(circuit, entered, Some(error)).switchable(is_switchable);
    (status, Page(page)).into_response()
}

pub(in crate::pages) async fn find(
    pages: &Pages,
    key: CircuitKey,
) -> Result<CircuitView, PageError> {
    let circuit = pages.query.circuits().circuit(&key, None).await?;
    circuit.value.ok_or_else(|| {
        let (service, name) = (text::name(&key.service), text::name(&key.name));
        PageError::NotFound(t!(
            "{service} has reported no circuit {circuit}",
            service = service,
            circuit = name
        ))
    })
}
