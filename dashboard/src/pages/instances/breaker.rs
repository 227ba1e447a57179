//! The form by which an operator switches a circuit breaker of one instance through its actuator.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use fusebox_collector::live::circuits::ControlError;
use fusebox_collector::model::{CircuitKey, UnixNanos};

use super::actuator::ShownActuator;
use super::breaker_form::BreakerForm;
use super::one::{Entered, InstancePage, find, now};
use crate::pages::Pages;
use crate::pages::frame::error::PageError;
use crate::pages::frame::operator;
use crate::pages::frame::page::Page;
use crate::pages::frame::params::Params;
use crate::pages::frame::sent::SentForm;

/// Receives the form.
pub(crate) async fn send(
    State(pages): State<Pages>,
    Path((service, id)): Path<(String, String)>,
    sent: SentForm,
) -> Result<Response, PageError> {
    let found = find(&pages, &service, &id).await?;
    let user = sent.user;
    let mut form = BreakerForm::read(&sent.params, user.clone());
    let name = form.breaker.clone();
    let (service, id) = found.view.channel.clone();
    let key = CircuitKey { service, name };
    let control = pages.query.circuits().control();
    let taken = match form.order(&id) {
        Ok(order) => {
            let taken = control.request_through_actuator(key, order, UnixNanos::now());
            taken.await
        }
        Err(error) => Err(error),
    };
    match taken {
        Ok(_) => Ok(Redirect::to(&found.href().at("actuator").to_string()).into_response()),
        Err(ControlError::Store(error)) => Err(error.into()),
        Err(error) => {
            let status = operator::refused_status(&error);
            form.error = Some(error);
            let actuator = ShownActuator::read(&pages, &found.view).await;
            let entered = Entered::read(&Params::from(Vec::new()), user);
            let page = InstancePage::new(found, entered, None, now());
            Ok((status, Page(page.with_actuator(actuator, form))).into_response())
        }
    }
}
