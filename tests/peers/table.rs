//! The measurements as a table in Markdown, and spans a second a core as bars.

use crate::ask::Latency;
use crate::kill::Missing;

/// Characters of the longest bar.
const BAR: f64 = 60.0;

/// What was measured of one peer; `None` is what could not be.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// Spans a second of a core, by the CPU until the last answer.
    pub(crate) at_once: f64,
    /// The same by the CPU until 20 s later.
    pub(crate) settled: f64,
    pub(crate) bytes_per_span: Option<f64>,
    pub(crate) peak_mib: f64,
    pub(crate) by_id: Option<Latency>,
    pub(crate) search: Option<Latency>,
    pub(crate) missing: Option<Missing>,
}

/// Prints all of it.
pub(crate) fn print(rows: &[Row]) {
    println!(
        "| | spans/s a core | with 20 s after | bytes a span | peak MiB | by id p50/p99 ms | search p50/p99 ms | missing after `kill -9` |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    rows.iter().for_each(|row| println!("{}", row.line()));
    let most = rows.iter().map(|row| row.settled).fold(1.0, f64::max);
    println!("\nspans a second of a core, all background work until 20 s after counted\n");
    for row in rows {
        let bar = "█".repeat((row.settled / most * BAR).round() as usize);
        println!("{:>20} {bar} {:.0} k", row.name, row.settled / 1e3);
    }
}

impl Row {
    fn line(&self) -> String {
        let dash = || "–".to_owned();
        let bytes = self
            .bytes_per_span
            .map_or_else(dash, |bytes| format!("{bytes:.1}"));
        let latency = |latency: Option<Latency>| {
            let ms = |duration: std::time::Duration| duration.as_secs_f64() * 1e3;
            latency.map_or_else(dash, |(p50, p99)| {
                format!("{:.1} / {:.1}", ms(p50), ms(p99))
            })
        };
        let missing = self.missing.map_or_else(dash, |found| {
            format!("{} of {}", found.missing, found.acknowledged)
        });
        format!(
            "| {} | {:.0} k | {:.0} k | {bytes} | {:.0} | {} | {} | {missing} |",
            self.name,
            self.at_once / 1e3,
            self.settled / 1e3,
            self.peak_mib,
            latency(self.by_id),
            latency(self.search),
        )
    }
}
