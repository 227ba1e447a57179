//! Notifications: current incidents, whether each target is reached, and mutes, during which no new incidents
//! are announced. The forms work without JavaScript.

use std::borrow::Cow;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use fusebox_collector::model::UnixNanos;
use fusebox_collector::notify::{
    Incident, Mute, MuteError, MuteOrder, Overview, Subject, TargetReport,
};
use fusebox_collector::{is_same_origin, user_name};

use crate::pages::Pages;
use crate::pages::frame::error::{PageError, PageResult};
use crate::pages::frame::page::{Chrome, Page, Section};
use crate::pages::frame::sent::SentForm;
use crate::pages::view::href::Href;
use crate::pages::view::message::{self, PROBLEM_CHARS};
use crate::pages::view::range::Range;
use crate::pages::view::text::SECOND;
use crate::pages::view::{moment, text};

/// The longest form: two names, a reason and a person.
pub(crate) const FORM_BYTES_MAX: usize = 16 << 10;
/// Most incidents listed, current ones first.
const INCIDENTS_MAX: usize = 200;
/// The durations to choose from, seconds.
const TIMES: [u64; 5] = [300, 900, 3_600, 14_400, 86_400];
/// The preselected duration, suitable for a deployment.
const TIME_DEFAULT: u64 = 900;

/// Serves the page.
pub(crate) async fn show(
    State(pages): State<Pages>,
    headers: HeaderMap,
) -> PageResult<NotificationsPage> {
    let user = user_name(&headers);
    let entered = Entered::new(MuteOrder::default(), user);
    let found = pages.info.notifier.overview();
    let now = UnixNanos::now().get();
    Ok(Page(NotificationsPage::new(found, entered, None, now)))
}

/// Begins a mute.
pub(crate) async fn mute(
    State(pages): State<Pages>,
    sent: SentForm,
) -> Result<Response, PageError> {
    let SentForm { params, user } = sent;
    let text = |name| params.word(name).unwrap_or_default().to_owned();
    let order = MuteOrder {
        service: text("service"),
        circuit: text("circuit"),
        // An invalid number is rejected like 0.
        for_s: text("for_s").parse().unwrap_or(0),
        by: user.clone().unwrap_or_else(|| text("by")),
        reason: text("reason"),
    };
    let notifier = &pages.info.notifier;
    match notifier.mute(order.clone()).await? {
        Ok(_) => Ok(Redirect::to("/notifications#mute").into_response()),
        Err(error) => {
            let status = match error {
                MuteError::Invalid { .. } => StatusCode::UNPROCESSABLE_ENTITY,
                MuteError::TooMany(_) => StatusCode::CONFLICT,
            };
            let entered = Entered::new(order, user);
            let now = UnixNanos::now().get();
            let page = NotificationsPage::new(notifier.overview(), entered, Some(error), now);
            Ok((status, Page(page)).into_response())
        }
    }
}

/// Ends a mute; it is not an error if it has already ended.
pub(crate) async fn unmute(
    State(pages): State<Pages>,
    Path(id): Path<u64>,
    headers: HeaderMap,
) -> Result<Redirect, PageError> {
    if !is_same_origin(&headers) {
        return Err(PageError::Forbidden);
    }
    let notifier = &pages.info.notifier;
    notifier.unmute(id, user_name(&headers)).await?;
    Ok(Redirect::to("/notifications#mute"))
}

/// The values entered in the form.
#[derive(Debug)]
pub(crate) struct Entered {
    order: MuteOrder,
    /// Whether the request identifies its user.
    is_known: bool,
}

impl Entered {
    pub(crate) fn new(order: MuteOrder, user: Option<String>) -> Self {
        let is_known = user.is_some();
        let by = user.unwrap_or_else(|| order.by.clone());
        let order = MuteOrder { by, ..order };
        Self { order, is_known }
    }
}

/// The page.
#[derive(Debug, Template)]
#[template(path = "notifications/page.html")]
pub(crate) struct NotificationsPage {
    chrome: Chrome,
    problem: Option<String>,
    under_way: usize,
    incidents: Vec<IncidentRow>,
    targets: Vec<TargetRow>,
    mutes: Vec<MuteRow>,
    entered: Entered,
    error: Option<MuteError>,
}

/// One incident as listed; times are HTML.
#[derive(Debug)]
struct IncidentRow {
    class: &'static str,
    word: &'static str,
    what: String,
    href: String,
    reason: String,
    since: String,
    ended: String,
    trace: Option<String>,
}

/// One target as listed.
#[derive(Debug)]
struct TargetRow {
    name: String,
    channel: &'static str,
    host: String,
    sent: String,
    failed: String,
    /// When it was last notified, as HTML.
    last: String,
    problem: Option<String>,
}

/// One mute as listed.
#[derive(Debug)]
struct MuteRow {
    id: u64,
    what: String,
    until: String,
    by: String,
    reason: String,
}

impl NotificationsPage {
    /// Returns the page with the incidents, the entered values and their problem.
    pub(crate) fn new(
        found: Overview,
        entered: Entered,
        error: Option<MuteError>,
        now: u64,
    ) -> Self {
        let incidents = found.incidents.iter();
        let under_way = incidents.clone().filter(|one| one.ended.is_none());
        Self {
            chrome: Chrome::new(Section::Instances, t!("Notifications")),
            problem: found.problem,
            under_way: under_way.count(),
            incidents: incidents
                .take(INCIDENTS_MAX)
                .map(|one| IncidentRow::new(one, now))
                .collect(),
            targets: found
                .targets
                .iter()
                .map(|one| TargetRow::new(one, now))
                .collect(),
            mutes: found
                .mutes
                .iter()
                .map(|one| MuteRow::new(one, now))
                .collect(),
            entered,
            error,
        }
    }

    fn problem(&self) -> Option<Cow<'_, str>> {
        let problem = self.problem.as_deref();
        problem.map(|problem| message::shown(problem, PROBLEM_CHARS))
    }

    fn is_cut(&self) -> bool {
        self.incidents.len() == INCIDENTS_MAX
    }

    fn service(&self) -> Cow<'_, str> {
        text::shown(&self.entered.order.service, 500)
    }

    fn circuit(&self) -> Cow<'_, str> {
        text::shown(&self.entered.order.circuit, 500)
    }

    fn reason(&self) -> Cow<'_, str> {
        text::shown(&self.entered.order.reason, 500)
    }

    fn by(&self) -> Cow<'_, str> {
        text::shown(&self.entered.order.by, 500)
    }

    /// Returns the durations: seconds, words, whether it is selected.
    fn times(&self) -> Vec<(u64, String, bool)> {
        let chosen = match self.entered.order.for_s {
            0 => TIME_DEFAULT,
            seconds => seconds,
        };
        let words = |seconds| Range::of(seconds * SECOND).words();
        let choice = |seconds| (seconds, words(seconds), seconds == chosen);
        TIMES.map(choice).to_vec()
    }

    /// Returns the problem of this field.
    fn field_problem(&self, field: &str) -> Option<Cow<'_, str>> {
        match &self.error {
            Some(MuteError::Invalid { parameter, problem }) if *parameter == field => {
                Some(message::shown(problem, PROBLEM_CHARS))
            }
            _ => None,
        }
    }

    /// Returns the problem that belongs to no field.
    fn conflict(&self) -> Option<String> {
        let error = self.error.as_ref()?;
        let is_field = matches!(error, MuteError::Invalid { .. });
        (!is_field).then(|| message::shown(&error.to_string(), PROBLEM_CHARS).into_owned())
    }
}

impl IncidentRow {
    fn new(incident: &Incident, now: u64) -> Self {
        let (what, href) = what(&incident.subject);
        let (class, word) = match (incident.ended, incident.is_flapping) {
            (Some(_), _) => ("closed", t!("resolved")),
            (None, true) => ("half", t!("flapping")),
            (None, false) => ("open", t!("ongoing")),
        };
        let trace = incident.opened_by.as_ref();
        Self {
            class,
            word,
            what,
            href,
            reason: message::shown(&incident.reason, 300).into_owned(),
            since: moment::short(incident.since.get(), now),
            ended: match incident.ended {
                Some(ended) => moment::short(ended.get(), now),
                None => "—".to_owned(),
            },
            trace: trace.map(|id| Href::new("/traces").segment(id).to_string()),
        }
    }
}

/// Returns the subject of an incident, and the link to its page.
fn what(subject: &Subject) -> (String, String) {
    match subject {
        Subject::Circuit(key) => {
            let (service, name) = (text::name(&key.service), text::name(&key.name));
            (
                format!("{service} → {name}"),
                Href::circuit(key).to_string(),
            )
        }
        Subject::Instance { service, id } => {
            let what = t!(
                "{instance} of {service}",
                instance = text::name(id),
                service = text::name(service)
            );
            let href = Href::new("/instances").with("filter", service);
            (what, href.to_string())
        }
        Subject::Silence => (
            t!("Many instances at once").to_owned(),
            "/instances".to_owned(),
        ),
        Subject::Collector => (t!("This collector").to_owned(), "/about".to_owned()),
        Subject::Influxdb => ("InfluxDB".to_owned(), "/about".to_owned()),
    }
}

impl TargetRow {
    fn new(target: &TargetReport, now: u64) -> Self {
        let problem = target.problem.as_deref();
        Self {
            name: text::name(&target.name).into_owned(),
            channel: target.channel,
            host: text::name(&target.host).into_owned(),
            sent: text::count(target.sent),
            failed: text::count(target.failed),
            last: match target.sent_at {
                Some(at) => moment::short(at.get(), now),
                None => "—".to_owned(),
            },
            problem: problem.map(|problem| message::shown(problem, 300).into_owned()),
        }
    }
}

impl MuteRow {
    fn new(mute: &Mute, now: u64) -> Self {
        let what = match (mute.service.as_str(), mute.circuit.as_str()) {
            ("", "") => t!("everything").to_owned(),
            (service, "") => text::name(service).into_owned(),
            ("", circuit) => t!("circuits named {name}", name = text::name(circuit)),
            (service, circuit) => format!("{} → {}", text::name(service), text::name(circuit)),
        };
        Self {
            id: mute.id,
            what,
            until: moment::short(mute.until.get(), now),
            by: text::name(&mute.by).into_owned(),
            reason: text::shown(&mute.reason, 500).into_owned(),
        }
    }
}
