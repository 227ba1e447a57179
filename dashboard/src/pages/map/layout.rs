//! The positions of services on the map: callers are left of callees, and calls over several columns pass between the
//! boxes. A pure function of the edges: the same calls always give the same picture.

use std::collections::{BTreeMap, BTreeSet};

/// Width of a box.
pub(crate) const WIDTH: f64 = 178.0;
/// Height of a box.
pub(crate) const HEIGHT: f64 = 46.0;
/// Horizontal distance of columns.
const COLUMN: f64 = 256.0;
/// Vertical gap between boxes.
const GAP: f64 = 30.0;
/// Height reserved for calls that pass between boxes.
const LANE: f64 = 10.0;
/// Margin around the picture.
const MARGIN: f64 = 14.0;
/// Sweeps that move boxes near their neighbours; more make no visible difference.
const SWEEPS: usize = 4;

/// A box.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Place {
    /// Left edge.
    pub(crate) x: f64,
    /// Upper edge.
    pub(crate) y: f64,
}

/// The picture: positions by name, routes between them, and its size.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Layout {
    /// Positions of boxes by name.
    pub(crate) places: BTreeMap<String, Place>,
    /// By caller and callee, the positions where a call over several columns passes each column: left edge and height.
    pub(crate) ways: BTreeMap<(String, String), Vec<Place>>,
    /// Width of the picture.
    pub(crate) width: f64,
    /// Height of the picture.
    pub(crate) height: f64,
}

/// Computes a position for every name in an edge.
pub(crate) fn layout(edges: &[(&str, &str)]) -> Layout {
    let names: BTreeSet<&str> = edges.iter().flat_map(|(a, b)| [*a, *b]).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let index = |name: &str| names.binary_search(&name).unwrap_or(0);
    let mut ahead = vec![BTreeSet::new(); names.len()];
    for (a, b) in edges.iter().filter(|(a, b)| a != b) {
        ahead[index(a)].insert(index(b));
    }
    let graph = Graph::new(without_cycles(&ahead));
    let mut grid = vec![Vec::new(); graph.columns.iter().max().map_or(0, |c| c + 1)];
    for (node, column) in graph.columns.iter().enumerate() {
        grid[*column].push(node);
    }
    untangle(&mut grid, &graph.forward);
    let (spots, tallest) = stand(&grid, names.len(), graph.columns.len());
    let name = |node: usize| names[node].to_owned();
    let lane = |lane: &usize| Place {
        x: spots[*lane].x,
        y: spots[*lane].y + LANE / 2.0,
    };
    let ways = graph.ways.iter().map(|((from, to), way)| {
        let ends = (name(*from), name(*to));
        (ends, way.iter().map(lane).collect())
    });
    let places = (0..names.len()).map(|node| (name(node), spots[node].clone()));
    Layout {
        places: places.collect(),
        ways: ways.collect(),
        width: 2.0 * MARGIN + grid.len().saturating_sub(1) as f64 * COLUMN + WIDTH,
        height: 2.0 * MARGIN + tallest.max(HEIGHT),
    }
}

/// Returns the position of each node, and the height of the tallest column; nodes after the services are lanes.
fn stand(grid: &[Vec<usize>], services: usize, nodes: usize) -> (Vec<Place>, f64) {
    let tall = |node: &usize| if *node < services { HEIGHT } else { LANE };
    let height_of = |nodes: &Vec<usize>| {
        let gaps = nodes.len().saturating_sub(1) as f64 * GAP;
        nodes.iter().map(tall).sum::<f64>() + gaps
    };
    let tallest = grid.iter().map(height_of).fold(0.0, f64::max);
    let mut spots = vec![Place { x: 0.0, y: 0.0 }; nodes];
    for (column, nodes) in grid.iter().enumerate() {
        let x = MARGIN + column as f64 * COLUMN;
        let mut y = MARGIN + (tallest - height_of(nodes)) / 2.0;
        for node in nodes {
            spots[*node] = Place { x, y };
            y += tall(node) + GAP;
        }
    }
    (spots, tallest)
}

/// Services and lanes, without cycles, each in its column. A call that skips columns has a lane in each of them; calls
/// to the same service share lanes, so that a database with many callers needs only one.
#[derive(Debug)]
struct Graph {
    /// By node, its successors; lanes come after the services.
    forward: Vec<Vec<usize>>,
    /// By node, its column.
    columns: Vec<usize>,
    /// By caller and callee, the lanes between them.
    ways: BTreeMap<(usize, usize), Vec<usize>>,
}

impl Graph {
    fn new(forward: Vec<Vec<usize>>) -> Self {
        let columns = columns(&forward);
        let mut graph = Self {
            forward: vec![Vec::new(); forward.len()],
            columns,
            ways: BTreeMap::new(),
        };
        let mut lanes = BTreeMap::new();
        for (from, next) in forward.iter().enumerate() {
            next.iter().for_each(|to| graph.add(from, *to, &mut lanes));
        }
        graph
    }

    fn add(&mut self, from: usize, to: usize, lanes: &mut BTreeMap<(usize, usize), usize>) {
        let between = self.columns[from] + 1..self.columns[to];
        let way: Vec<usize> = between
            .map(|column| {
                *lanes
                    .entry((to, column))
                    .or_insert_with(|| self.lane(column))
            })
            .collect();
        let mut last = from;
        for next in way.iter().chain([&to]) {
            if !self.forward[last].contains(next) {
                self.forward[last].push(*next);
            }
            last = *next;
        }
        if !way.is_empty() {
            self.ways.insert((from, to), way);
        }
    }

    fn lane(&mut self, column: usize) -> usize {
        self.columns.push(column);
        self.forward.push(Vec::new());
        self.columns.len() - 1
    }
}

/// Removes the edges that lead back to a node of the current path; roots are visited first.
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

/// Sorts each column by the positions of its neighbours, in both directions.
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
        assert_eq!(layout.ways.len(), 1, "only gateway to price skips a column");
    }

    #[test]
    fn nothing_and_a_call_to_oneself_are_no_trouble() {
        assert!(layout(&[]).places.is_empty());
        assert_eq!(layout(&[("a", "a")]).places.len(), 1);
    }

    proptest! {
        /// Guarantees: for any calls, every service has its own position within the picture.
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

        /// Guarantees: for any calls, no box is where a call passes a column.
        #[test]
        fn calls_pass_between_boxes(pairs in prop::collection::vec((0_u8..12, 0_u8..12), 0..50)) {
            let names: Vec<String> = (0..12).map(|n| format!("s{n}")).collect();
            let edges: Vec<(&str, &str)> = pairs.iter().map(|(a, b)| (names[*a as usize].as_str(), names[*b as usize].as_str())).collect();
            let picture = layout(&edges);
            for (ends, way) in &picture.ways {
                let from = picture.places[&ends.0].x;
                let expected: Vec<f64> = (1..=way.len()).map(|n| from + n as f64 * COLUMN).collect();
                prop_assert_eq!(way.iter().map(|lane| lane.x).collect::<Vec<_>>(), expected);
                prop_assert_eq!(picture.places[&ends.1].x, from + (way.len() + 1) as f64 * COLUMN);
                for lane in way {
                    let boxes = picture.places.values().filter(|place| place.x == lane.x);
                    for place in boxes {
                        prop_assert!(lane.y < place.y || lane.y > place.y + HEIGHT);
                    }
                }
            }
        }
    }
}
