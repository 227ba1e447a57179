//! Turns what `cargo bench` has left in the target folder into the table and the plot of the crate's README: medians, in
//! nanoseconds a call. The table goes to standard output, the plot to the file that is named.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

const CASES: [&str; 4] = [
    "closed, successful, 1 thread(s)",
    "closed, successful, 2 thread(s)",
    "open, refused, 1 thread(s)",
    "open, refused, 2 thread(s)",
];

/// What was timed, from the cheapest way of this crate to the other crates.
const NAMES: [&str; 8] = [
    "clock read alone",
    "fusebox, permit",
    "fusebox, call",
    "fusebox, layer",
    "fusebox, command",
    "recloser",
    "failsafe",
    "tower-resilience",
];

const ROW: u32 = 22;
const LEFT: u32 = 150;
const WIDTH: u32 = 760;

/// The medians of one case, in the order of the names.
struct Case {
    title: &'static str,
    medians: Vec<(&'static str, Option<f64>)>,
}

fn main() -> io::Result<()> {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let cases = CASES.map(|title| Case::read(&target.join("criterion"), title));
    print!("{}", table(&cases));
    match env::args_os().nth(1) {
        Some(plot) => fs::write(plot, svg(&cases)),
        None => Ok(()),
    }
}

impl Case {
    fn read(criterion: &Path, title: &'static str) -> Self {
        let folder = criterion.join(title);
        let medians = NAMES.map(|name| (name, median(&folder.join(name))));
        let medians = medians.to_vec();
        Self { title, medians }
    }

    fn slowest(&self) -> f64 {
        let known = self.medians.iter().filter_map(|(_, median)| *median);
        known.fold(0.0, f64::max)
    }
}

/// Returns the median of a bench that has run.
fn median(folder: &Path) -> Option<f64> {
    let text = fs::read_to_string(folder.join("new/estimates.json")).ok()?;
    let estimates: serde_json::Value = serde_json::from_str(&text).ok()?;
    estimates["median"]["point_estimate"].as_f64()
}

fn table(cases: &[Case]) -> String {
    let mut text = String::from("| ns a call |");
    cases
        .iter()
        .for_each(|case| text += &format!(" {} |", case.title));
    text += "\n|---|";
    text += &"---|".repeat(cases.len());
    for (at, name) in NAMES.iter().enumerate() {
        text += &format!("\n| {name} |");
        for case in cases {
            text += &match case.medians[at].1 {
                Some(nanos) => format!(" {nanos:.0} |"),
                None => " |".to_owned(),
            };
        }
    }
    text + "\n"
}

fn svg(cases: &[Case]) -> String {
    let rows: usize = cases.iter().map(|case| case.medians.len() + 2).sum();
    let height = rows as u32 * ROW;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <title>Nanoseconds that a circuit breaker adds to a call</title>\n\
         <style>text {{ fill: #222 }} rect {{ fill: #9aa4ad }} rect.own {{ fill: #d9480f }}\n\
         @media (prefers-color-scheme: dark) {{ text {{ fill: #ddd }} }}</style>\n"
    );
    let mut y = ROW;
    for case in cases {
        bars(&mut svg, case, &mut y);
    }
    svg + "</svg>\n"
}

/// Draws the bars of a case, each case with a scale of its own.
fn bars(svg: &mut String, case: &Case, y: &mut u32) {
    let _ = writeln!(
        svg,
        "<text x=\"0\" y=\"{y}\" font-weight=\"bold\">{}, ns</text>",
        case.title
    );
    let scale = f64::from(WIDTH - LEFT - 60) / case.slowest().max(1.0);
    for (name, median) in &case.medians {
        let Some(nanos) = median else { continue };
        *y += ROW;
        let class = if name.starts_with("fusebox") {
            " class=\"own\""
        } else {
            ""
        };
        let (length, top) = ((nanos * scale).max(1.0), *y - 13);
        let _ = writeln!(
            svg,
            "<text x=\"0\" y=\"{y}\">{name}</text><rect{class} x=\"{LEFT}\" y=\"{top}\" width=\"{length:.0}\" height=\"16\"/>\
             <text x=\"{:.0}\" y=\"{y}\">{nanos:.0}</text>",
            f64::from(LEFT) + length + 6.0
        );
    }
    *y += 2 * ROW;
}
