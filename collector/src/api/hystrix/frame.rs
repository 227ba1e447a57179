//! Frames: all breakers in one second, computed once for all readers while there are any.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::Receiver;
use tokio::time::{MissedTickBehavior, interval};

use super::around::{self, Around};
use super::row::Row;
use crate::live::circuits::CircuitFigures;
use crate::model::policy::{COLLAPSER, POOL, PolicyView};
use crate::model::{CircuitKey, UnixNanos};
use crate::query::{Hub, QueryService};
use crate::stop::Stop;

/// Concurrent readers. Each holds a frame while sending it, at most 5 MB with the maximum of 10,000 breakers.
const READERS_MAX: usize = 16;
/// Frames that a reader may lag before it skips to the newest.
const LAG_MAX: usize = 1;
const PERIOD: Duration = Duration::from_secs(1);
/// Frames over which the maximum of running calls is computed (Hystrix's window of ten seconds).
const LOOKS: usize = 10;

/// The answer when the limit of readers is reached.
pub(super) const FULL: &str =
    "hystrix.stream and turbine.stream have 16 readers already, or the collector is stopping";

/// All breakers in one second.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) time_ms: u64,
    pub(super) rows: Vec<Row>,
    pub(super) policies: Vec<PolicyView>,
    pub(super) hosts: usize,
}

#[derive(Debug)]
pub(in crate::api) struct Frames(Hub<Arc<Frame>>);

impl Default for Frames {
    fn default() -> Self {
        Self(Hub::new(READERS_MAX, LAG_MAX))
    }
}

impl Frames {
    /// Returns a receiver of frames; `None` if there are too many.
    pub(super) fn subscribe(
        self: &Arc<Self>,
        query: &QueryService,
        stop: &Stop,
    ) -> Option<Receiver<Arc<Frame>>> {
        let start = || {
            let (frames, query, stop) = (Arc::clone(self), query.clone(), stop.clone());
            tokio::spawn(async move { frames.run(query, stop).await });
        };
        self.0.subscribe(start)
    }

    async fn run(&self, query: QueryService, mut stop: Stop) {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut peaks = Peaks::default();
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.requested() => return self.0.close(),
            }
            let frame = look(&query, &mut peaks).await;
            if !self.0.send(frame.map(Arc::new)) {
                return;
            }
        }
    }
}

/// Returns the current frame; `None` if there is no room for it.
async fn look(query: &QueryService, peaks: &mut Peaks) -> Option<Frame> {
    let _admitted = query.admission().admit(query.wall_cost()).await.ok()?;
    let figures = query.circuits().figures().await.ok()?;
    let policies = query.circuits().policies(None);
    Some(Frame::new(&figures, policies, peaks, UnixNanos::now()))
}

impl Frame {
    pub(super) fn new(
        figures: &[CircuitFigures],
        mut policies: Vec<PolicyView>,
        peaks: &mut Peaks,
        now: UnixNanos,
    ) -> Self {
        peaks.look(figures);
        let around = Around::of(&policies);
        let row = |figures: &CircuitFigures| {
            let most = peaks.of(&figures.view.key);
            Row::new(figures, most, around.of_breaker(&figures.view.key))
        };
        let live = figures.iter().flat_map(|figures| {
            let live = figures
                .view
                .instances
                .iter()
                .filter(|instance| !instance.stale);
            live.map(|instance| (&figures.view.key.service, &instance.id))
        });
        let hosts = live.collect::<HashSet<_>>().len();
        let rows = figures.iter().filter_map(row).collect();
        policies.retain(|policy| match policy.kind {
            // Like Hystrix, which sends a pool once it has run something.
            POOL => policy.recently("executed") > 0 || around::completed(policy) > 0,
            kind => kind == COLLAPSER,
        });
        Self {
            time_ms: now.get() / 1_000_000,
            hosts,
            rows,
            policies,
        }
    }
}

/// The running calls of each breaker in the last frames.
#[derive(Debug, Default)]
pub(super) struct Peaks(HashMap<CircuitKey, VecDeque<u64>>);

impl Peaks {
    fn look(&mut self, figures: &[CircuitFigures]) {
        let mut before = std::mem::take(&mut self.0);
        for CircuitFigures { view, .. } in figures {
            let mut looks = before.remove(&view.key).unwrap_or_default();
            looks.push_back(view.in_flight);
            if looks.len() > LOOKS {
                looks.pop_front();
            }
            self.0.insert(view.key.clone(), looks);
        }
    }

    fn of(&self, key: &CircuitKey) -> u64 {
        let looks = self.0.get(key).into_iter().flatten();
        looks.copied().max().unwrap_or(0)
    }
}
