//! Times work on several threads at once, by the CPU time of the slowest one, so that other work on the machine matters
//! less.

use std::sync::Barrier;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Times `iterations` of the work that `begin` returns, on each of `threads` threads at once; returns the slowest.
pub(crate) fn on_threads<W: FnMut()>(
    threads: usize,
    iterations: u64,
    begin: impl Fn() -> W + Sync,
) -> Duration {
    let together = Barrier::new(threads);
    let timed = || {
        let mut work = begin();
        work();
        together.wait();
        on_this_thread(iterations, work)
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(timed)).collect();
        let times = running.into_iter().map(|thread| thread.join());
        let times = times.map(|time| time.expect("the work does not panic"));
        times.max().unwrap_or_default()
    })
}

/// Times `iterations` of `work` on this thread.
pub(crate) fn on_this_thread(iterations: u64, mut work: impl FnMut()) -> Duration {
    let start = on_processor();
    for _ in 0..iterations {
        work();
    }
    on_processor().saturating_sub(start)
}

/// Returns the CPU time of this thread.
fn on_processor() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        time.tv_nsec.unsigned_abs() as u32,
    )
}
