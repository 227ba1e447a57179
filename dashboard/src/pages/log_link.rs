//! The link from a trace to its log records in another system, by a template that the settings hold. The collector's own log
//! records are on the page of the trace.

use fusebox_collector::model::Trace;

use super::view::text::MINUTE;

/// Longest template, in bytes: addresses of Grafana and Kibana have some 500.
const BYTES_MAX: usize = 4 << 10;
/// What a template may name.
const NAMES: [&str; 3] = ["{trace}", "{start}", "{end}"];

/// Validates a template.
///
/// # Errors
/// Describes what is wrong with it.
pub(crate) fn checked(template: &str) -> Result<String, String> {
    let is_http = ["http://", "https://"]
        .iter()
        .any(|scheme| template.starts_with(scheme));
    if !is_http {
        return Err("must begin with http:// or https://".to_owned());
    }
    if template.len() > BYTES_MAX || template.chars().any(|c| c.is_control() || c == ' ') {
        return Err(format!(
            "must have at most {BYTES_MAX} bytes, without blanks"
        ));
    }
    if !template.contains(NAMES[0]) || host(template).contains(['{', '}']) {
        return Err(format!("must contain {} behind the host", NAMES[0]));
    }
    Ok(template.to_owned())
}

/// Returns the host of a template, to say where the link leads.
pub(crate) fn host(template: &str) -> &str {
    let (_, rest) = template.split_once("://").unwrap_or(("", template));
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

/// Returns the address for a trace. Records are written before and after the spans they belong to, so a minute is added on
/// both sides.
pub(crate) fn href(template: &str, trace: &Trace) -> String {
    let starts = trace.spans.iter().map(|span| span.start.get());
    let ends = trace.spans.iter().map(|span| span.end.get());
    let start = starts.min().unwrap_or(0).saturating_sub(MINUTE) / 1_000_000;
    let end = ends.max().unwrap_or(0).saturating_add(MINUTE) / 1_000_000;
    let values = [trace.id.to_string(), start.to_string(), end.to_string()];
    let pairs = NAMES.iter().zip(&values);
    pairs.fold(template.to_owned(), |href, (name, value)| {
        href.replace(name, value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::tests::fixtures;

    #[test]
    fn the_template_gets_the_id_and_the_times_of_the_trace() {
        let trace = fixtures::trace();
        let template = "https://logs.example/search?q={trace}&from={start}&to={end}";
        let template = checked(template).expect("a template");
        let start = trace.spans[0].start.millis() - 60_000;
        let wanted = format!("search?q={}&from={start}&to=", trace.id);
        assert_eq!(host(&template), "logs.example");
        let href = href(&template, &trace);
        assert!(href.contains(&wanted) && !href.contains('{'), "{href}");
    }

    #[test]
    fn an_invalid_template_is_refused() {
        for template in [
            "javascript:alert({trace})",
            "logs.example/{trace}",
            "https://logs.example/",
            "https://{trace}.example/{trace}",
            "https://logs.example/{trace} x",
        ] {
            assert!(checked(template).is_err(), "{template}");
        }
    }
}
