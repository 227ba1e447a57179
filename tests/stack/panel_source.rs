//! The InfluxDB that panels query, with requests like those of Grafana's back end: `db` and `epoch` in the URL, one
//! statement in the body.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use fusebox_collector::store::influxdb::testing::Influxd;
use integration_tests::needed;
use serde::Deserialize;
use serde_json::Value;

use crate::grafana::{Choices, PanelQuery, Shown, sent};
use crate::panel_data;

/// The time range of the dashboards.
const RANGE_MS: u64 = 15 * 60_000;

/// Beginnings of the errors of a server without data: no such database (InfluxDB 2 uses either), or nothing in it
/// (openGemini).
const NOTHING_YET: [&str; 3] = [
    "database not found",
    "default retention policy not set",
    "measurement not found",
];

/// A server with a database.
pub(crate) struct Source {
    http: reqwest::Client,
    url: String,
    token: Option<String>,
    org: String,
    database: String,
    /// The end of the range that panels show, Unix milliseconds; `None` means the current time.
    to_ms: Option<u64>,
    /// The server, if it was started for this test.
    _influxd: Option<Influxd>,
}

impl Source {
    /// Starts Debian's InfluxDB 1.x with its data in `dir`.
    pub(crate) fn start(dir: &Path) -> Self {
        let influxd = Influxd::start(dir);
        let url = influxd.url();
        Self {
            _influxd: Some(influxd),
            ..Self::at(url)
        }
    }

    /// Returns the server named by `FUSEBOX_TEST_<server>_URL`, `_TOKEN` and `_ORG`, with a new database there.
    ///
    /// # Panics
    /// Panics when the environment names none.
    pub(crate) fn named(server: &str) -> Self {
        let var = |name: &str| std::env::var(format!("FUSEBOX_TEST_{server}_{name}")).ok();
        let url = needed(&format!("FUSEBOX_TEST_{server}_URL"));
        Self {
            token: var("TOKEN"),
            org: var("ORG").unwrap_or_default(),
            database: format!("panels-{}", now_ms()),
            ..Self::at(url)
        }
    }

    fn at(url: String) -> Self {
        Self {
            http: reqwest::Client::new(),
            url,
            token: None,
            org: String::new(),
            database: "fusebox".to_owned(),
            to_ms: None,
            _influxd: None,
        }
    }

    /// Returns the arguments that make Fusebox write there.
    pub(crate) fn arguments(&self) -> Vec<&str> {
        let mut arguments = vec!["--influxdb", &self.url, "--influxdb-bucket", &self.database];
        if let Some(token) = &self.token {
            arguments.extend(["--influxdb-token", token, "--influxdb-org", &self.org]);
        }
        arguments
    }

    /// Creates the database and fills it with made-up data up to `end`, Unix nanoseconds. Panels show the range that ends
    /// there, however long the test takes.
    pub(crate) async fn fill(&mut self, end: u64) {
        self.to_ms = Some(end / 1_000_000);
        let lines = panel_data::lines(end);
        self.post(
            "/query",
            &[],
            format!("q=CREATE DATABASE {}", self.database),
        )
        .await;
        let answer = self.post("/write", &[("db", &self.database)], lines).await;
        assert_eq!(answer, "", "every line is taken");
    }

    /// Sends a query as Grafana does.
    pub(crate) async fn ask(
        &self,
        query: &PanelQuery,
        choices: &Choices,
        interval: &'static str,
    ) -> Vec<Series> {
        let to_ms = self.to_ms.unwrap_or_else(now_ms);
        let shown = Shown {
            from_ms: to_ms - RANGE_MS,
            to_ms,
            interval,
        };
        let influxql = sent(&query.text, choices, shown).expect("macros are known");
        let body = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("q", &influxql)
            .finish();
        let parameters = [("db", self.database.as_str()), ("epoch", "ms")];
        let answer = self.post("/query", &parameters, body).await;
        let mut answer: Answer = serde_json::from_str(&answer).expect("JSON");
        let result = answer.results.pop().unwrap_or_default();
        let error = result.error.or(answer.error);
        let error = error.filter(|error| !NOTHING_YET.iter().any(|says| error.starts_with(says)));
        assert_eq!(error, None, "{}: {influxql}", query.place);
        assert!(
            answer.results.is_empty(),
            "Grafana reads the first statement only: {influxql}"
        );
        result.series
    }

    async fn post(&self, path: &str, parameters: &[(&str, &str)], body: String) -> String {
        let mut request = self
            .http
            .post(format!("{}{path}", self.url))
            .query(parameters)
            .header("content-type", "application/x-www-form-urlencoded");
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Token {token}"));
        }
        let response = request.body(body).send().await.expect("InfluxDB answers");
        response.text().await.expect("it is text")
    }
}

/// Returns the current time in Unix milliseconds.
pub(crate) fn now_ms() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("it is past 1970");
    now.as_millis() as u64
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answer {
    results: Vec<Statement>,
    error: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Statement {
    series: Vec<Series>,
    error: Option<String>,
}

/// One table of a result.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Series {
    pub(crate) columns: Vec<String>,
    pub(crate) values: Vec<Vec<Value>>,
}

impl Series {
    /// Returns the values of all columns except the time.
    pub(crate) fn values(&self) -> impl Iterator<Item = &Value> {
        let time = self.columns.iter().position(|column| column == "time");
        let cells = self.values.iter().flat_map(|row| row.iter().enumerate());
        cells
            .filter(move |(at, _)| Some(*at) != time)
            .map(|(_, value)| value)
    }
}
