//! Search: a form with all conditions, and the matching traces, newest first.

mod asked;
mod different;
pub(crate) mod fresh;
mod overview;
mod row;
pub(crate) mod search_form;

use std::borrow::Cow;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use fusebox::circuit_breaker::Outcome;
use fusebox_collector::model::{Grade, TraceOrder, TracePage, TraceQuery, UnixNanos};
use fusebox_collector::query::QueryError;

use crate::pages::Pages;
use crate::pages::frame::error::{PageError, lenient};
use crate::pages::frame::page::{Chrome, Page, Section};
use crate::pages::frame::params::Params;
use crate::pages::view::message::{self, PROBLEM_CHARS};
use crate::pages::view::palette::Palette;
use crate::pages::view::state;
use crate::pages::view::text::{self, DAY};
use crate::pages::wall::Teach;
use asked::Asked;
use different::Different;
use overview::Overview;
pub(crate) use row::{TraceRow, rows};
use search_form::{CUSTOM, LIMITS, SearchForm};

/// Most services to choose from; any other can be given in the URL.
const SERVICES_LISTED_MAX: usize = 1_000;

/// Serves the search; an invalid field is described beside it, with the status 400.
pub(crate) async fn show(
    State(pages): State<Pages>,
    params: Params,
) -> Result<(StatusCode, Page<TracesPage>), PageError> {
    let now = UnixNanos::now().get();
    let mut form = SearchForm::read(&params, pages.retention());
    let query = form.query(now);
    let names = pages.query.service_names().await;
    let mut services = lenient(names, Vec::new())?;
    services.value.truncate(SERVICES_LISTED_MAX);
    let operations = match form.service.as_str() {
        "" => Vec::new().into(),
        service => lenient(pages.query.operations(service).await, Vec::new())?,
    };
    let (mut found, mut all) = (TracePage::default(), None);
    if form.problems.is_empty() {
        match search(&pages, query.clone()).await {
            Ok((page, every)) => (found, all) = (page, every),
            Err(QueryError::Invalid { problem, .. }) => {
                let problem = message::shown(&problem, PROBLEM_CHARS);
                form.problems.push(("", problem.into_owned()));
            }
            Err(error) => return Err(error.into()),
        }
    }
    let sampled = pages.query.sampling();
    let sampled = sampled.filter(|rule| rule.reaches(query.range.start, UnixNanos::new(now)));
    let different = match (form.asked(), &all) {
        (Some(asked), Some(all)) => {
            Some(Different::ask(&pages.query, &query, all, &form, asked).await?)
        }
        _ => None,
    };
    let status = if form.problems.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::BAD_REQUEST
    };
    // The search also tells if it lacks data.
    let missing = services.missing.or(operations.missing);
    let missing = missing.filter(|_| found.missing.is_none());
    let known = Known {
        services: services.value,
        operations: operations.value,
    };
    let teach = Teach::from(&pages);
    let page = TracesPage::new(form, &found, known, now, teach, &pages.palette);
    let page = page.with_all(all.as_ref(), now);
    let mut page = page.with_different(different);
    page.chrome = page.chrome.lacking(missing.as_ref(), now);
    page.sampled = sampled.map(|rule| text::sampled(&rule));
    Ok((status, Page(page)))
}

/// Returns the page of a search, and for its first page all results up to `TraceQuery::LIMIT_MAX`.
async fn search(
    pages: &Pages,
    query: TraceQuery,
) -> Result<(TracePage, Option<TracePage>), QueryError> {
    if query.cursor.is_some() {
        return Ok((pages.query.search(query).await?, None));
    }
    let (order, limit) = (query.order, query.limit);
    let every = TraceQuery {
        limit: TraceQuery::LIMIT_MAX,
        ..query
    };
    let all = pages.query.search(every).await?;
    let found = match order {
        TraceOrder::Newest => all.first(limit),
        TraceOrder::Longest | TraceOrder::MostErrors => TracePage {
            traces: all.traces.iter().take(limit).cloned().collect(),
            ..all.clone()
        },
    };
    Ok((found, Some(all)))
}

/// The suggestions for the fields.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Names of services.
    pub(crate) services: Vec<String>,
    /// Operations of the selected service.
    pub(crate) operations: Vec<String>,
}

/// One of the values that a field may have.
struct Choice<'a> {
    value: Cow<'a, str>,
    word: Cow<'a, str>,
    chosen: bool,
}

/// The search page.
#[derive(Debug, Template)]
#[template(path = "traces/page.html")]
pub(crate) struct TracesPage {
    chrome: Chrome,
    form: SearchForm,
    known: Known,
    rows: Vec<TraceRow>,
    /// Whether rows can be ticked for a comparison.
    ticks: bool,
    next: Option<String>,
    missing: Option<String>,
    compared: Option<usize>,
    /// Which traces are kept, if old ones in the range may have been sampled.
    sampled: Option<String>,
    /// The total number of traces, and whether there may be more.
    total: Option<(usize, bool)>,
    overview: Option<Overview>,
    different: Option<Different>,
    /// Where to request newer traces.
    fresh: Option<String>,
    /// The URL of this search with absolute times.
    fixed: String,
    teach: Teach,
}

impl TracesPage {
    pub(crate) fn new(
        form: SearchForm,
        found: &TracePage,
        known: Known,
        now: u64,
        teach: Teach,
        palette: &Palette,
    ) -> Self {
        Self {
            chrome: Chrome::new(Section::Traces, t!("Traces")).scripts(&["traces.js", "chart.js"]),
            total: None,
            overview: None,
            different: None,
            fresh: fresh::href(&form, found, now).map(|href| href.to_string()),
            fixed: form.fixed(now).href(None).to_string(),
            ticks: found.traces.len() > 1,
            rows: rows(&found.traces, now, palette),
            next: found
                .next
                .as_ref()
                .map(|cursor| form.href(Some(cursor)).to_string()),
            form,
            known,
            missing: found
                .missing
                .as_ref()
                .map(|why| message::shown(why, PROBLEM_CHARS).into_owned()),
            compared: found.compared,
            sampled: None,
            teach,
        }
    }

    /// Adds the totals and the overview of all results.
    pub(crate) fn with_all(self, all: Option<&TracePage>, now: u64) -> Self {
        Self {
            total: all.map(|all| {
                let has_more = all.next.is_some() || all.missing.is_some();
                (all.traces.len(), has_more)
            }),
            overview: all.and_then(|all| Overview::new(all, &self.form, now)),
            ..self
        }
    }

    /// Adds the differences of a group of the results.
    pub(crate) fn with_different(self, different: Option<Different>) -> Self {
        Self { different, ..self }
    }

    /// Returns the groups whose differences can be shown: link and name.
    fn questions(&self) -> [(String, &'static str); 2] {
        Asked::ALL.map(|asked| (self.form.asking(asked).to_string(), asked.title()))
    }

    fn total_words(&self) -> Option<String> {
        let (total, has_more) = self.total.filter(|(total, _)| *total > self.rows.len())?;
        let total = text::count(total as u64);
        Some(match has_more {
            true => t!("at least {n} found", n = total),
            false => t!("{n} found", n = total),
        })
    }

    fn service_name(&self) -> Cow<'_, str> {
        text::name(&self.form.service)
    }

    fn services(&self) -> impl Iterator<Item = Choice<'_>> {
        self.known.services.iter().map(|service| Choice {
            value: Cow::Borrowed(service.as_str()),
            word: text::name(service),
            chosen: *service == self.form.service,
        })
    }

    fn ranges(&self) -> Vec<Choice<'_>> {
        let kept = self.form.ranges.iter();
        let kept = kept.map(|range| (range.value(), t!("Last {range}", range = range.words())));
        let custom = (CUSTOM.to_owned(), t!("Custom range").to_owned());
        kept.chain([custom])
            .map(|(value, word)| Choice {
                chosen: value == self.form.range,
                value: Cow::Owned(value),
                word: Cow::Owned(word),
            })
            .collect()
    }

    fn limits(&self) -> Vec<Choice<'_>> {
        let mut limits: Vec<usize> = LIMITS.into();
        if !limits.contains(&self.form.limit) {
            limits.push(self.form.limit);
        }
        let choice = |limit: usize| Choice {
            value: Cow::Borrowed(""),
            word: Cow::Owned(limit.to_string()),
            chosen: limit == self.form.limit,
        };
        limits.into_iter().map(choice).collect()
    }

    fn orders(&self) -> [Choice<'_>; 3] {
        TraceOrder::ALL.map(|order| Choice {
            value: Cow::Borrowed(order.as_str()),
            word: Cow::Borrowed(order_words(order)),
            chosen: order == self.form.order,
        })
    }

    fn grades(&self) -> impl Iterator<Item = Choice<'_>> {
        Grade::ALL.into_iter().map(|grade| Choice {
            value: Cow::Borrowed(grade.as_str()),
            word: Cow::Borrowed(state::grade_word(grade)),
            chosen: grade.as_str() == self.form.grade,
        })
    }

    fn outcomes(&self) -> impl Iterator<Item = Choice<'_>> {
        let outcomes = Outcome::ALL.map(|outcome| (outcome.as_str(), state::outcome_word(outcome)));
        let choices = outcomes.into_iter().chain([("fallback", t!("fell back"))]);
        choices.map(|(value, word)| Choice {
            value: Cow::Borrowed(value),
            word: Cow::Borrowed(word),
            chosen: value == self.form.outcome,
        })
    }

    /// Returns the selected service, if it is not among the known ones.
    fn strange_service(&self) -> bool {
        !self.form.service.is_empty() && !self.known.services.contains(&self.form.service)
    }

    fn more_open(&self) -> bool {
        let form = &self.form;
        form.range == CUSTOM
            || !form.attributes.is_empty()
            || !form.trace_min.is_empty()
            || !form.trace_max.is_empty()
            || !form.circuit.is_empty()
            || !form.error.is_empty()
            || !form.outcome.is_empty()
            || form.problem("attribute").is_some()
    }

    /// Returns the same search over a longer range: at least a day, else several times the current one.
    fn wider(&self) -> Option<String> {
        let ranges = &self.form.ranges;
        let range = ranges.find(&self.form.range)?;
        let wider = ranges.holding(range.length().saturating_mul(5).max(DAY));
        let form = SearchForm {
            range: wider.value(),
            ..self.form.clone()
        };
        (wider > range).then(|| form.href(None).to_string())
    }

    /// Returns whether no service has sent anything yet, as far as is known.
    fn is_bare(&self) -> bool {
        let nothing = self.known.services.is_empty() && self.rows.is_empty();
        nothing && self.missing.is_none() && self.form.problems.is_empty()
    }

    fn summary(&self) -> String {
        let count = self.rows.len();
        let order = order_words(self.form.order);
        let of = self.compared.unwrap_or(count);
        let all = text::count(of as u64);
        let traces = match (self.compared, &self.next) {
            (None, Some(_)) => {
                return tn!(count, "the newest {n} trace", "the newest {n} traces");
            }
            (Some(_), Some(_)) => t!("{n} of the newest {all} traces", n = count, all = all),
            (_, None) if of > count => t!("{n} of {all} traces", n = count, all = all),
            (_, None) => tn!(count, "{n} trace", "{n} traces"),
        };
        format!("{traces}, {order}")
    }
}

fn order_words(order: TraceOrder) -> &'static str {
    match order {
        TraceOrder::Newest => t!("newest first"),
        TraceOrder::Longest => t!("longest first"),
        TraceOrder::MostErrors => t!("most errors first"),
    }
}
