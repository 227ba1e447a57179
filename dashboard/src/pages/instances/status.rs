//! The status of a registered instance by an operator: out of service, or as it reports itself again.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use fusebox_collector::live::circuits::ControlError;
use fusebox_collector::live::registry::{ChangedBy, RegistryError};
use fusebox_collector::model::{InstanceStatus, UnixNanos};

use super::actuator::ShownActuator;
use super::breaker_form::BreakerForm;
use super::one::{Entered, InstancePage, find, now};
use super::status_form::StatusForm;
use crate::pages::Pages;
use crate::pages::frame::error::PageError;
use crate::pages::frame::page::Page;
use crate::pages::frame::params::Params;
use crate::pages::frame::sent::SentForm;

/// Receives a change of the status: to `OUT_OF_SERVICE`, or back without a value.
pub(crate) async fn send(
    State(pages): State<Pages>,
    Path((service, id)): Path<(String, String)>,
    sent: SentForm,
) -> Result<Response, PageError> {
    let SentForm { params, user } = sent;
    let text = |name| params.get(name).unwrap_or_default().to_owned();
    let by = ChangedBy {
        name: user.clone().unwrap_or_else(|| text("by")),
        reason: text("reason"),
    };
    let status = params.word("status").map(InstanceStatus::parse);
    let found = find(&pages, &service, &id).await?;
    let registry = pages.query.circuits().registry();
    let now_nanos = UnixNanos::now();
    let ordered = match status {
        Some(None) => Err(RegistryError::Invalid {
            parameter: "status",
            problem: "is unknown".to_owned(),
        }),
        status => {
            let status = status.flatten();
            let ordered =
                registry.order_status(&service, found.registered().1, status, by, now_nanos);
            ordered.await
        }
    };
    let (parameter, problem) = match ordered {
        Ok(()) => {
            let page = super::href(&service, &id).at("registration").to_string();
            return Ok(Redirect::to(&page).into_response());
        }
        Err(RegistryError::Invalid { parameter, problem }) => (parameter, problem),
        Err(RegistryError::Store(error)) => return Err(error.into()),
        Err(error) => return Err(PageError::NotFound(error.to_string())),
    };
    let error = ControlError::Invalid { parameter, problem };
    let form = StatusForm::read(&params, user.clone(), Some(error));
    let actuator = ShownActuator::read(&pages, &found.view).await;
    let none = Params::from(Vec::new());
    let entered = Entered::read(&none, user.clone());
    let page = InstancePage::new(found, entered, None, now()).with_status(form);
    let page = page.with_actuator(actuator, BreakerForm::read(&none, user));
    Ok((StatusCode::UNPROCESSABLE_ENTITY, Page(page)).into_response())
}
