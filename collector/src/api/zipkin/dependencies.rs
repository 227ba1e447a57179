//! Who calls whom, as Zipkin's list of links.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::super::ApiState;
use super::params::Params;
use super::question::range_before;
use super::refusal::Refusal;
use crate::model::DependencyLink;

/// Calls from one service to another.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Link {
    parent: String,
    child: String,
    call_count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_count: Option<u64>,
}

/// `GET /dependencies?endTs&lookback`
pub(super) async fn dependencies(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Json<Vec<Link>>, Refusal> {
    params.required("endTs")?;
    let end = params.positive::<i64>("endTs")?;
    let end = end.ok_or_else(|| Refusal::missing("endTs"))?;
    let range = range_before(end.cast_unsigned(), &params)?;
    Ok(Json(render(state.query.dependencies(range).await?)))
}

/// Returns the links by lower-case names, those that differ in case alone as one.
fn render(links: Vec<DependencyLink>) -> Vec<Link> {
    let mut counts: BTreeMap<(String, String), (u64, u64)> = BTreeMap::new();
    for link in links {
        let ends = (link.parent.to_lowercase(), link.child.to_lowercase());
        let (calls, errors) = counts.entry(ends).or_default();
        *calls += link.call_count;
        *errors += link.error_count;
    }
    let link = |((parent, child), (call_count, errors))| Link {
        parent,
        child,
        call_count,
        error_count: Some(errors).filter(|errors| *errors > 0),
    };
    counts.into_iter().map(link).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(parent: &str, child: &str, call_count: u64, error_count: u64) -> DependencyLink {
        DependencyLink {
            parent: parent.to_owned(),
            child: child.to_owned(),
            child_is_virtual: false,
            call_count,
            error_count,
            circuits: Vec::new(),
        }
    }

    #[test]
    fn links_whose_names_differ_in_case_are_one() {
        let links = vec![
            link("Shop", "stock", 3, 1),
            link("shop", "Stock", 2, 0),
            link("shop", "mail", 1, 0),
        ];
        let json = serde_json::to_value(render(links)).unwrap();
        let expected = serde_json::json!([
            {"parent": "shop", "child": "mail", "callCount": 1},
            {"parent": "shop", "child": "stock", "callCount": 5, "errorCount": 1},
        ]);
        assert_eq!(json, expected);
    }
}
