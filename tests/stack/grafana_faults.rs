//! Kinds of faults that were seen in a running Grafana, each as a rule for every panel: what an operator was shown wrongly
//! or could not see. They need no server.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::grafana::{Shown, dashboards, folder, list, sent, text};
use crate::influxql;

/// The colour of what is not known.
const GREY: &str = "#76808d";

/// Guarantees: an answer of nothing never reads as "zero" or "all is well", neither as the text of a panel nor in a cell.
#[test]
fn no_answer_does_not_read_as_all_is_well() {
    let grey = |mapping: &Value| {
        let is_null = mapping["options"]["match"] == "null";
        is_null && mapping["options"]["result"]["color"] == GREY
    };
    for dashboard in dashboards() {
        for panel in dashboard.drawn() {
            let title = text(&panel["title"]);
            let defaults = &panel["fieldConfig"]["defaults"];
            let shown = text(&defaults["noValue"]);
            match text(&panel["type"]) {
                "stat" => {
                    assert!(["?", "—"].contains(&shown), "{title}: {shown}");
                    let is_grey = list(&defaults["mappings"]).any(grey);
                    assert!(is_grey, "{title}: no answer has the colour of a good one");
                }
                kind => {
                    let says_so =
                        shown.is_empty() || shown.contains("found") || shown.contains('?');
                    assert!(says_so, "{title}: {shown}");
                    assert!(
                        !shown.is_empty() || kind != "table",
                        "{title}: no text for no rows"
                    );
                }
            }
            let first = &panel["fieldConfig"]["overrides"][0];
            let is_empty = first["matcher"]["options"] == "/.*/"
                && first["properties"][0]["id"] == "noValue"
                && first["properties"][0]["value"] == "";
            let is_table = panel["type"] == "table";
            assert!(
                !is_table || is_empty,
                "{title}: its text for no rows fills every cell without a value"
            );
        }
    }
}

/// Guarantees: annotations do not bury what panels draw: those of many circuits are off until they are wanted, none stands
/// on a timeline of states, and an outage is one line, not one for each failed probe.
#[test]
fn annotations_leave_the_data_visible() {
    for dashboard in dashboards() {
        let is_one_circuit = dashboard.file == "circuit.json";
        let timelines = dashboard
            .drawn()
            .filter(|panel| panel["type"] == "state-timeline");
        let timelines: Vec<_> = timelines.map(|panel| panel["id"].clone()).collect();
        for (annotation, query) in dashboard.annotations() {
            let place = &query.place;
            assert_eq!(annotation["enable"], is_one_circuit, "{place}");
            assert_eq!(annotation["filter"]["exclude"], true, "{place}");
            let left_out: Vec<_> = list(&annotation["filter"]["ids"]).cloned().collect();
            assert_eq!(left_out, timelines, "{place}");
            if query.text.contains("\"to\" = 'open'") {
                assert!(query.text.contains("\"from\" = 'closed'"), "{place}");
            }
        }
    }
}

/// Guarantees: a line does not run across a time without data: either what is missing is null in the answer, or Grafana
/// puts a null where nothing came for longer than two windows of the coarsest resolution.
#[test]
fn lines_end_where_data_is_missing() {
    for dashboard in dashboards() {
        let lines = dashboard.drawn();
        let lines =
            lines.filter(|panel| ["timeseries", "state-timeline"].contains(&text(&panel["type"])));
        for panel in lines {
            let title = text(&panel["title"]);
            let custom = &panel["fieldConfig"]["defaults"]["custom"];
            let queries = dashboard.queries(panel);
            let asks_for_nulls = queries
                .iter()
                .all(|query| query.text.ends_with("fill(null)"));
            let breaks = custom["insertNulls"]
                .as_u64()
                .is_some_and(|ms| ms <= 660_000);
            assert!(asks_for_nulls || breaks, "{title}: lines run across gaps");
            let bridges = custom["spanNulls"].as_u64().unwrap_or(0);
            let never = custom["spanNulls"] == false || bridges <= 180_000;
            assert!(never, "{title}: nulls are bridged");
        }
    }
}

/// Guarantees: what is called worst, or compared with the limit at which a breaker opens, is of ten seconds and no average
/// of five minutes, in which a breaker that tripped again and again stays far below its limit.
#[test]
fn rates_against_limits_are_no_averages() {
    for dashboard in dashboards() {
        for query in dashboard.drawn().flat_map(|panel| dashboard.queries(panel)) {
            let is_rate = ["\"failure_rate\"", "\"slow_rate\""];
            if is_rate.iter().any(|rate| query.text.contains(rate)) {
                let place = &query.place;
                assert!(query.text.contains("\"circuit_10s\""), "{place}");
                assert!(!query.text.contains("mean(\"failure_rate"), "{place}");
            }
        }
    }
}

/// Guarantees: alert rules ask for what the store writes, from a data source that is provisioned, and name the part that
/// decides; that nothing is written is an alert of its own, so that elsewhere no answer need not be one.
#[test]
fn alert_rules_ask_for_what_the_store_writes() {
    let path = folder().join("provisioning/alerting/fusebox.json");
    let rules: Value =
        serde_json::from_slice(&std::fs::read(path).expect("it is there")).expect("rules are JSON");
    let mut silent = 0;
    for rule in list(&rules["groups"][0]["rules"]) {
        let title = text(&rule["title"]);
        let parts: Vec<_> = list(&rule["data"]).collect();
        let query = text(&parts[0]["model"]["query"]);
        let shown = Shown {
            from_ms: 1_000_000,
            to_ms: 2_000_000,
            interval: "10s",
        };
        let sent = sent(query, &BTreeMap::new(), shown).expect("macros are known");
        influxql::select(&sent).unwrap_or_else(|problem| panic!("{title}: {problem}"));
        assert_eq!(parts[0]["datasourceUid"], "fusebox-influxdb", "{title}");
        let deciding = parts
            .iter()
            .filter(|part| part["refId"] == rule["condition"]);
        assert_eq!(deciding.count(), 1, "{title}");
        silent += usize::from(rule["noDataState"] == "Alerting");
    }
    assert_eq!(silent, 1);
}
