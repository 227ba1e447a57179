//! Loads the names that the server already has, so that a second collector, or one without its file of names,
//! does not admit a second set.

use super::super::wire::client::{Client, is_too_large};
use super::super::wire::query::{Query, Series};
use super::{
    BREAKERS_MAX, INSTANCES_PER_SERVICE_MAX, Names, OPERATIONS_PER_SERVICE_MAX, Owned, PEERS_MAX,
    SERVICES_MAX,
};
use crate::store::StoreError;
use crate::store::influxdb::schema::{
    CIRCUIT_STATE, DEP, DESTINATION, INSTANCE, INSTANCE_SEEN, LOG, Measurement, NAME, OPERATION,
    RED, SERVICE, SOURCE, SPAN_IDX,
};

/// Services in one request: three statements each, a millisecond or two apiece.
const SERVICES_PER_REQUEST: usize = 20;

/// The kinds of names within a service: tag, measurements, limit.
const OWNED: [(Owned, &str, &[Measurement], usize); 3] = [
    (
        Owned::Operation,
        OPERATION,
        &[RED, SPAN_IDX],
        OPERATIONS_PER_SERVICE_MAX,
    ),
    (Owned::Breaker, NAME, &[CIRCUIT_STATE], BREAKERS_MAX),
    (
        Owned::Instance,
        INSTANCE,
        &[INSTANCE_SEEN, CIRCUIT_STATE],
        INSTANCES_PER_SERVICE_MAX,
    ),
];

/// Fills the tables with the names on the server; a missing database has none.
///
/// # Errors
/// When the query fails.
pub(crate) async fn learn_names(client: &Client, names: &Names) -> Result<(), StoreError> {
    let mut query = Query::default();
    let services = [RED, SPAN_IDX, LOG, CIRCUIT_STATE, INSTANCE_SEEN];
    tag_values(&mut query, &services, SERVICE, None, SERVICES_MAX);
    tag_values(&mut query, &[DEP], SOURCE, None, PEERS_MAX);
    tag_values(&mut query, &[DEP], DESTINATION, None, PEERS_MAX);
    let mut answers = known(client, &query).await?.into_iter();
    let mut services = values(&answers.next().unwrap_or_default());
    services.truncate(SERVICES_MAX);
    for peer in answers.flat_map(|answer| values(&answer)).take(PEERS_MAX) {
        names.learn_peer(&peer);
    }
    for some in services.chunks(SERVICES_PER_REQUEST) {
        match learn_owned(client, names, some).await {
            Err(error) if is_too_large(&error) => {
                for one in some.chunks(1) {
                    learn_owned(client, names, one).await?;
                }
            }
            learned => learned?,
        }
    }
    services
        .iter()
        .for_each(|service| names.learn_service(service));
    Ok(())
}

async fn learn_owned(
    client: &Client,
    names: &Names,
    services: &[String],
) -> Result<(), StoreError> {
    let mut query = Query::default();
    let asked: Vec<_> = services
        .iter()
        .flat_map(|service| OWNED.map(|owned| (service, owned)))
        .collect();
    for (service, (_, tag, measurements, most)) in &asked {
        tag_values(&mut query, measurements, tag, Some(service), *most);
    }
    let answers = known(client, &query).await?;
    for ((service, (kind, _, _, most)), answer) in asked.into_iter().zip(answers) {
        for name in values(&answer).into_iter().take(most) {
            names.learn_owned(kind, service, &name);
        }
    }
    Ok(())
}

fn tag_values(
    query: &mut Query,
    measurements: &[Measurement],
    tag: &str,
    service: Option<&str>,
    most: usize,
) {
    let from: Vec<_> = measurements
        .iter()
        .map(|measurement| format!("\"{}\"", measurement.name))
        .collect();
    query.push(&format!(
        "SHOW TAG VALUES FROM {} WITH KEY = \"{tag}\"",
        from.join(", ")
    ));
    if let Some(service) = service {
        query.push(&format!(" WHERE \"{SERVICE}\" = "));
        query.text(service);
    }
    query.push(&format!(" LIMIT {most}; "));
}

/// Runs the query. A missing database (InfluxDB 3 creates it with the first write) has no names. Nor does one
/// that the token may only write to: names of an earlier run may then be admitted a second time, which does
/// not justify refusing to write.
async fn known(client: &Client, query: &Query) -> Result<Vec<Vec<Series>>, StoreError> {
    match client.queries(query).await {
        Err(StoreError::Remote { problem, .. }) if problem.contains("not found") => Ok(Vec::new()),
        Err(StoreError::Remote { problem, url, .. }) if is_forbidden(&problem) => {
            tracing::warn!(
                url,
                problem,
                "the token must not read from InfluxDB; grant it that right too"
            );
            Ok(Vec::new())
        }
        answer => answer,
    }
}

/// Returns whether an error means that reading is forbidden: 1.x says so, 2.9.1 hides the bucket and reports
/// a missing retention policy, or nothing if there are several statements.
fn is_forbidden(problem: &str) -> bool {
    ["not authorized", "retention policy not set", "not executed"]
        .iter()
        .any(|words| problem.contains(words))
}

/// Returns the distinct values in the order of the answer.
fn values(answer: &[Series]) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    let mut all = Vec::new();
    for series in answer {
        let Some(column) = series.column("value") else {
            continue;
        };
        for row in &series.rows {
            let value = row.get(column).and_then(|cell| cell.as_text());
            if let Some(value) = value.filter(|value| seen.insert(value.to_string())) {
                all.push(value.to_owned());
            }
        }
    }
    all
}
