//! The queries of Grafana's panels against a real InfluxDB: sent as Grafana sends them, they must return what each kind of
//! panel needs. Grafana itself is not run.

use std::collections::BTreeMap;
use std::time::Duration;

use fusebox::circuit_breaker::EffectiveState;
use fusebox_collector::store::influxdb::schema;
use integration_tests::Binary;
use serde_json::Value;

use crate::grafana::{Choices, Chosen, Dashboard, PanelQuery, dashboards, text};
use crate::panel_data;
use crate::panel_source::{Series, Source};

/// The circuits chosen in dashboards of one circuit. Together, these of the demo fill every panel; of the made-up data the
/// first does alone.
const CHOSEN: [[(&str, &str); 2]; 2] = [
    [("svc", "product-page"), ("name", "inventory")],
    [("svc", "gateway"), ("name", "product-page")],
];
/// Figures of a minute are written up to 75 s later, and breakers open in waves of a minute, some of which are missed on a
/// busy machine.
const DEMO_WAIT: Duration = Duration::from_secs(600);
const PAUSE: Duration = Duration::from_secs(1);

/// Panels without data in the demo: no breaker is forced there, none has a limit for slow calls or a policy around it.
const NOT_IN_THE_DEMO: [&str; 9] = [
    "Forced open",
    "Cannot open",
    "Slow calls, as share of the limit",
    "Retries and hedges",
    "Turned away",
    "Pools in use",
    "Free permits",
    "From caches",
    "Policies",
];
const COLUMNS_NOT_IN_THE_DEMO: [&str; 4] =
    ["slow", "slow from", "opens at (slow)", "window, calls"];

/// How much data a panel must find.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Expected {
    /// A value in every column, and at least two points per line.
    All,
    /// The same, except for what the demo never produces.
    Demo,
    /// Any value, unless the panel has a text for "no value".
    Something,
}

/// Scenario: InfluxDB has fifteen minutes of data with every state and outcome.
/// Guarantees: every query of every panel, variable and annotation, for every choice of the variables, returns what its
/// panel draws; none is empty.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_panel_finds_what_it_draws() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut source = Source::start(dir.path());
    source.fill(panel_data::end()).await;
    let all = dashboards();
    let mut needs = needs(&all, Expected::All);
    let missing = ask(&source, &mut needs).await;
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

/// Guarantees: a breaker is found by a name with special characters of regexes, lines and InfluxQL.
#[tokio::test]
async fn a_name_with_special_characters_is_found() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut source = Source::start(dir.path());
    source.fill(panel_data::end()).await;
    let all = dashboards();
    let circuit = all.iter().find(|d| d.file == "circuit.json");
    let circuit = circuit.expect("the dashboard of one circuit");
    let choices = choose(&circuit.all_choices()[0], panel_data::SPECIAL_CHARACTERS);
    let panel = circuit.drawn().find(|panel| panel["title"] == "Instances");
    let queries = circuit.queries(panel.expect("the table of instances"));
    let series = source.ask(&queries[0], &choices, "10s").await;
    assert_eq!(series.first().map(|series| series.values.len()), Some(1));
}

/// Scenario: the demo writes to InfluxDB.
/// Guarantees: within minutes every panel has found what it draws, and states have the numbers that panels map to words.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_panel_finds_what_the_demo_sent() {
    let dir = tempfile::tempdir().expect("a folder");
    finds_what_the_demo_sent(&Source::start(dir.path())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs FUSEBOX_TEST_INFLUXDB2_URL"]
async fn every_panel_finds_what_the_demo_sent_to_influxdb_2() {
    finds_what_the_demo_sent(&Source::named("INFLUXDB2")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs FUSEBOX_TEST_OPENGEMINI_URL"]
async fn every_panel_finds_what_the_demo_sent_to_opengemini() {
    finds_what_the_demo_sent(&Source::named("OPENGEMINI")).await;
}

async fn finds_what_the_demo_sent(source: &Source) {
    let demo = Binary::demo_on(&source.arguments()).await;
    let missing = waits_for_panels(source).await;
    let states = states(source).await;
    demo.terminate().await;
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    assert!(!states.is_empty());
    for (number, word) in states {
        let state = EffectiveState::parse(&word).expect("a word of ours");
        assert_eq!(number, schema::state_number(state), "{word}");
    }
}

/// Sends the queries until each has found what it needs once; returns what is still missing.
async fn waits_for_panels(source: &Source) -> Vec<String> {
    let all = dashboards();
    let mut needs = needs(&all, Expected::Demo);
    let mut missing = vec!["no answer at all".to_owned()];
    let waiting = async {
        while !needs.is_empty() {
            missing = ask(source, &mut needs).await;
            tokio::time::sleep(PAUSE).await;
        }
    };
    let _in_time = tokio::time::timeout(DEMO_WAIT, waiting).await;
    missing
}

/// Returns the written states: number and word.
async fn states(source: &Source) -> Vec<(i64, String)> {
    let query = PanelQuery {
        place: "states".to_owned(),
        text: r#"SELECT "state", "state_name" FROM "circuit_state""#.to_owned(),
        alias: String::new(),
    };
    let series = source.ask(&query, &Choices::new(), "10s").await;
    let rows = series.into_iter().flat_map(|series| series.values);
    rows.filter_map(|row| Some((row[1].as_i64()?, row[2].as_str()?.to_owned())))
        .collect()
}

/// A query and what it must find.
struct Need<'a> {
    query: PanelQuery,
    /// Alternative choices; one of them must find it.
    choices: Vec<Choices>,
    /// The panel that draws it; `None` for variables and annotations.
    panel: Option<&'a Value>,
    expected: Expected,
}

/// Returns every query of every panel, variable and annotation for every choice.
fn needs(all: &[Dashboard], expected: Expected) -> Vec<Need<'_>> {
    let mut needs = Vec::new();
    for dashboard in all {
        for (choices, expected) in chosen(dashboard, expected) {
            let need = |query, panel| Need {
                query,
                choices: choices.clone(),
                panel,
                expected,
            };
            for panel in dashboard.drawn() {
                let queries = dashboard.queries(panel).into_iter();
                needs.extend(queries.map(|query| need(query, Some(panel))));
            }
            let variables = dashboard.variable_queries();
            needs.extend(variables.into_iter().map(|(_, query)| need(query, None)));
            let annotations = dashboard.annotations().into_iter();
            let annotations = annotations.filter(|_| expected != Expected::Something);
            needs.extend(annotations.map(|(_, query)| need(query, None)));
        }
    }
    needs
}

/// Sends the queries without a result so far; returns what is missing.
async fn ask(source: &Source, needs: &mut Vec<Need<'_>>) -> Vec<String> {
    let mut missing = Vec::new();
    for need in std::mem::take(needs) {
        if let Err(lacks) = need.ask(source).await {
            missing.push(format!("{}: no {lacks}", need.query.place));
            needs.push(need);
        }
    }
    missing
}

impl Need<'_> {
    /// Tries one choice after the other; an error is what the first of them lacks.
    async fn ask(&self, source: &Source) -> Result<(), String> {
        let interval = self.panel.map_or("10s", interval);
        let mut lacks = Vec::new();
        for choices in &self.choices {
            let series = source.ask(&self.query, choices, interval).await;
            match self.found(&series) {
                Ok(()) => return Ok(()),
                Err(lack) => lacks.push(lack),
            }
        }
        Err(lacks.swap_remove(0))
    }

    fn found(&self, series: &[Series]) -> Result<(), String> {
        match self.panel {
            Some(panel) => drawable(panel, series, self.expected),
            None if series.is_empty() => Err("answer".to_owned()),
            None => Ok(()),
        }
    }
}

/// Returns the choices to query with and what they must find: every option of the custom variables, with "All" and with
/// one value. Without an "All", one value must find everything. The demo is queried at the finest resolution only: it runs
/// for less than the five minutes that the others need.
fn chosen(dashboard: &Dashboard, expected: Expected) -> Vec<(Vec<Choices>, Expected)> {
    let mut variables = dashboard.variables();
    let lone = variables.any(|variable| variable["type"] == "query" && variable["multi"] == false);
    let mut all = dashboard.all_choices();
    let mut shown = CHOSEN.as_slice();
    match expected {
        Expected::Demo => all.truncate(1),
        Expected::All | Expected::Something => shown = &shown[..1],
    }
    let of_one = if lone { expected } else { Expected::Something };
    let each_of = |choices| shown.iter().map(|one| choose(choices, *one)).collect();
    let one = all.iter().map(|choices| (each_of(choices), of_one));
    let all_at_once = all.iter().filter(|_| !lone);
    let all_at_once = all_at_once.map(|choices| (vec![choices.clone()], expected));
    all_at_once.chain(one).collect()
}

/// Returns the choices with these values for variables that exist.
fn choose(choices: &Choices, values: [(&str, &str); 2]) -> Choices {
    let mut choices = choices.clone();
    for (name, value) in values {
        let entry = choices.entry(name.to_owned());
        entry.and_modify(|chosen| *chosen = Chosen::same(value));
    }
    choices
}

/// Returns the interval that Grafana takes for a short range: the panel's minimum.
fn interval(panel: &Value) -> &'static str {
    match text(&panel["interval"]) {
        "1m" => "1m",
        _ => "10s",
    }
}

/// Returns what a panel needs and does not have as an error.
fn drawable(panel: &Value, series: &[Series], expected: Expected) -> Result<(), String> {
    if series.is_empty() && may_be_empty(panel, expected) {
        return Ok(());
    }
    let shortest = match expected {
        Expected::Something => 1,
        Expected::All | Expected::Demo => 2,
    };
    let (found, needed) = match text(&panel["type"]) {
        "stat" => (longest(series) >= 1, "number"),
        // A line needs two points.
        "timeseries" => (longest(series) >= shortest, "line"),
        "state-timeline" => (are_states(series), "states"),
        // Grafana joins rows of several series incorrectly if their columns differ.
        "table" => (series.len() == 1 && !series[0].values.is_empty(), "rows"),
        other => panic!("what does a {other} panel need?"),
    };
    if !found {
        return Err(needed.to_owned());
    }
    let mut empty = empty_columns(series);
    match expected {
        Expected::Something => return Ok(()),
        Expected::Demo => empty.retain(|column| !COLUMNS_NOT_IN_THE_DEMO.contains(column)),
        Expected::All => {}
    }
    match empty.first() {
        Some(column) => Err(format!("value in {column}")),
        None => Ok(()),
    }
}

fn may_be_empty(panel: &Value, expected: Expected) -> bool {
    match expected {
        Expected::All => false,
        Expected::Demo => NOT_IN_THE_DEMO.contains(&text(&panel["title"])),
        Expected::Something => panel["fieldConfig"]["defaults"].get("noValue").is_some(),
    }
}

fn longest(series: &[Series]) -> usize {
    let numbers = |series: &Series| series.values().filter(|value| value.is_number()).count();
    series.iter().map(numbers).max().unwrap_or(0)
}

fn are_states(series: &[Series]) -> bool {
    let known = |n| n < EffectiveState::ALL.len() as u64;
    let mut values = series.iter().flat_map(Series::values);
    longest(series) > 0 && values.all(|value| value.as_u64().is_none_or(known))
}

/// Returns the columns without any value.
fn empty_columns(series: &[Series]) -> Vec<&str> {
    let mut filled: BTreeMap<&str, bool> = BTreeMap::new();
    for series in series {
        for (at, column) in series.columns.iter().enumerate() {
            let mut values = series.values.iter().map(|row| &row[at]);
            let any = values.any(|value| !value.is_null() && value != "");
            *filled.entry(column).or_default() |= any;
        }
    }
    filled.retain(|_, filled| !*filled);
    filled.into_keys().collect()
}
