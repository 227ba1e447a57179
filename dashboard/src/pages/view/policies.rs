//! Pools, collapsers, caches, limiters and retries as table rows: their current state, and the last ten seconds.

use fusebox_collector::model::policy::{COLLAPSER, POOL, PolicyView, REQUEST_CACHE};

use super::text;

/// Rows of one table.
const ROWS_MAX: usize = 100;

/// One policy as listed.
#[derive(Debug)]
pub(crate) struct PolicyRow {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) now: String,
    pub(crate) recently: String,
}

/// Returns the rows of the policies around the circuit of this name, or of all.
pub(crate) fn rows(policies: &[PolicyView], circuit: Option<&str>) -> Vec<PolicyRow> {
    let stands = |policy: &&PolicyView| circuit.is_none_or(|name| stands_around(policy, name));
    let shown = policies.iter().filter(stands).take(ROWS_MAX);
    shown.map(PolicyRow::new).collect()
}

fn stands_around(policy: &PolicyView, circuit: &str) -> bool {
    match policy.kind {
        POOL => policy.callers.contains_key(circuit),
        COLLAPSER | REQUEST_CACHE => policy.name == circuit,
        // The circuits with which they are used are not reported.
        _ => false,
    }
}

impl PolicyRow {
    fn new(policy: &PolicyView) -> Self {
        Self {
            kind: kind(policy.kind),
            name: text::name(&policy.name).into_owned(),
            now: now(policy),
            recently: recently(policy),
        }
    }
}

/// Returns the name of a kind; an unknown one keeps its own.
fn kind(kind: &str) -> String {
    let known = match kind {
        POOL => t!("pool"),
        COLLAPSER => t!("collapser"),
        REQUEST_CACHE => t!("request cache"),
        "rate_limiter" => t!("rate limiter"),
        "retry" => t!("retry"),
        other => return other.replace('_', " "),
    };
    known.to_owned()
}

fn now(policy: &PolicyView) -> String {
    let of = |word| text::count(policy.now(word));
    match policy.kind {
        POOL => t!(
            "{active} of {size} workers busy, {queued} of {limit} places in the queue taken",
            active = of("active"),
            size = of("size"),
            queued = of("queued"),
            limit = of("queue_limit")
        ),
        COLLAPSER => {
            let of_one = |word| policy.now(word) / policy.hosts.max(1);
            let (calls, ms) = (text::count(of_one("size_max")), of_one("delay_ms"));
            t!("up to {n} calls of {ms} ms", n = calls, ms = ms)
        }
        _ => listed(policy.now.iter(), |(word, value)| {
            format!("{word} {}", text::count(*value))
        }),
    }
}

fn recently(policy: &PolicyView) -> String {
    let of = |word| text::count(policy.recently(word));
    match policy.kind {
        POOL => t!(
            "{n} run, {refused} rejected",
            n = of("executed"),
            refused = of("rejected")
        ),
        COLLAPSER => t!(
            "{n} calls in {batches} batches",
            n = of("calls"),
            batches = of("batches")
        ),
        _ => {
            let happened = policy.last_10_s.iter().filter(|(_, count)| **count > 0);
            listed(happened, |(word, count)| {
                format!("{} {}", text::count(*count), word.replace('_', " "))
            })
        }
    }
}

/// Returns words separated by commas; a dash if there are none.
fn listed<T>(of: impl Iterator<Item = T>, words: impl Fn(T) -> String) -> String {
    let words: Vec<_> = of.map(words).collect();
    match words.is_empty() {
        true => "—".to_owned(),
        false => words.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn policy(kind: &'static str, name: &str, now: &[(&'static str, u64)]) -> PolicyView {
        PolicyView {
            kind,
            name: name.to_owned(),
            hosts: 2,
            now: now.iter().copied().collect(),
            ..PolicyView::default()
        }
    }

    /// Guarantees: a circuit's page shows the pool that runs its calls and its own collapser, a service's page all.
    #[test]
    fn what_stands_around_a_circuit_is_in_words() {
        let size = [
            ("active", 3),
            ("size", 20),
            ("queued", 1),
            ("queue_limit", 10),
        ];
        let pool = PolicyView {
            last_10_s: BTreeMap::from([("executed", 1_200), ("rejected", 2)]),
            callers: BTreeMap::from([("stock".to_owned(), 2)]),
            ..policy(POOL, "warehouse", &size)
        };
        let collapser = policy(COLLAPSER, "stock", &[("size_max", 2_000), ("delay_ms", 20)]);
        let limiter = PolicyView {
            last_10_s: BTreeMap::from([("permitted", 7), ("refused", 0)]),
            ..policy("rate_limiter", "stock", &[("available", 43)])
        };
        let all = [pool, collapser, limiter];
        let words = |circuit| {
            let rows = rows(&all, circuit).into_iter();
            let shown = rows.map(|row| [row.kind, row.name, row.now, row.recently].join(" | "));
            shown.collect::<Vec<_>>()
        };
        let expected = [
            "pool | warehouse | 3 of 20 workers busy, 1 of 10 places in the queue taken | 1,200 run, 2 rejected",
            "collapser | stock | up to 1,000 calls of 10 ms | 0 calls in 0 batches",
            "rate limiter | stock | available 43 | 7 permitted",
        ];
        assert_eq!(words(None), expected);
        assert_eq!(words(Some("stock")), expected[..2]);
        assert!(words(Some("review")).is_empty());
    }
}
