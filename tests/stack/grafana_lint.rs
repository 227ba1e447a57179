//! Checks of the dashboards and their provisioning that need no server: names, layout, units, queries.

use std::collections::{BTreeMap, BTreeSet};

use fusebox::circuit_breaker::EffectiveState;
use fusebox_collector::store::influxdb::schema;
use serde_json::Value;

use crate::grafana::{Dashboard, PanelQuery, Shown, dashboards, folder, list, sent, text};
use crate::influxql;

/// Grafana's grid.
const COLUMNS: u64 = 24;
/// Grafana 11 and 12 read these as they are, later versions migrate them.
const SCHEMA_VERSIONS: std::ops::RangeInclusive<u64> = 39..=41;
/// Evaluates to 8 for states that reject calls and to 0 for others: InfluxQL compares only in `WHERE`.
const TIME_OPEN: &str = "(\"state\" + 3) & 8";
const SHOWN: Shown = Shown {
    from_ms: 1_000_000,
    to_ms: 2_000_000,
    interval: "10s",
};

#[test]
fn dashboards_panels_and_titles_are_unique() {
    let all = dashboards();
    assert!(all.len() >= 4, "{} dashboards", all.len());
    let mut seen = BTreeSet::new();
    for dashboard in &all {
        let json = &dashboard.json;
        for key in ["uid", "title"] {
            assert!(
                seen.insert(text(&json[key]).to_owned()),
                "{}: {key} twice",
                dashboard.file
            );
        }
        assert!(
            json.get("id").is_none(),
            "{}: an id is a server's own",
            dashboard.file
        );
        assert!(!text(&json["description"]).is_empty(), "{}", dashboard.file);
        let version = json["schemaVersion"].as_u64().expect("a schemaVersion");
        assert!(
            SCHEMA_VERSIONS.contains(&version),
            "{}: {version}",
            dashboard.file
        );
        let (mut ids, mut titles) = (BTreeSet::new(), BTreeSet::new());
        for panel in dashboard.panels() {
            let title = text(&panel["title"]);
            assert!(
                ids.insert(panel["id"].as_u64().expect("an id")),
                "{title}: id twice"
            );
            let described = panel["type"] == "row" || text(&panel["description"]).len() > 10;
            assert!(described, "{title} has no description");
            let kind = text(&panel["type"]).to_owned();
            assert!(
                titles.insert((title.to_owned(), kind)),
                "{}: {title} twice",
                dashboard.file
            );
        }
    }
}

#[test]
fn panels_fit_the_grid_without_overlap() {
    for dashboard in dashboards() {
        let mut taken = BTreeMap::new();
        for panel in dashboard.panels() {
            let at = |key: &str| panel["gridPos"][key].as_u64().expect("a place");
            let title = text(&panel["title"]);
            assert!(
                at("w") > 0 && at("x") + at("w") <= COLUMNS,
                "{title} is too wide"
            );
            for x in at("x")..at("x") + at("w") {
                for y in at("y")..at("y") + at("h") {
                    let other = taken.insert((x, y), title.to_owned());
                    assert_eq!(other, None, "{}: {title} overlaps", dashboard.file);
                }
            }
        }
    }
}

#[test]
fn every_panel_has_a_unit_and_every_query_a_data_source() {
    let known = provisioned();
    for dashboard in dashboards() {
        for panel in dashboard.drawn() {
            let title = text(&panel["title"]);
            assert!(
                !text(&panel["fieldConfig"]["defaults"]["unit"]).is_empty(),
                "{title}: no unit"
            );
            assert!(
                list(&panel["targets"]).next().is_some(),
                "{title}: no query"
            );
            for target in list(&panel["targets"]) {
                assert_eq!(target["rawQuery"], true, "{title}");
                let table = panel["type"] == "table";
                let format = if table { "table" } else { "time_series" };
                assert_eq!(text(&target["resultFormat"]), format, "{title}");
            }
        }
        for (path, source) in sources(&dashboard.json, String::new()) {
            let (kind, uid) = (text(&source["type"]), text(&source["uid"]));
            let builtin = uid == "-- Grafana --";
            let ours = known.get(uid).is_some_and(|known| known == kind);
            assert!(
                builtin || uid.starts_with("${") || ours,
                "{}{path}: {source}",
                dashboard.file
            );
        }
    }
}

/// Returns every data source named in the value.
fn sources(value: &Value, path: String) -> Vec<(String, Value)> {
    match value {
        Value::Array(values) => {
            let each = values.iter().enumerate();
            each.flat_map(|(at, value)| sources(value, format!("{path}/{at}")))
                .collect()
        }
        Value::Object(fields) => {
            let each = fields.iter().flat_map(|(key, value)| match key.as_str() {
                "datasource" => vec![(path.clone(), value.clone())],
                _ => sources(value, format!("{path}/{key}")),
            });
            each.collect()
        }
        _ => Vec::new(),
    }
}

/// Guarantees: for every value of the custom variables, queries use only what the store writes and known macros.
#[test]
fn queries_use_what_the_store_writes() {
    for dashboard in dashboards() {
        let panels = dashboard.drawn().flat_map(|panel| dashboard.queries(panel));
        let annotations = dashboard.annotations().into_iter().map(|(_, query)| query);
        for query in panels.chain(annotations).collect::<Vec<_>>() {
            for text in every_sending(&dashboard, &query) {
                let read = influxql::select(&text);
                read.unwrap_or_else(|problem| panic!("{}: {problem}: {text}", query.place));
                let names = format!("\"{}\"", schema::NAMES);
                assert!(
                    !text.contains(&names),
                    "{}: names are no figure",
                    query.place
                );
            }
        }
        for (_, query) in dashboard.variable_queries() {
            for text in every_sending(&dashboard, &query) {
                let read = influxql::tag_values(&text);
                read.unwrap_or_else(|problem| panic!("{}: {problem}: {text}", query.place));
            }
        }
    }
}

fn every_sending(dashboard: &Dashboard, query: &PanelQuery) -> Vec<String> {
    let send = |choices: &_| {
        let text = sent(&query.text, choices, SHOWN);
        text.unwrap_or_else(|problem| panic!("{}: {problem}", query.place))
    };
    dashboard.all_choices().iter().map(send).collect()
}

/// Guarantees: every column that a panel configures is returned by one of its queries.
#[test]
fn panels_configure_columns_that_they_have() {
    for dashboard in dashboards() {
        let choices = &dashboard.all_choices()[0];
        for panel in dashboard.drawn() {
            let mut names = BTreeSet::from(["Time".to_owned()]);
            for query in dashboard.queries(panel) {
                let sent = sent(&query.text, choices, SHOWN).expect("it was checked");
                let answer = influxql::select(&sent).expect("it was checked");
                let named = answer.columns.iter().chain(&answer.tags);
                names.extend(named.map(|column| column.name.clone()));
            }
            for transformation in list(&panel["transformations"]) {
                names.extend(extracted(&transformation["options"]));
            }
            for name in mentioned(panel) {
                assert!(
                    names.contains(&name),
                    "{}: {name} of {names:?}",
                    text(&panel["title"])
                );
            }
        }
        for (annotation, query) in dashboard.annotations() {
            let sent = sent(&query.text, choices, SHOWN).expect("it was checked");
            let answer = influxql::select(&sent).expect("it was checked");
            let words = format!(
                "{},{}",
                text(&annotation["tagsColumn"]),
                text(&annotation["textColumn"])
            );
            for word in words.split(',') {
                assert!(
                    answer.columns.iter().any(|column| column.name == word),
                    "{word}"
                );
            }
            // Older versions of Grafana read the annotation itself, newer ones its target.
            for key in ["query", "tagsColumn", "textColumn"] {
                assert_eq!(
                    annotation[key], annotation["target"][key],
                    "{}",
                    query.place
                );
            }
        }
    }
}

/// Guarantees: lines of a panel have different names, and each placeholder of a name has a value.
#[test]
fn lines_have_different_names() {
    for dashboard in dashboards() {
        let choices = &dashboard.all_choices()[0];
        let panels = dashboard.drawn();
        for query in panels.flat_map(|panel| dashboard.queries(panel)) {
            let sent = sent(&query.text, choices, SHOWN).expect("it was checked");
            let answer = influxql::select(&sent).expect("it was checked");
            let tags = answer.tags.iter().map(|tag| format!("$tag_{}", tag.name));
            let tags: BTreeSet<_> = tags.collect();
            let alias = &query.alias;
            let (named, columns): (BTreeSet<_>, BTreeSet<_>) = alias
                .split([' ', ','])
                .filter(|word| word.starts_with('$'))
                .map(str::to_owned)
                .partition(|word| word != "$col");
            let lone = answer.columns.len() == 1 || !columns.is_empty();
            let right = named == tags && lone;
            assert!(right || alias.is_empty(), "{}: {alias}", query.place);
        }
    }
}

/// Returns the column names in a panel's overrides and column order.
fn mentioned(panel: &Value) -> Vec<String> {
    let overrides = list(&panel["fieldConfig"]["overrides"]);
    let overrides = overrides.filter(|one| one["matcher"]["id"] == "byName");
    let overrides = overrides.map(|one| text(&one["matcher"]["options"]));
    let organized = list(&panel["transformations"]).flat_map(|transformation| {
        let options = &transformation["options"];
        let keys = |key: &str| {
            options[key]
                .as_object()
                .into_iter()
                .flat_map(|map| map.keys())
        };
        keys("excludeByName")
            .chain(keys("indexByName"))
            .cloned()
            .collect::<Vec<_>>()
    });
    overrides.map(str::to_owned).chain(organized).collect()
}

/// Returns the group names of a regex that splits a column.
fn extracted(options: &Value) -> impl Iterator<Item = String> {
    let groups = text(&options["regExp"]).split("(?<").skip(1);
    groups.filter_map(|group| Some(group.split_once('>')?.0.to_owned()))
}

/// Guarantees: links use variables that exist, so that none contains a literal `${…}`.
#[test]
fn links_name_variables_that_exist() {
    for dashboard in dashboards() {
        let own: Vec<_> = dashboard
            .variables()
            .map(|v| text(&v["name"]).to_owned())
            .collect();
        for url in urls(&dashboard.json) {
            for part in url.split("${").skip(1) {
                let name = part.split(['}', ':', '.']).next().unwrap_or_default();
                let known = own.iter().any(|own| own == name) || name.starts_with("__");
                assert!(known, "{}: {name} in {url}", dashboard.file);
            }
            let to = url
                .strip_prefix("/d/")
                .map(|rest| rest.split('?').next().unwrap_or_default());
            let there = |uid| {
                dashboards()
                    .iter()
                    .any(|other| text(&other.json["uid"]) == uid)
            };
            assert!(to.is_none_or(there), "{url} leads nowhere");
        }
    }
}

/// Guarantees: beside each link to a trace in Fusebox stands one to the same trace in Explore, asked of the Tempo source.
#[test]
fn traces_open_in_explore_too() {
    let mut pairs = 0;
    for dashboard in dashboards() {
        let urls = urls(&dashboard.json);
        let places = urls.iter().enumerate();
        let ours = places.filter(|(_, url)| *url == "${fusebox:raw}/traces/${__value.raw}");
        for (place, _) in ours {
            let beside = urls.get(place + 1).map_or("", String::as_str);
            let link = url::Url::parse(&format!("http://grafana{beside}")).expect("an address");
            let mut parameters = link.query_pairs();
            let panes = parameters.find(|(name, _)| name == "panes");
            let (_, panes) = panes.expect("Explore has panes");
            let panes: Value = serde_json::from_str(&panes).expect("JSON");
            let query = &panes["trace"]["queries"][0];
            let uid = text(&query["datasource"]["uid"]);
            assert_eq!(provisioned().get(uid).map(String::as_str), Some("tempo"));
            assert_eq!(query["query"], "${__value.raw}", "{}", dashboard.file);
            pairs += 1;
        }
    }
    assert!(pairs >= 7, "{pairs} links to traces");
}

fn urls(value: &Value) -> Vec<String> {
    match value {
        Value::Array(values) => values.iter().flat_map(urls).collect(),
        Value::Object(fields) => {
            let each = fields
                .iter()
                .flat_map(|(key, value)| match (key.as_str(), value) {
                    ("url", Value::String(url)) => vec![url.clone()],
                    _ => urls(value),
                });
            each.collect()
        }
        _ => Vec::new(),
    }
}

/// Guarantees: a state has the same number in Grafana as in the store. Worse states have higher numbers, because panels show
/// the highest of several instances.
#[test]
fn numbers_of_states_are_mapped_the_worse_the_higher() {
    let mut panels = 0;
    for dashboard in dashboards() {
        for mapping in mappings(&dashboard.json) {
            let Some(options) = mapping["options"].as_object() else {
                continue;
            };
            if !options.contains_key("6") {
                continue;
            }
            panels += 1;
            for state in EffectiveState::ALL {
                let number = schema::state_number(state).to_string();
                let shown = text(&options[&number]["text"]).to_lowercase();
                let word = state
                    .as_str()
                    .replace('_', " ")
                    .replace("half open", "half-open");
                assert!(shown.ends_with(&word), "{shown} is {word}");
            }
        }
    }
    assert!(panels >= 4, "{panels} panels show states");
}

/// Counts circuits by the number of their worst state, with bits: a filter would answer nothing where the count is zero,
/// and nothing is also what an InfluxDB without data answers.
type OfState = fn(i64) -> i64;

/// Guarantees: each figure counts the circuits of its states and no others.
#[test]
fn figures_count_states_by_their_numbers() {
    use EffectiveState::{Closed, Disabled, ForcedClosed, ForcedOpen, HalfOpen, MetricsOnly, Open};
    let cannot_open = [Disabled, MetricsOnly, ForcedClosed];
    let not_closed = EffectiveState::ALL
        .into_iter()
        .filter(|state| *state != Closed);
    let figures: [(&str, &str, OfState, Vec<EffectiveState>); 6] = [
        ("Open", "(\"worst\" + 2) & 8", |n| (n + 2) & 8, vec![Open]),
        (
            "Half-open",
            "(\"worst\" & 4) - ((\"worst\" + 3) & 8) / 2",
            |n| (n & 4) - ((n + 3) & 8) / 2,
            vec![HalfOpen],
        ),
        (
            "Forced open",
            "((\"worst\" + 3) & 8) - ((\"worst\" + 2) & 8)",
            |n| ((n + 3) & 8) - ((n + 2) & 8),
            vec![ForcedOpen],
        ),
        (
            "Cannot open",
            "((\"worst\" + 7) & 8) - ((\"worst\" + 4) & 8)",
            |n| ((n + 7) & 8) - ((n + 4) & 8),
            cannot_open.to_vec(),
        ),
        (
            "Closed",
            "8 - ((\"worst\" + 7) & 8)",
            |n| 8 - ((n + 7) & 8),
            vec![Closed],
        ),
        (
            "Circuits not closed",
            "(\"worst\" + 7) & 8",
            |n| (n + 7) & 8,
            not_closed.collect(),
        ),
    ];
    let all = dashboards();
    for (title, formula, value, states) in figures {
        let mut found = all
            .iter()
            .flat_map(|one| one.drawn().map(move |panel| (one, panel)));
        let found = found.find(|(_, panel)| panel["title"] == title);
        let (dashboard, panel) = found.expect(title);
        let query = &dashboard.queries(panel)[0].text;
        let one = if title == "Half-open" { 4 } else { 8 };
        let asks = format!(
            "SELECT sum(\"is\") / {one} AS \"circuits\" FROM (SELECT {formula} AS \"is\" FROM"
        );
        assert!(query.starts_with(&asks), "{title}: {query} asks for {asks}");
        for state in EffectiveState::ALL {
            let counts = if states.contains(&state) { one } else { 0 };
            assert_eq!(
                value(schema::state_number(state)),
                counts,
                "{title}, {state:?}"
            );
        }
    }
}

/// Guarantees: queries that take the states in which nothing passes take those that refuse calls.
#[test]
fn shares_of_time_take_states_that_refuse() {
    let number = schema::state_number;
    let all = dashboards();
    let queries = all
        .iter()
        .flat_map(|one| one.drawn().flat_map(|panel| one.queries(panel)));
    let shares = queries.filter(|query| query.text.contains(TIME_OPEN));
    assert_eq!(
        shares.count(),
        2,
        "two panels show the share of time in which nothing passes"
    );
    for state in EffectiveState::ALL {
        let refuses = matches!(state, EffectiveState::Open | EffectiveState::ForcedOpen);
        assert_eq!((number(state) + 3) & 8 == 8, refuses, "{state:?}");
    }
}

fn mappings(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(values) => values.iter().flat_map(mappings).collect(),
        Value::Object(fields) if fields.get("type") == Some(&"value".into()) => vec![value.clone()],
        Value::Object(fields) => fields.values().flat_map(mappings).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn provisioning_and_compose_agree_on_folders_and_settings() {
    let read = |path: &str| std::fs::read_to_string(folder().join(path)).expect("it is there");
    let provider = read("provisioning/dashboards/fusebox.yaml");
    let path = value_of(&provider, "path").expect("a path");
    let compose = read("compose.yaml");
    assert!(
        compose.contains(&format!("./dashboards:{path}:ro")),
        "{path}"
    );
    assert!(compose.contains("./provisioning:/etc/grafana/provisioning:ro"));
    let home = value_of(&compose, "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH").expect("a home");
    let file = home
        .strip_prefix(&format!("{path}/"))
        .expect("a dashboard of ours");
    assert!(
        dashboards().iter().any(|dashboard| dashboard.file == file),
        "{file}"
    );
    // Grafana is the last service.
    let grafana = compose
        .split("\n  grafana:\n")
        .nth(1)
        .expect("Grafana is in it");
    for line in read("provisioning/datasources/fusebox.yaml").lines() {
        let set = line
            .split("${")
            .skip(1)
            .filter_map(|part| part.split('}').next());
        for name in set.filter(|_| !line.trim_start().starts_with('#')) {
            assert!(value_of(grafana, name).is_some(), "{name} is not set");
        }
    }
    let published = compose
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("- \""));
    for port in published {
        assert!(
            port.starts_with("- \"127.0.0.1:"),
            "{port} is open to the network"
        );
    }
}

/// Guarantees: the command line knows all settings in `compose.yaml` and the README; a port open to the network requires a
/// token.
#[test]
fn settings_of_fusebox_are_those_of_its_command_line() {
    let known = settings();
    let read = |path: &str| std::fs::read_to_string(folder().join(path)).expect("it is there");
    let compose = read("compose.yaml");
    let fusebox = compose
        .split("\n  fusebox:\n")
        .nth(1)
        .expect("Fusebox is in it");
    let fusebox = fusebox
        .split("\n  grafana:\n")
        .next()
        .expect("Grafana comes after");
    for name in names_of(fusebox) {
        assert!(known.contains(&name), "compose.yaml: {name}");
    }
    // For Grafana alone: where it reaches Fusebox.
    for name in names_of(&read("README.md")) {
        assert!(
            known.contains(&name) || name == "FUSEBOX_URL",
            "README.md: {name}"
        );
    }
    let open = value_of(fusebox, "FUSEBOX_LISTEN").is_some_and(|addr| addr.starts_with("0.0.0.0"));
    assert!(open, "Grafana and this machine reach it");
    let token = value_of(fusebox, "FUSEBOX_TOKEN").expect("a token");
    assert!(
        token.starts_with("${FUSEBOX_TOKEN:?"),
        "{token}: there is none by default"
    );
    let influxdb = compose
        .split("\n  fusebox:\n")
        .next()
        .expect("InfluxDB comes first");
    for (theirs, ours) in [
        ("TOKEN", "ADMIN_TOKEN"),
        ("ORG", "ORG"),
        ("BUCKET", "BUCKET"),
    ] {
        let set_up = value_of(influxdb, &format!("DOCKER_INFLUXDB_INIT_{ours}"));
        let used = value_of(fusebox, &format!("FUSEBOX_INFLUXDB_{theirs}"));
        assert!(set_up.is_some() && set_up == used, "{theirs}: {used:?}");
    }
}

/// Returns the environment variables that the command line reads.
fn settings() -> BTreeSet<String> {
    let path = folder()
        .with_file_name("dashboard")
        .join("src/cli/server.rs");
    let source = std::fs::read_to_string(path).expect("it is there");
    let named = source.split("env = \"").skip(1);
    let names = named.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned()));
    names.collect()
}

/// Returns the `FUSEBOX_` variables in a text.
fn names_of(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_uppercase() && !c.is_ascii_digit() && c != '_');
    let ours = words.filter(|word| word.starts_with("FUSEBOX_"));
    ours.map(str::to_owned).collect()
}

/// Returns the provisioned data sources: type by uid.
fn provisioned() -> BTreeMap<String, String> {
    let path = folder().join("provisioning/datasources/fusebox.yaml");
    let yaml = std::fs::read_to_string(path).expect("it is there");
    let entries = yaml.split("\n  - name: ").skip(1);
    let source = |entry: &str| Some((value_of(entry, "uid")?, value_of(entry, "type")?));
    let sources: BTreeMap<_, _> = entries.filter_map(source).collect();
    assert_eq!(sources.len(), 4, "{sources:?}");
    sources
}

/// Guarantees: each source of traces is asked where Fusebox speaks its language, draws the node graph of a trace, sends the
/// token, and asks for no stream of gRPC, which Fusebox has not.
#[test]
fn sources_of_traces_ask_what_fusebox_answers() {
    let path = folder().join("provisioning/datasources/fusebox.yaml");
    let yaml = std::fs::read_to_string(path).expect("it is there");
    let entries: Vec<_> = yaml.split("\n  - name: ").skip(1).collect();
    for (kind, url) in [
        ("jaeger", "${FUSEBOX_URL}/jaeger"),
        ("zipkin", "${FUSEBOX_URL}"),
        ("tempo", "${FUSEBOX_URL}/tempo"),
    ] {
        let is_of = |entry: &&&str| value_of(entry, "type").as_deref() == Some(kind);
        let entry = entries.iter().find(is_of).expect("it is provisioned");
        assert_eq!(value_of(entry, "url").as_deref(), Some(url), "{kind}");
        assert!(
            entry.contains("nodeGraph:\n        enabled: true\n"),
            "{kind}"
        );
        let token = value_of(entry, "httpHeaderValue1");
        assert_eq!(token.as_deref(), Some("Bearer ${FUSEBOX_TOKEN}"), "{kind}");
    }
    assert!(yaml.contains("streamingEnabled:\n        search: false\n        metrics: false\n"));
}

/// Returns the value of the first such key of a simple YAML file.
fn value_of(yaml: &str, key: &str) -> Option<String> {
    let lines = yaml
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'));
    let mut values = lines.filter_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    values
        .next()
        .map(|value| value.trim().trim_matches('"').to_owned())
}
