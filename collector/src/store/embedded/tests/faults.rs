//! Disks that are full, broken or without power: what was acknowledged is found, and nothing is found that was not sent.

use std::collections::BTreeMap;
use std::io::ErrorKind;

use proptest::prelude::*;

use super::super::{EmbeddedStore, ShardWriter, SpanLog};
use super::support::*;
use crate::log::{Fault, FaultyDisk};
use crate::model::Span;
use crate::store::TraceReader;

#[derive(Debug, Clone)]
enum Step {
    /// Write a block of this many spans.
    Commit(u64),
    /// Seal the segment, which also merges small blocks.
    Seal,
    /// Make a number of disk calls fail, starting with the `after`th.
    Fail {
        after: u64,
        calls: u64,
        fault: Fault,
    },
    /// Kill the process and start again.
    Kill,
    /// As `Kill`, and of unsynced data keep `kept` bytes, possibly as zeros.
    LosePower { kept: u64, is_zero: bool },
}

fn step() -> impl Strategy<Value = Step> {
    let errors = prop_oneof![Just(ErrorKind::StorageFull), Just(ErrorKind::Other)];
    let fault = (errors, prop_oneof![Just(0), 1..64_usize, Just(usize::MAX)]);
    let fault = fault.prop_map(|(error, written)| Fault { error, written });
    prop_oneof![
        6 => (1..6_u64).prop_map(Step::Commit),
        2 => Just(Step::Seal),
        3 => (0..8_u64, 1..6_u64, fault)
            .prop_map(|(after, calls, fault)| Step::Fail { after, calls, fault }),
        1 => Just(Step::Kill),
        1 => (any::<u64>(), any::<bool>())
            .prop_map(|(kept, is_zero)| Step::LosePower { kept, is_zero }),
    ]
}

/// A store on a failing disk, with what is known of its spans.
struct Run {
    dir: tempfile::TempDir,
    disk: FaultyDisk,
    store: EmbeddedStore,
    writers: Vec<ShardWriter>,
    /// By trace, with whether it was acknowledged.
    sent: BTreeMap<u64, (Vec<Span>, bool)>,
}

impl Run {
    fn begin() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let disk = FaultyDisk::below(dir.path());
        let (store, writers, _) = open_store(dir.path(), 1);
        Self {
            dir,
            disk,
            store,
            writers,
            sent: BTreeMap::new(),
        }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Commit(spans) => self.commit(*spans),
            // What cannot be sealed stays readable as it is.
            Step::Seal => drop(self.writers[0].seal()),
            Step::Fail {
                after,
                calls,
                fault,
            } => self.disk.fail(*after, *calls, *fault),
            Step::Kill => self.restart(|_| {}),
            Step::LosePower { kept, is_zero } => self.restart(|disk| {
                disk.lose_power(|bytes| (kept % (bytes + 1), *is_zero));
            }),
        }
    }

    fn commit(&mut self, spans: u64) {
        let trace = self.sent.len() as u64 + 1;
        let spans: Vec<Span> = (1..=spans).map(|id| span(trace, id, "shop")).collect();
        write(&mut self.writers[0], &spans);
        let is_acknowledged = self.writers[0].commit().is_ok();
        self.sent.insert(trace, (spans, is_acknowledged));
    }

    fn restart(&mut self, happen: impl FnOnce(&FaultyDisk)) {
        self.writers.clear();
        happen(&self.disk);
        self.disk.heal();
        let (store, writers, _) = open_store(self.dir.path(), 1);
        (self.store, self.writers) = (store, writers);
    }

    /// Checks conservation: acknowledged spans are found, and found ones are unchanged.
    fn check(&self) {
        for (spans, is_acknowledged) in self.sent.values() {
            let trace = wait(self.store.trace(spans[0].trace_id)).unwrap();
            match trace {
                Some(trace) => assert_eq!(&trace.spans, spans),
                None => assert!(!is_acknowledged, "{:?} is lost", spans[0].trace_id),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn what_was_acknowledged_is_found_on_any_disk(
        steps in proptest::collection::vec(step(), 1..40)
    ) {
        let mut run = Run::begin();
        for step in &steps {
            run.take(step);
            run.check();
        }
        run.restart(|disk| disk.lose_power(|_| (0, false)));
        run.check();
    }
}

/// Returns the number of tested histories: `FUSEBOX_TEST_HISTORIES`, or a few.
fn cases() -> u32 {
    let given = std::env::var("FUSEBOX_TEST_HISTORIES").ok();
    given.map_or(48, |given| given.parse().expect("a number"))
}

/// *Scenario*: the disk fails at each call of a commit, of the next one and of a seal, after writing nothing,
/// a part, or everything.
/// *Guarantees*: the law of conservation, and that the store continues once the disk works.
#[test]
fn the_disk_fails_at_every_call() {
    for written in [0, 21, usize::MAX] {
        for after in 0.. {
            let mut run = Run::begin();
            run.commit(3);
            let fault = Fault {
                error: ErrorKind::Other,
                written,
            };
            run.disk.fail(after, 1, fault);
            run.commit(3);
            run.commit(2);
            run.take(&Step::Seal);
            run.check();
            let met = run.disk.heal();
            run.commit(4);
            assert!(run.sent[&4].1, "the disk is sound again");
            run.check();
            run.restart(|disk| disk.lose_power(|_| (0, false)));
            run.check();
            if met == 0 {
                assert!(after > 5, "there are calls to fail");
                break;
            }
        }
    }
}

/// *Scenario*: power is lost after every byte of a block, with the rest missing or zero.
/// *Guarantees*: the earlier blocks are whole; of the last one's spans, all are found or none.
#[test]
fn power_is_lost_at_every_byte_of_a_block() {
    for kept in 0.. {
        let mut longest = 0;
        for is_zero in [false, true] {
            let mut run = Run::begin();
            run.commit(3);
            // The bytes are written, and their sync fails: no client got an OK.
            let fault = Fault {
                error: ErrorKind::Other,
                written: 0,
            };
            run.disk.fail(1, 2, fault);
            run.commit(2);
            assert!(!run.sent[&2].1);
            run.restart(|disk| {
                disk.lose_power(|bytes| {
                    longest = longest.max(bytes);
                    (kept.min(bytes), is_zero)
                });
            });
            run.check();
            run.commit(1);
            run.check();
        }
        if kept >= longest {
            assert!(longest > 100, "a block has that many bytes");
            break;
        }
    }
}
