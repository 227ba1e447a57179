//! What a week of spans costs to store and to search: one table of queries per number of spans.
//!
//! `cargo bench -p fusebox-collector --bench week -- 1000000 10000000` fills a store with the sample shop's spans, spread
//! evenly over seven days, and asks each query many times: wall time (p50, p99), CPU, read calls and bytes read of one
//! query. `WEEK_DIR=<folder>` keeps the stores there for the next run; `WEEK_SEGMENTS=1008` makes as many segments at
//! least, as a week of few spans has with one every ten minutes; `WEEK_PLOT=<file>.svg` gets the CPU of all sizes as bars.
//! Linux only: figures come from `/proc/self`.

#![expect(clippy::print_stdout, reason = "the tables are what it is for")]

use std::cell::RefCell;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fusebox_collector::codec::otlp::{Limits, walk_traces};
use fusebox_collector::model::{Condition, StatusCode, TimeRange, TraceQuery, UnixNanos};
use fusebox_collector::sample::Shop;
use fusebox_collector::store::TraceReader;
use fusebox_collector::store::embedded::{
    EmbeddedOptions, EmbeddedStore, ShardWriter, SpanLog, open,
};
use opentelemetry::TraceId;
use tokio::runtime::Runtime;
use tokio::time::Instant;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
const WEEK: Duration = Duration::from_secs(604_800);
/// Spans of a block, as the pipeline cuts them at full load.
const BLOCK_SPANS: usize = 10_000;
/// How often each query is asked.
const ROUNDS: u64 = 60;
/// Asked of every query before its figures are taken.
const WARM_UP: u64 = 5;

fn options(dir: &Path) -> EmbeddedOptions {
    EmbeddedOptions {
        dir: dir.to_owned(),
        retention: WEEK * 2,
        disk_budget_bytes: u64::MAX,
        shards: 1,
    }
}

/// Writes spans as a shard does, and prints what each cost.
fn fill(writer: &mut ShardWriter, spans: usize, now: UnixNanos) {
    let mut shop = Shop::new(1).between(now - WEEK, now).requests(spans, 500);
    let limits = Limits::default();
    let segments: usize = number_of("WEEK_SEGMENTS").unwrap_or(1);
    let (segment_spans, mut in_segment) = (spans / segments, 0);
    let block_spans = BLOCK_SPANS.min(segment_spans);
    let mut cost = 0;
    loop {
        let some: Vec<bytes::Bytes> = shop.by_ref().take(200).collect();
        if some.is_empty() {
            break;
        }
        let before = Usage::now();
        for request in some {
            writer.begin_request();
            walk_traces(&request, &limits, now.get(), writer).expect("sample requests are sound");
            if writer.pending_spans() >= block_spans {
                in_segment += writer.commit().expect("the disk works").spans as usize;
                writer.maintain(now).expect("the disk works");
            }
            if in_segment >= segment_spans {
                writer.seal().expect("the disk works");
                in_segment = 0;
            }
        }
        cost += Usage::now().cpu_nanos - before.cpu_nanos;
    }
    let before = Usage::now();
    writer.seal().expect("the disk works");
    cost += Usage::now().cpu_nanos - before.cpu_nanos;
    println!(
        "walk, shred, commit and seal: {} ns of CPU a span",
        cost / spans as u64
    );
}

fn number_of(variable: &str) -> Option<usize> {
    std::env::var(variable).ok()?.parse().ok()
}

/// What the process has used so far.
#[derive(Debug, Clone, Copy)]
struct Usage {
    cpu_nanos: u64,
    reads: u64,
    read_bytes: u64,
}

impl Usage {
    fn now() -> Self {
        let tasks = std::fs::read_dir("/proc/self/task").expect("Linux");
        let nanos = |task: std::io::Result<std::fs::DirEntry>| -> Option<u64> {
            let stat = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
            stat.split(' ').next()?.parse().ok()
        };
        let io = std::fs::read_to_string("/proc/self/io").expect("Linux");
        let number = |name: &str| {
            let line = io.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
        };
        Self {
            cpu_nanos: tasks.filter_map(nanos).sum(),
            reads: number("syscr:"),
            read_bytes: number("rchar:"),
        }
    }
}

/// Returns the anonymous memory that is resident, MiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}

/// Asks a query many times, prints a row, and returns the CPU that it takes, ms.
fn measure(name: &str, ask: impl Fn(u64) -> usize) -> f64 {
    for round in 0..WARM_UP {
        ask(round);
    }
    let (mut walls, mut cpus, mut answers) = (Vec::new(), Vec::new(), 0);
    let (mut reads, mut bytes) = (0, 0);
    for round in 0..ROUNDS {
        let before = Usage::now();
        let begin = Instant::now();
        answers += ask(WARM_UP + round);
        walls.push(begin.elapsed().as_secs_f64() * 1e3);
        let after = Usage::now();
        cpus.push((after.cpu_nanos - before.cpu_nanos) as f64 / 1e6);
        reads += after.reads - before.reads;
        bytes += after.read_bytes - before.read_bytes;
    }
    walls.sort_by(f64::total_cmp);
    cpus.sort_by(f64::total_cmp);
    let at = |list: &[f64], part: usize| list[(list.len() * part / 100).min(list.len() - 1)];
    println!(
        "| {name} | {:.1} | {:.1} | {:.1} | {} | {} | {:.1} |",
        at(&walls, 50),
        at(&walls, 99),
        at(&cpus, 50),
        reads / ROUNDS,
        bytes / ROUNDS / 1024,
        answers as f64 / ROUNDS as f64,
    );
    at(&cpus, 50)
}

/// Returns a window of that length somewhere in the week.
fn window(oldest: UnixNanos, round: u64, length: Duration) -> TimeRange {
    // Steps of the golden ratio visit the whole week evenly.
    let part = (round as f64 * 0.618_034) % 1.0;
    let start = oldest + (WEEK - length).mul_f64(part);
    TimeRange {
        start,
        end: start + length,
    }
}

/// Returns ids from all over the week.
fn some_ids(store: &EmbeddedStore, runtime: &Runtime, oldest: UnixNanos) -> Vec<TraceId> {
    let page = |round| {
        let query = TraceQuery::in_range(window(oldest, round, HOUR * 6));
        let page = runtime.block_on(store.search(query)).expect("searches");
        page.traces.first().map(|row| row.trace_id)
    };
    (0..ROUNDS + WARM_UP).filter_map(page).collect()
}

/// A store and how it is asked.
struct Asker<'a> {
    store: &'a EmbeddedStore,
    runtime: &'a Runtime,
    oldest: UnixNanos,
    /// Queries and the CPU that each takes, ms.
    costs: RefCell<Costs>,
}

type Costs = Vec<(String, f64)>;

impl Asker<'_> {
    fn measure(&self, name: &str, ask: impl Fn(u64) -> usize) {
        let cost = measure(name, ask);
        self.costs.borrow_mut().push((name.to_owned(), cost));
    }

    fn everything(&self) -> TimeRange {
        TimeRange {
            start: self.oldest,
            end: self.oldest + WEEK + HOUR,
        }
    }

    fn search(&self, range: TimeRange, conditions: &[Condition]) -> usize {
        let query = TraceQuery::in_range(range).with(conditions.iter().cloned());
        let page = self.runtime.block_on(self.store.search(query));
        page.expect("searches").traces.len()
    }

    /// Prints a row of a search in the window of each round.
    fn ask(&self, name: &str, window: impl Fn(u64) -> TimeRange, conditions: &[Condition]) {
        self.measure(name, |round| self.search(window(round), conditions));
    }

    /// Prints a row of a search of the whole week.
    fn ask_week(&self, name: &str, conditions: &[Condition]) {
        self.ask(name, |_| self.everything(), conditions);
    }

    fn ask_in_windows(&self) {
        let oldest = self.oldest;
        let past = |round| TimeRange {
            start: oldest,
            end: window(oldest, round, HOUR).end,
        };
        let day = |round| window(oldest, round, DAY);
        let brief = |round| window(oldest, round, HOUR / 120);
        let service = Condition::service("checkout");
        let operation = Condition::operation("POST /checkout");
        let failed = Condition::Status(StatusCode::Error);
        self.ask_week("newest 20", &[]);
        self.ask("newest 20 before a past moment", past, &[]);
        self.ask("30 s in the past", brief, &[]);
        self.ask("service, past day", day, std::slice::from_ref(&service));
        self.ask("operation, past day", day, &[operation]);
        self.ask("failed, past day", day, std::slice::from_ref(&failed));
        self.ask("service, failed, past day", day, &[service, failed]);
    }

    fn ask_for_few(&self) {
        let service = |name: &str| Condition::service(name);
        let slower = |millis: u64| Condition::Duration {
            min: millis * 1_000_000,
            max: u64::MAX,
        };
        let has = |key: &str, value: &str| [Condition::attribute(key, value)];
        let above = Condition::parse_attribute("thread.id>1000000").expect("a condition");
        self.ask_week("unknown service", &[service("absent")]);
        self.ask_week("unknown operation", &[Condition::operation("nothing")]);
        self.ask_week(
            "service, longer than 2 s",
            &[service("checkout"), slower(2_000)],
        );
        self.ask_week(
            "service, longer than 100 s",
            &[service("checkout"), slower(100_000)],
        );
        self.ask_week("longer than 100 s", &[slower(100_000)]);
        self.ask_week("dictionary text, absent", &has("http.route", "/nowhere"));
        self.ask_week("literal text, absent", &has("enduser.id", "absent"));
        self.ask_week("literal text, rare", &has("enduser.id", "u004711"));
        self.ask_week("number, absent", &has("network.peer.port", "5"));
        self.ask_week(
            "number, absent but in range",
            &has("network.peer.port", "9000"),
        );
        self.ask_week("number, greater, absent", &[above]);
        self.ask_week("unknown key", &has("no.such.key", "1"));
    }

    fn ask_others(&self) {
        let ids = some_ids(self.store, self.runtime, self.oldest);
        self.measure("trace by id", |round| {
            let id = ids[round as usize % ids.len()];
            let trace = self.runtime.block_on(self.store.trace(id)).expect("reads");
            trace.map_or(0, |trace| trace.spans.len())
        });
        self.measure("services of the week", |_| {
            let services = self.store.services(self.everything());
            self.runtime.block_on(services).expect("reads").value.len()
        });
        self.measure("operations of a service", |_| {
            let name = "checkout".to_owned();
            let operations = self.store.operations(name, self.everything());
            self.runtime
                .block_on(operations)
                .expect("reads")
                .value
                .len()
        });
    }
}

fn run(dir: &Path, spans: usize) -> Costs {
    let (store, mut writers) = open(options(dir), Default::default()).expect("opens");
    println!("\n## {spans} spans over seven days\n");
    if store.stats().spans == 0 {
        fill(&mut writers[0], spans, UnixNanos::now());
    }
    println!("resident after filling: {} MiB", resident());
    drop((store, writers));
    let begin = Instant::now();
    let (store, _writers) = open(options(dir), Default::default()).expect("opens");
    let opened = begin.elapsed();
    let begin = Instant::now();
    store.group_segments().expect("the disk works");
    println!("grouped in {:.1?}", begin.elapsed());
    let stats = store.stats();
    let bytes = stats.bytes as f64 / stats.spans as f64;
    println!(
        "opened in {opened:.1?}: {} segments, {bytes:.1} bytes a span",
        stats.segments
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    println!("\n| query | p50 ms | p99 ms | CPU ms | reads | KiB read | rows |");
    println!("|---|---|---|---|---|---|---|");
    let asker = Asker {
        store: &store,
        runtime: &runtime,
        oldest: stats.oldest.unwrap_or_default(),
        costs: RefCell::default(),
    };
    asker.ask_in_windows();
    asker.ask_for_few();
    asker.ask_others();
    println!("\nresident after the queries: {} MiB", resident());
    asker.costs.into_inner()
}

/// Draws what each query costs at each size, longest bars 560 wide.
fn plot(runs: &[(usize, Costs)]) -> String {
    let queries = runs.first().map_or(0, |(_, costs)| costs.len());
    let all = runs.iter().flat_map(|(_, costs)| costs);
    let longest = all.fold(1.0, |longest: f64, (_, ms)| longest.max(*ms));
    let height = queries * (26 + 20 * runs.len()) + 10;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"760\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <title>Milliseconds of CPU that a query about a week costs</title>\n\
         <style>text {{ fill: #222 }} rect {{ fill: #d9480f }}\n\
         @media (prefers-color-scheme: dark) {{ text {{ fill: #ddd }} }}</style>\n"
    );
    let mut y = 0;
    for query in 0..queries {
        y += 22;
        let name = &runs[0].1[query].0;
        let _ = writeln!(
            svg,
            "<text x=\"0\" y=\"{y}\" font-weight=\"bold\">{name}, ms</text>"
        );
        for (spans, costs) in runs {
            y += 20;
            let (ms, millions) = (costs[query].1, *spans as f64 / 1e6);
            let (width, top) = (560.0 * ms / longest, y - 12);
            let _ = writeln!(
                svg,
                "<text x=\"0\" y=\"{y}\">{millions} M spans</text>\
                 <rect x=\"100\" y=\"{top}\" width=\"{width:.0}\" height=\"15\"/>\
                 <text x=\"{:.0}\" y=\"{y}\">{ms:.1}</text>",
                width + 106.0
            );
        }
        y += 4;
    }
    svg + "</svg>\n"
}

fn main() {
    let sizes: Vec<usize> = std::env::args()
        .filter_map(|text| text.parse().ok())
        .collect();
    let sizes = if sizes.is_empty() {
        vec![number_of("STORE_BENCH_SPANS").unwrap_or(1_000_000)]
    } else {
        sizes
    };
    let kept = std::env::var_os("WEEK_DIR").map(PathBuf::from);
    let mut runs = Vec::new();
    for spans in sizes {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let dir = match &kept {
            Some(kept) => kept.join(spans.to_string()),
            None => temporary.path().to_owned(),
        };
        runs.push((spans, run(&dir, spans)));
    }
    if let Some(file) = std::env::var_os("WEEK_PLOT") {
        std::fs::write(file, plot(&runs)).expect("the plot can be written");
    }
}
