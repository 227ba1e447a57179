//! The binary with a real InfluxDB: killed, unreachable, shared, lost, misconfigured, and as the pages show it.

mod away;
mod logs;
mod losses;
mod lost_directory;
mod pause;
mod settings;
mod shared;

use std::path::Path;

use fusebox_collector::store::influxdb::testing::Influxd;
use integration_tests::{Binary, child, eventually, get_json};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::block_in_place;

/// A real InfluxDB with its own directory.
struct Server {
    influxd: Influxd,
    url: String,
    _dir: TempDir,
}

impl Server {
    fn start() -> Self {
        Self::start_with("")
    }

    /// Starts it with more lines for the `[http]` section of its configuration.
    fn start_with(http_settings: &str) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let influxd = block_in_place(|| Influxd::start_with(dir.path(), http_settings));
        Self {
            url: influxd.url(),
            influxd,
            _dir: dir,
        }
    }

    /// Kills it as a crash would.
    fn kill(&mut self) {
        block_in_place(|| self.influxd.stop());
    }

    /// Starts it again on the same port.
    fn restart(&mut self) {
        block_in_place(|| self.influxd.restart());
    }

    /// Freezes it (`STOP`: it accepts connections and never responds) or resumes it (`CONT`).
    fn signal(&self, name: &str) {
        child::signal(self.influxd.pid(), name);
    }

    /// Starts a collector in front of it.
    async fn collector(&self, data: &Path) -> Binary {
        self.collector_with(data, &[]).await
    }

    /// Starts a collector in front of it with more arguments.
    async fn collector_with(&self, data: &Path, args: &[&str]) -> Binary {
        Binary::serve_with(data, &[&["--influxdb", self.url.as_str()], args].concat()).await
    }

    /// Runs an InfluxQL query without a user; returns the rows of all series.
    async fn rows(&self, query: &str) -> Vec<Vec<Value>> {
        self.rows_as(("", ""), query).await
    }

    /// Runs an InfluxQL query as that user.
    async fn rows_as(&self, (user, password): (&str, &str), query: &str) -> Vec<Vec<Value>> {
        let form = [("db", "fusebox"), ("q", query), ("epoch", "ns")];
        let request = reqwest::Client::new().post(format!("{}/query", self.url));
        let request = match user {
            "" => request,
            user => request.basic_auth(user, Some(password)),
        };
        let response = request.form(&form).send().await.expect("InfluxDB answers");
        let answer: Value = response.json().await.expect("JSON");
        let result = &answer["results"][0];
        assert!(result["error"].is_null(), "{query}: {answer}");
        let series = result["series"].as_array().into_iter().flatten();
        let rows = series.flat_map(|series| series["values"].as_array().into_iter().flatten());
        rows.map(|row| row.as_array().cloned().expect("a row"))
            .collect()
    }
}

/// Returns the InfluxDB part of `/healthz`.
async fn influxdb_health(web: &str) -> Option<Value> {
    Some(get_json(&format!("{web}/healthz")).await?["influxdb"].clone())
}

/// Waits until every span of the journal is in InfluxDB; the backlog must shrink within each deadline.
async fn everything_arrives(web: &str) {
    let mut waiting = u64::MAX;
    while waiting > 0 {
        waiting = eventually("a smaller backlog for InfluxDB", || async {
            let health = influxdb_health(web).await?;
            let left = health["backlog_spans"].as_u64()?;
            (health["reachable"] == true && left < waiting).then_some(left)
        })
        .await;
    }
}

/// Returns a page's HTML.
async fn page(url: &str) -> String {
    let response = reqwest::get(url).await.expect("the page is answered");
    assert_eq!(response.status(), 200, "{url}");
    response.text().await.expect("text")
}

/// Returns a JSON response of the API, which must be a 200.
async fn ask(web: &str, path: &str) -> Value {
    let answer = get_json(&format!("{web}{path}")).await;
    answer.unwrap_or_else(|| panic!("{path} is answered"))
}

/// Returns the number of spans of a trace.
fn span_count(trace: &Value) -> usize {
    trace["resourceSpans"]
        .to_string()
        .matches("\"spanId\"")
        .count()
}

/// Returns the names of the breakers of a wall, in its order.
fn names(wall: &Value) -> Vec<&str> {
    let circuits = wall["circuits"].as_array().into_iter().flatten();
    circuits
        .filter_map(|circuit| circuit["name"].as_str())
        .collect()
}
