//! One instance: whether it is alive, its circuits, and the levels of its loggers, which can be changed for a limited
//! time. It works without JavaScript: the page contains the form, and sending it returns to the page.

use std::borrow::Cow;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect, Response};
use fusebox::control::{Action, Level, LoggerLevel};
use fusebox_collector::live::circuits::{ChangeOrder, ChangeStatus, ControlError, Way};
use fusebox_collector::model::{CircuitKey, RegistrySource, UnixNanos};
use fusebox_collector::query::InstanceView;
use fusebox_collector::user_name;

use super::Row;
use super::actuator::ShownActuator;
use super::breaker_form::BreakerForm;
use super::status_form::StatusForm;
use crate::pages::Pages;
use crate::pages::circuit::changes::ShownChange;
use crate::pages::frame::error::{PageError, PageResult};
use crate::pages::frame::operator::{self, Operator};
use crate::pages::frame::page::{Chrome, Page, Section};
use crate::pages::frame::params::Params;
use crate::pages::frame::sent::SentForm;
use crate::pages::view::href::Href;
use crate::pages::view::{moment, text};
use crate::pages::wall::instance_row::InstanceRow;

/// The longest form: a reason and a few words.
pub(crate) const FORM_BYTES_MAX: usize = 16 << 10;
/// The durations to choose from, seconds.
const LIFETIMES: [u64; 5] = [300, 900, 3_600, 14_400, 86_400];
/// The preselected duration; short, because a raised level writes many lines.
const LIFETIME_DEFAULT: u64 = 900;

/// Serves the page.
pub(crate) async fn show(
    State(pages): State<Pages>,
    Path((service, id)): Path<(String, String)>,
    headers: HeaderMap,
    params: Params,
) -> PageResult<InstancePage> {
    let found = find(&pages, &service, &id).await?;
    let user = user_name(&headers);
    let entered = Entered::read(&params, user.clone());
    let status = StatusForm::read(&params, user.clone(), None);
    let form = BreakerForm::read(&params, user);
    let actuator = ShownActuator::read(&pages, &found.view).await;
    let page = InstancePage::new(found, entered, None, now());
    Ok(Page(page.with_status(status).with_actuator(actuator, form)))
}

/// Receives a change of a level.
pub(crate) async fn send(
    State(pages): State<Pages>,
    Path((service, id)): Path<(String, String)>,
    sent: SentForm,
) -> Result<Response, PageError> {
    let found = find(&pages, &service, &id).await?;
    let user = sent.user;
    let entered = Entered::read(&sent.params, user.clone());
    let control = pages.query.circuits().control();
    let (service, id) = found.view.channel.clone();
    let name = entered.logger.clone();
    let key = CircuitKey { service, name };
    let taken = match entered.order(&id) {
        Ok(order) => control.request_level(key, order, UnixNanos::now()).await,
        Err(error) => Err(error),
    };
    match taken {
        Ok(_) => Ok(Redirect::to(&found.href().at("levels").to_string()).into_response()),
        Err(ControlError::Store(error)) => Err(error.into()),
        Err(error) => {
            let status = operator::refused_status(&error);
            let actuator = ShownActuator::read(&pages, &found.view).await;
            let page = InstancePage::new(found, entered, Some(error), now());
            let form = BreakerForm::read(&Params::from(Vec::new()), user);
            Ok((status, Page(page.with_actuator(actuator, form))).into_response())
        }
    }
}

pub(super) fn now() -> u64 {
    UnixNanos::now().get()
}

/// The data of the page.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) view: InstanceView,
    /// Its circuits, with class and word of the state.
    pub(crate) circuits: Vec<(CircuitKey, &'static str, &'static str)>,
    /// `None` if it accepts no changes of levels.
    pub(crate) loggers: Option<Vec<LoggerLevel>>,
    pub(crate) changes: Vec<ChangeStatus>,
}

impl Found {
    pub(super) fn href(&self) -> Href {
        super::href(&self.view.service, &self.view.id)
    }

    /// Returns service and id of its registration, else those of its telemetry.
    pub(super) fn registered(&self) -> (&str, &str) {
        registered(&self.view)
    }
}

pub(super) async fn find(pages: &Pages, service: &str, id: &str) -> Result<Found, PageError> {
    // Released before anything waits for the actuator of the instance.
    let room = pages.query.admit_wall().await;
    let _room = room.map_err(|_| PageError::Overloaded)?;
    let all = pages.query.instances().await?.instances.into_iter();
    let mut same = all.filter(|one| one.is(service, id));
    let view = same.next().ok_or_else(|| {
        let (service, id) = (text::name(service), text::name(id));
        PageError::NotFound(t!(
            "no instance {id} of {service} has reported in the last hour",
            id = id,
            service = service
        ))
    })?;
    // Under the names of its telemetry, which it is known by.
    let (service, id) = (view.service.clone(), view.id.clone());
    let (service, id) = (service.as_str(), id.as_str());
    let wall = pages.query.circuits().wall(None).await?.value;
    let circuits = wall
        .circuits
        .iter()
        .filter(|circuit| circuit.key.service == service);
    let circuits = circuits.filter_map(|circuit| {
        let instance = circuit
            .instances
            .iter()
            .find(|instance| instance.id == id)?;
        Some((circuit.key.clone(), instance.class(), instance.word()))
    });
    let circuits = circuits.collect();
    let control = pages.query.circuits().control();
    let (service, id) = (view.channel.0.as_str(), view.channel.1.as_str());
    let mut changes = control.level_changes(service, UnixNanos::now());
    changes.retain(|status| status.change.is_for(id));
    Ok(Found {
        circuits,
        loggers: control.loggers(service, id).filter(|_| view.has_channel),
        changes,
        view,
    })
}

fn registered(view: &InstanceView) -> (&str, &str) {
    match &view.registration {
        Some(registration) => (&registration.service, &registration.id),
        None => (&view.service, &view.id),
    }
}

/// The values entered in the form.
#[derive(Debug, Clone)]
pub(crate) struct Entered {
    logger: String,
    /// A level, or [`BACK`].
    level: String,
    operator: Operator,
    everywhere: bool,
}

impl Entered {
    /// Reads the values from a URL or a form; `user` is the user of the request.
    pub(crate) fn read(params: &Params, user: Option<String>) -> Self {
        let text = |name| params.word(name).unwrap_or_default().to_owned();
        Self {
            logger: text("logger"),
            level: text("level"),
            operator: Operator::read(params, user, LIFETIME_DEFAULT),
            everywhere: params.word("where") == Some("all"),
        }
    }

    /// Returns the order; it is validated where it is accepted.
    fn order(&self, id: &str) -> Result<ChangeOrder, ControlError> {
        let action = match self.level.as_str() {
            BACK => Some(Action::Reset),
            level => Level::parse(level).map(Action::Level),
        };
        let action = action.ok_or_else(|| ControlError::Invalid {
            parameter: "level",
            problem: t!(
                "none of {words}",
                words = format!("{}, {BACK}", Level::ALL.map(Level::as_str).join(", "))
            ),
        })?;
        let instances = match self.everywhere {
            true => Vec::new(),
            false => vec![id.to_owned()],
        };
        Ok(self.operator.order(action, instances))
    }
}

/// The choice that restores the configured level.
const BACK: &str = "back";

/// The page.
#[derive(Debug, Template)]
#[template(path = "instances/one.html")]
pub(crate) struct InstancePage {
    chrome: Chrome,
    row: Row,
    found: Found,
    entered: Entered,
    error: Option<ControlError>,
    status: StatusForm,
    /// What its actuator says, if that may be read.
    actuator: Option<ShownActuator>,
    breaker: BreakerForm,
    now: u64,
}

/// The registration as shown.
#[derive(Debug)]
struct ShownRegistration {
    source: &'static str,
    version: String,
    reported: &'static str,
    forced: Option<ShownForced>,
}

/// The status set from outside, as shown.
#[derive(Debug)]
struct ShownForced {
    status: &'static str,
    by: String,
    reason: String,
    /// When, as HTML.
    since: String,
}

/// A logger as listed.
#[derive(Debug)]
struct ShownLogger {
    name: String,
    level: &'static str,
    /// The time until its level expires.
    left: String,
    /// The choices: word, link, whether it is in force.
    levels: Vec<(&'static str, String, bool)>,
}

impl InstancePage {
    /// Returns the page with the entered values and their problem.
    pub(crate) fn new(
        found: Found,
        entered: Entered,
        error: Option<ControlError>,
        now: u64,
    ) -> Self {
        let title = format!("{} {}", found.view.service, found.view.id);
        Self {
            chrome: Chrome::new(Section::Instances, &title),
            row: Row::new(&found.view, now),
            found,
            entered,
            error,
            status: StatusForm::read(&Params::from(Vec::new()), None, None),
            actuator: None,
            breaker: BreakerForm::read(&Params::from(Vec::new()), None),
            now,
        }
    }

    /// Returns the page with another form for the status.
    pub(crate) fn with_status(self, status: StatusForm) -> Self {
        Self { status, ..self }
    }

    /// Returns the page with what its actuator says, and the form that switches its circuit breakers.
    pub(super) fn with_actuator(self, actuator: Option<ShownActuator>, form: BreakerForm) -> Self {
        Self {
            actuator,
            breaker: form,
            ..self
        }
    }

    /// Returns what it registered, where it did.
    fn registration(&self) -> Option<ShownRegistration> {
        let registration = self.found.view.registration.as_ref()?;
        let forced = registration.forced.as_ref();
        let shown = |text: &str| text::name(text).into_owned();
        Some(ShownRegistration {
            source: match registration.source {
                RegistrySource::Fusebox => t!("by the library"),
                RegistrySource::Eureka => t!("by Eureka's API"),
                RegistrySource::SpringBootAdmin => t!("as a client of Spring Boot Admin"),
            },
            version: shown(&registration.version),
            reported: registration.reported.as_str(),
            forced: forced.map(|forced| ShownForced {
                status: forced.status.as_str(),
                by: shown(&forced.by),
                reason: text::shown(&forced.reason, 500).into_owned(),
                since: moment::short(forced.since.get(), self.now),
            }),
        })
    }

    fn status_action(&self) -> String {
        self.found.href().segment("status").to_string()
    }

    fn breaker_action(&self) -> String {
        self.found.href().segment("breaker").to_string()
    }

    fn journal_href(&self) -> String {
        Href::new("/changes")
            .with("service", &self.found.view.service)
            .with("instance", self.found.registered().1)
            .to_string()
    }

    fn traces_href(&self) -> String {
        Href::new("/traces")
            .with("service", &self.found.view.service)
            .to_string()
    }

    fn logs_href(&self) -> String {
        Href::new("/logs")
            .with("service", &self.found.view.service)
            .to_string()
    }

    /// Returns its circuits: link, name, class and word of the state.
    fn circuits(&self) -> Vec<(String, Cow<'_, str>, &'static str, &'static str)> {
        let circuits = self.found.circuits.iter();
        let shown = circuits.map(|(key, class, word)| {
            let href = Href::circuit(key).to_string();
            (href, text::name(&key.name), *class, *word)
        });
        shown.collect()
    }

    fn action(&self) -> String {
        self.found.href().segment("level").to_string()
    }

    fn loggers(&self) -> Vec<ShownLogger> {
        let loggers = self.found.loggers.iter().flatten();
        let shown = loggers.map(|logger| ShownLogger {
            name: text::name(&logger.name).into_owned(),
            level: logger.level.as_str(),
            left: match logger.expires_in_ms {
                Some(millis) => text::age(millis.saturating_mul(1_000_000)),
                None => String::new(),
            },
            levels: Level::ALL.map(|level| self.choice(logger, level)).to_vec(),
        });
        shown.collect()
    }

    fn choice(&self, logger: &LoggerLevel, level: Level) -> (&'static str, String, bool) {
        let href = self
            .found
            .href()
            .with("logger", &logger.name)
            .with("level", level.as_str());
        (
            level.as_str(),
            href.at("change").to_string(),
            logger.level == level,
        )
    }

    /// Whether it would take changes if it answered.
    fn is_away(&self) -> bool {
        self.found.view.way.is_some() && !self.found.view.has_channel
    }

    /// Whether changes are passed on to its actuator.
    fn is_passed_on(&self) -> bool {
        self.found.view.way == Some(Way::Actuator)
    }

    fn takes_levels(&self) -> bool {
        self.found.loggers.is_some()
    }

    /// Returns the changes of this instance: logger and change.
    fn changes(&self) -> Vec<(String, ShownChange)> {
        let changes = self.found.changes.iter();
        let shown = changes.map(|status| {
            let name = text::name(&status.change.key.name).into_owned();
            (name, ShownChange::new(status, self.now))
        });
        shown.collect()
    }

    /// Returns the levels: value, word, whether it is selected.
    fn levels(&self) -> Vec<(&'static str, &'static str, bool)> {
        let chosen = self.entered.level.as_str();
        let levels =
            Level::ALL.map(|level| (level.as_str(), level.as_str(), level.as_str() == chosen));
        let back = (BACK, t!("as configured at the start"), chosen == BACK);
        levels.into_iter().chain([back]).collect()
    }

    /// Returns the durations: seconds, words, whether it is selected.
    fn lifetimes(&self) -> Vec<(u64, String, bool)> {
        self.entered.operator.lifetimes(&LIFETIMES)
    }

    fn logger(&self) -> Cow<'_, str> {
        text::shown(&self.entered.logger, 300)
    }

    /// Returns the problem of this field.
    fn problem(&self, field: &str) -> Option<Cow<'_, str>> {
        operator::field_problem(self.error.as_ref(), field)
    }

    /// Returns the problem that belongs to no field.
    fn conflict(&self) -> Option<String> {
        operator::conflict(self.error.as_ref())
    }
}
