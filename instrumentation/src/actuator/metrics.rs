//! `/actuator/metrics`: the application's metrics as last exported, those of the breakers, and some of the process and
//! its runtime.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use http::{StatusCode, Uri};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::Inner;
use super::answer::{Answered, json, missing, problem};
use crate::circuit_breaker::{CircuitSnapshot, EffectiveState, Outcome};
use crate::semconv;
use crate::telemetry::recent::{Meter, Point, Statistic};

/// The metrics of breakers.
const OF_BREAKERS: [&str; 3] = [semconv::CALL_DURATION, semconv::STATE, semconv::INFLIGHT];
/// Most values listed for one tag: a person chooses from them.
const TAG_VALUES_MAX: usize = 1_000;

/// `GET /actuator/metrics`
pub(super) async fn names(State(inner): State<Arc<Inner>>) -> Response {
    let (latest, of_process) = (inner.recent.meters.latest(), inner.of_process());
    let meters = latest.iter().chain(&of_process);
    let names = meters.map(|meter| meter.name.as_str()).chain(OF_BREAKERS);
    let names: BTreeSet<&str> = names.collect();
    json(&json!({ "names": names }))
}

/// `GET /actuator/metrics/{name}?tag=key:value`
pub(super) async fn one(
    State(inner): State<Arc<Inner>>,
    Path(name): Path<String>,
    uri: Uri,
) -> Answered {
    let wanted = tags(uri.query().unwrap_or_default())?;
    let (latest, own) = (inner.recent.meters.latest(), inner.own(&name));
    let exported = latest.iter().filter(|meter| meter.name == name);
    let same: Vec<&Meter> = exported.chain(&own).collect();
    let first = same.first().ok_or_else(|| missing("metric", &name))?;
    let points = same.iter().flat_map(|meter| &meter.points);
    let points: Vec<&Point> = points.filter(|point| has(point, &wanted)).collect();
    if points.is_empty() {
        return Err(missing("metric with these tags:", &name));
    }
    Ok(json(&json!({
        "name": first.name,
        "description": first.description,
        "baseUnit": first.unit,
        "measurements": measurements(&points),
        "availableTags": available(&points, &wanted),
    })))
}

fn tags(query: &str) -> Result<Vec<(String, String)>, Response> {
    let pairs = query
        .split('&')
        .filter_map(|pair| pair.strip_prefix("tag="));
    let bad = || problem(StatusCode::BAD_REQUEST, "tag: must have the form key:value");
    pairs
        .map(|pair| {
            let pair = pair.replace('+', " ");
            let pair = percent_decode_str(&pair).decode_utf8_lossy();
            let (key, value) = pair.split_once(':').ok_or_else(bad)?;
            Ok((key.to_owned(), value.to_owned()))
        })
        .collect()
}

fn has(point: &Point, wanted: &[(String, String)]) -> bool {
    wanted.iter().all(|tag| point.tags.contains(tag))
}

/// Adds up the points; for maxima, takes the largest.
fn measurements(points: &[&Point]) -> Vec<Value> {
    let mut sums: BTreeMap<Statistic, f64> = BTreeMap::new();
    for (statistic, value) in points.iter().flat_map(|point| &point.values) {
        let sum = sums.entry(*statistic).or_insert(match statistic {
            Statistic::Max => f64::NEG_INFINITY,
            _ => 0.0,
        });
        *sum = match statistic {
            Statistic::Max => sum.max(*value),
            _ => *sum + value,
        };
    }
    let sums = sums.into_iter();
    sums.map(|(statistic, value)| json!({ "statistic": statistic.as_str(), "value": value }))
        .collect()
}

/// Returns the tags by which the points can be filtered further.
fn available(points: &[&Point], wanted: &[(String, String)]) -> Vec<Value> {
    let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (key, value) in points.iter().flat_map(|point| &point.tags) {
        if !wanted.iter().any(|(known, _)| known == key) {
            let values = values.entry(key).or_default();
            if values.len() < TAG_VALUES_MAX {
                values.insert(value);
            }
        }
    }
    let values = values.into_iter();
    values
        .map(|(tag, values)| json!({ "tag": tag, "values": values }))
        .collect()
}

impl Inner {
    /// Returns the metric of that name of the breakers or the process; builds no other one, as a page reads each by itself.
    fn own(&self, name: &str) -> Option<Meter> {
        if OF_BREAKERS.contains(&name) {
            let breakers = self.registry.all().into_iter();
            let breakers = breakers.map(|breaker| breaker.snapshot());
            return Some(of_breakers(name, &breakers.collect::<Vec<_>>()));
        }
        let mut of_process = self.of_process().into_iter();
        of_process.find(|meter| meter.name == name)
    }

    fn of_process(&self) -> Vec<Meter> {
        let runtime = tokio::runtime::Handle::current().metrics();
        let gauge = |name: &str, unit: &str, value: f64| {
            let value = point(&[], Statistic::Value, value);
            meter(name, unit, "", vec![value])
        };
        let mut all = vec![
            gauge(
                "process.uptime",
                "seconds",
                self.started.elapsed().as_secs_f64(),
            ),
            gauge("tokio.workers", "", runtime.num_workers() as f64),
            gauge("tokio.alive_tasks", "", runtime.num_alive_tasks() as f64),
            gauge(
                "tokio.global_queue_depth",
                "",
                runtime.global_queue_depth() as f64,
            ),
        ];
        let cpus = std::thread::available_parallelism();
        all.extend(cpus.map(|count| gauge("system.cpu.count", "", count.get() as f64)));
        #[cfg(unix)]
        {
            let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
            let seconds = time.tv_sec as f64 + time.tv_nsec as f64 / 1e9;
            all.push(gauge("process.cpu.time", "seconds", seconds));
        }
        all.extend(resident_bytes().map(|bytes| gauge("process.memory.usage", "bytes", bytes)));
        all
    }
}

/// Reads the memory use of the process (Linux only).
fn resident_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0)
}

/// Returns the metric of that name, one of [`OF_BREAKERS`].
fn of_breakers(name: &str, breakers: &[CircuitSnapshot]) -> Meter {
    let identity = |it: &CircuitSnapshot, more: Option<(&'static str, &'static str)>| {
        let tags = [
            (semconv::BREAKER_NAME, it.name.as_str()),
            (semconv::BREAKER_GROUP, it.group.as_str()),
        ];
        tags.into_iter()
            .chain(more)
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect::<Vec<_>>()
    };
    let each = breakers.iter();
    let (description, points) = match name {
        semconv::CALL_DURATION => {
            let calls = |it: &CircuitSnapshot| {
                Outcome::ALL.map(|outcome| {
                    let tags = identity(it, Some((semconv::BREAKER_OUTCOME, outcome.as_str())));
                    point(&tags, Statistic::Count, it.calls.of(outcome) as f64)
                })
            };
            let description = "Calls through a breaker by outcome: how many";
            (description, each.flat_map(calls).collect())
        }
        semconv::STATE => {
            let states = |it: &CircuitSnapshot| {
                EffectiveState::ALL.map(|state| {
                    let tags = identity(it, Some((semconv::BREAKER_STATE, state.as_str())));
                    let is_in_force = f64::from(u8::from(state == it.state));
                    point(&tags, Statistic::Value, is_in_force)
                })
            };
            ("1 for the state in force", each.flat_map(states).collect())
        }
        _ => {
            let running = |it: &CircuitSnapshot| {
                point(&identity(it, None), Statistic::Value, it.in_flight as f64)
            };
            ("Running calls", each.map(running).collect())
        }
    };
    meter(name, "", description, points)
}

fn meter(name: &str, unit: &str, description: &str, points: Vec<Point>) -> Meter {
    Meter {
        name: name.to_owned(),
        description: description.to_owned(),
        unit: unit.to_owned(),
        points,
    }
}

fn point(tags: &[(String, String)], statistic: Statistic, value: f64) -> Point {
    Point {
        tags: tags.to_vec(),
        values: vec![(statistic, value)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuit_breaker::{CircuitBreaker, Registry};

    #[test]
    fn points_are_added_up_and_narrowed_down() {
        let tag = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let of = |route: &str, count: f64, max: f64| Point {
            tags: vec![tag("route", route), tag("method", "GET")],
            values: vec![(Statistic::Count, count), (Statistic::Max, max)],
        };
        let (a, b) = (of("/a", 2.0, 0.5), of("/b", 3.0, 0.25));
        let sums = measurements(&[&a, &b]);
        assert_eq!(sums[0], json!({ "statistic": "COUNT", "value": 5.0 }));
        assert_eq!(sums[1], json!({ "statistic": "MAX", "value": 0.5 }));
        let wanted = tags("x=1&tag=route%3A%2Fa").unwrap();
        assert!(has(&a, &wanted) && !has(&b, &wanted));
        let left = json!([{ "tag": "method", "values": ["GET"] }]);
        assert_eq!(json!(available(&[&a], &wanted)), left);
        assert!(tags("tag=route").is_err());
    }

    /// Guarantees: of the breakers only the metric that is asked for is built, each with its own points.
    #[test]
    fn one_metric_of_the_breakers_is_built() {
        let registry = Registry::new();
        let breaker = CircuitBreaker::builder("stock").registry(&registry).build();
        let points = |name| of_breakers(name, &[breaker.snapshot()]).points.len();
        let expected = [Outcome::ALL.len(), EffectiveState::ALL.len(), 1];
        assert_eq!(OF_BREAKERS.map(points), expected);
    }

    #[test]
    fn values_of_a_tag_are_bounded() {
        let of = |number: usize| Point {
            tags: vec![("user".to_owned(), format!("{number:05}"))],
            values: vec![(Statistic::Count, 1.0)],
        };
        let points: Vec<_> = (0..=TAG_VALUES_MAX).map(of).collect();
        let listed = available(&points.iter().collect::<Vec<_>>(), &[]);
        let values = listed[0]["values"].as_array().unwrap();
        assert_eq!(values.len(), TAG_VALUES_MAX);
    }
}
