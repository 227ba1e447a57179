//! Where services stand on the map: callers left, called right. A pure function of the edges: the same calls
//! always give the same picture.

use std::collections::{BTreeMap, BTreeSet};

/// Width of a box.
pub(crate) const WIDTH: f64 = 178.0;
/// Height of a box.
pub(crate) const HEIGHT: f64 = 46.0;
/// From one column to the next.
const COLUMN: f64 = 316.0;
/// From one row to the next.
const ROW: f64 = 76.0;
/// Around everything.
const MARGIN: f64 = 14.0;
/// Sweeps that put boxes near their neighbours; more change nothing that can be seen.
const SWEEPS: usize = 4;

/// A box.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Place {
    /// Left edge.
    pub(crate) x: f64,
    /// Upper edge.
    pub(crate) y: f64,
}

/// The picture: places by name, and its size.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Layout {
    /// Boxes by name.
    pub(crate) places: BTreeMap<String, Place>,
    /// Width of all.
    pub(crate) width: f64,
    /// Height of all.
    pub(crate) height: f64,
}

/// Places every name that an edge has.
pub(crate) fn layout(edges: &[(&str, &str)]) -> Layout {
    let names: BTreeSet<&str> = edges.iter().flat_map(|(a, b)| [*a, *b]).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let index = |name: &str| names.binary_search(&name).unwrap_or(0);
    let mut ahead = vec![BTreeSet::new(); names.len()];
    for (a, b) in edges.iter().filter(|(a, b)| a != b) {
        ahead[index(a)].insert(index(b));
    }
    let forward = without_cycles(&ahead);
    let columns = columns(&forward);
    let mut grid = vec![Vec::new(); columns.iter().max().map_or(0, |c| c + 1)];
    for (node, column) in columns.iter().enumerate() {
        grid[*column].push(node);
    }
    untangle(&mut grid, &forward);
    let tallest = grid.iter().map(Vec::len).max().unwrap_or(0);
    let mut places = BTreeMap::new();
    for (column, nodes) in grid.iter().enumerate() {
        let above = (tallest - nodes.len()) as f64 * ROW / 2.0;
        for (row, node) in nodes.iter().enumerate() {
            let x = MARGIN + column as f64 * COLUMN;
            let y = MARGIN + above + row as f64 * ROW;
            places.insert(names[*node].to_owned(), Place { x, y });
        }
    }
    Layout {
        places,
        width: 2.0 * MARGIN + grid.len().saturating_sub(1) as f64 * COLUMN + WIDTH,
        height: 2.0 * MARGIN + tallest.saturating_sub(1) as f64 * ROW + HEIGHT,
    }
}

/// Drops the edges that lead back to where a walk came from; roots are walked first.
fn without_cycles(ahead: &[BTreeSet<usize>]) -> Vec<Vec<usize>> {
    let called: BTreeSet<usize> = ahead.iter().flatten().copied().collect();
    let roots = (0..ahead.len()).filter(|node| !called.contains(node));
    let mut forward = vec![Vec::new(); ahead.len()];
    let (mut entered, mut left) = (vec![false; ahead.len()], vec![false; ahead.len()]);
    for start in roots.chain(0..ahead.len()) {
        let mut path = vec![(start, ahead[start].iter())];
        if std::mem::replace(&mut entered[start], true) {
            continue;
        }
        while let Some((node, rest)) = path.last_mut() {
            let node = *node;
            match rest.next() {
                None => {
                    left[node] = true;
                    path.pop();
                }
                Some(next) => {
                    if !entered[*next] || left[*next] {
                        forward[node].push(*next);
                    }
                    if !std::mem::replace(&mut entered[*next], true) {
                        path.push((*next, ahead[*next].iter()));
                    }
                }
            }
        }
    }
    forward
}

/// Returns each node's column: one right of its rightmost caller.
fn columns(forward: &[Vec<usize>]) -> Vec<usize> {
    let mut waiting_for = vec![0; forward.len()];
    for next in forward.iter().flatten() {
        waiting_for[*next] += 1;
    }
    let mut columns = vec![0; forward.len()];
    let mut ready: Vec<usize> = (0..forward.len())
        .filter(|n| waiting_for[*n] == 0)
        .collect();
    while let Some(node) = ready.pop() {
        for next in &forward[node] {
            columns[*next] = columns[*next].max(columns[node] + 1);
            waiting_for[*next] -= 1;
            if waiting_for[*next] == 0 {
                ready.push(*next);
            }
        }
    }
    columns
}

/// Sorts each column by where its neighbours stand, to and fro.
fn untangle(grid: &mut [Vec<usize>], forward: &[Vec<usize>]) {
    let mut back = vec![Vec::new(); forward.len()];
    for (node, next) in forward.iter().enumerate() {
        next.iter().for_each(|n| back[*n].push(node));
    }
    let mut height = vec![0.0; forward.len()];
    for sweep in 0..SWEEPS {
        let (neighbours, order): (&[Vec<usize>], Vec<usize>) = match sweep % 2 {
            0 => (&back, (0..grid.len()).collect()),
            _ => (forward, (0..grid.len()).rev().collect()),
        };
        for column in order {
            let mean = |node: &usize| {
                let near = &neighbours[*node];
                let sum: f64 = near.iter().map(|n| height[*n]).sum();
                if near.is_empty() {
                    height[*node]
                } else {
                    sum / near.len() as f64
                }
            };
            let mut keyed: Vec<(f64, usize)> = grid[column].iter().map(|n| (mean(n), *n)).collect();
            keyed.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            let middle = keyed.len() as f64 / 2.0;
            for (row, (_, node)) in keyed.iter().enumerate() {
                height[*node] = row as f64 - middle;
            }
            grid[column] = keyed.into_iter().map(|(_, node)| node).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn callers_stand_left_of_what_they_call() {
        let edges = [
            ("gateway", "page"),
            ("page", "stock"),
            ("page", "price"),
            ("gateway", "price"),
            ("stock", "gateway"),
        ];
        let layout = layout(&edges);
        let x = |name: &str| layout.places[name].x;
        assert!(x("gateway") < x("page") && x("page") < x("stock"));
        assert_eq!(x("stock"), x("price"));
        assert_eq!(layout.places.len(), 4);
    }

    #[test]
    fn nothing_and_a_call_to_oneself_are_no_trouble() {
        assert!(layout(&[]).places.is_empty());
        assert_eq!(layout(&[("a", "a")]).places.len(), 1);
    }

    proptest! {
        /// Whatever calls whom: every service has a place, no two the same, all within the picture.
        #[test]
        fn every_service_has_its_own_place(pairs in prop::collection::vec((0_u8..12, 0_u8..12), 0..50)) {
            let names: Vec<String> = (0..12).map(|n| format!("s{n}")).collect();
            let edges: Vec<(&str, &str)> = pairs.iter().map(|(a, b)| (names[*a as usize].as_str(), names[*b as usize].as_str())).collect();
            let picture = layout(&edges);
            let mut spots: Vec<(i64, i64)> = picture.places.values().map(|p| (p.x as i64, p.y as i64)).collect();
            prop_assert!(picture.places.values().all(|p| p.x + WIDTH <= picture.width && p.y + HEIGHT <= picture.height));
            spots.sort_unstable();
            spots.dedup();
            prop_assert_eq!(spots.len(), picture.places.len());
            prop_assert_eq!(picture, layout(&edges));
        }
    }
}
