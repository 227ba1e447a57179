//! The InfluxDB behind the collector on `/metrics`, if there is one.

use super::exposition::Exposition;
use crate::store::influxdb::InfluxdbReport;

pub(super) fn write(text: &mut Exposition, report: &InfluxdbReport) {
    let figures = &report.figures;
    let totals = [
        (
            "requests",
            "Requests to InfluxDB that wrote.",
            figures.requests,
        ),
        ("bytes", "Bytes of lines sent to InfluxDB.", figures.bytes),
        ("points", "Points that InfluxDB took.", figures.points),
        (
            "retries",
            "Requests to InfluxDB that were sent again.",
            figures.retries,
        ),
        (
            "bisections",
            "Requests to InfluxDB that were halved, to find a line or to fit.",
            figures.bisections,
        ),
        ("spans", "Spans that are wholly in InfluxDB.", figures.spans),
        (
            "log_records",
            "Log records that are wholly in InfluxDB.",
            figures.log_records,
        ),
        (
            "names_capped",
            "Names written as __other__ because there were too many.",
            report.names_capped,
        ),
        (
            "spans_lost",
            "Spans that the retention or the disk budget took before they were in InfluxDB, ever.",
            report.spans_lost,
        ),
        (
            "log_records_lost",
            "Log records that the retention or the disk budget took before they were in InfluxDB, ever.",
            report.log_records_lost,
        ),
    ];
    for (name, help, value) in totals {
        let name = format!("fusebox_collector_influxdb_{name}_total");
        text.single(&name, "counter", help, value);
    }
    let refused = "fusebox_collector_influxdb_points_refused_total";
    text.family(refused, "counter", "Points that InfluxDB will never take.");
    for (reason, count) in &figures.points_refused {
        text.sample(refused, &[("reason", reason)], count);
    }
    write_gauges(text, report);
}

fn write_gauges(text: &mut Exposition, report: &InfluxdbReport) {
    let gauges = [
        (
            "up",
            "Whether InfluxDB took or answered the last request.",
            u64::from(report.figures.reachable),
        ),
        (
            "backlog_spans",
            "Spans in the journal that are not in InfluxDB yet.",
            report.backlog_spans,
        ),
        (
            "backlog_bytes",
            "Bytes of the journal that these take.",
            report.backlog_bytes,
        ),
        (
            "backlog_log_records",
            "Log records that are not in InfluxDB yet.",
            report.backlog_log_records,
        ),
    ];
    for (name, help, value) in gauges {
        let name = format!("fusebox_collector_influxdb_{name}");
        text.single(&name, "gauge", help, value);
    }
}
