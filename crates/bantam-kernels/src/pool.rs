//! A pool of threads for work of some microseconds: it spins briefly for the next job, then sleeps.
//!
//! A job is begun by whoever comes while it is open, and its caller waits for those alone: a thread whose core another program
//! has at the moment, or which is still asleep, holds up nobody.

use std::any::Any;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, TryLockError};
use std::thread::{self, JoinHandle};

type Job<'a> = dyn Fn(usize) + Sync + 'a;

/// Threads that run one job at a time together with the caller.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// Held while a job runs, so that two callers cannot publish at once.
    turn: Mutex<()>,
}

struct Shared {
    /// The number of the newest job in the upper half, for which workers wait to change; in the lower one how many workers have
    /// begun it, or [`CLOSED`].
    entry: AtomicU64,
    /// Workers that have finished it.
    finished: AtomicU32,
    job: UnsafeCell<Option<*const Job<'static>>>,
    sleeping: Vec<AtomicBool>,
    stop: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

/// In place of a count of workers: nobody begins the job any more.
const CLOSED: u64 = u32::MAX as u64;

// SAFETY: `job` is written only by the caller that holds `turn`, while nobody runs a job: the last one was closed, and all that
// had begun it have finished. A worker reads it only after it was counted in `entry`, which happens while the job in the cell is
// open (release, acquire), and its caller closes that and waits for the worker before `Pool::run` returns or the cell changes.
// The pointer behind it is `Sync` and outlives the job, see `Pool::run`.
unsafe impl Sync for Shared {}
// SAFETY: as above; the pointer is never dropped through `Shared`.
unsafe impl Send for Shared {}

impl Pool {
    /// `threads` in all, the caller's own among them.
    pub(crate) fn new(threads: usize) -> Self {
        let helpers = threads.max(1) - 1;
        let shared = Arc::new(Shared::new(helpers));
        let mut workers = Vec::with_capacity(helpers);
        for index in 0..helpers {
            let shared = Arc::clone(&shared);
            let spawned = thread::Builder::new()
                .name(format!("bantam-{}", index + 1))
                .spawn(move || shared.work(index));
            // A system that refuses more threads leaves a smaller pool, not a failure.
            match spawned {
                Ok(worker) => workers.push(worker),
                Err(_) => break,
            }
        }
        Pool { shared, workers, turn: Mutex::new(()) }
    }

    pub(crate) fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `job(0)`, and at the same time `job(i)` for those `i` below [`Pool::threads`] whose thread comes before `job(0)` is
    /// done; returns when all that were begun are done. So `job(0)` leaves no work undone that nobody else has begun. A job
    /// started while another runs is run by its caller alone, for all `i`.
    pub(crate) fn run(&self, job: &Job<'_>) {
        let turn = match self.turn.try_lock() {
            Ok(turn) => Some(turn),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        };
        if turn.is_none() || self.workers.is_empty() {
            (0..self.threads()).for_each(job);
            return;
        }
        self.publish(job);
        let own = catch_unwind(AssertUnwindSafe(|| job(0)));
        self.shared.close();
        let theirs = self.shared.panic.lock().unwrap_or_else(|e| e.into_inner()).take();
        drop(turn);
        if let Some(panic) = own.err().or(theirs) {
            resume_unwind(panic);
        }
    }

    fn publish(&self, job: &Job<'_>) {
        // SAFETY: only the lifetime is erased. `run` does not return, not even by a panic, before
        // `close` has seen every worker finish that has begun the job, and nobody begins it afterwards.
        let job: *const Job<'static> = unsafe { std::mem::transmute::<&Job<'_>, &'static Job<'static>>(job) };
        // SAFETY: `turn` is held and the last job is closed and done, so no worker reads the cell now.
        unsafe { *self.shared.job.get() = Some(job) };
        self.shared.open();
        for (worker, sleeping) in self.workers.iter().zip(&self.shared.sleeping) {
            if sleeping.load(Ordering::SeqCst) {
                worker.thread().unpark();
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.shared.announce(CLOSED);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A worker catches the panics of its jobs; there is nothing to learn from its result.
            let _ = worker.join();
        }
    }
}

impl Shared {
    fn new(workers: usize) -> Self {
        Shared {
            entry: AtomicU64::new(CLOSED),
            finished: AtomicU32::new(0),
            job: UnsafeCell::new(None),
            sleeping: (0..workers).map(|_| AtomicBool::new(false)).collect(),
            stop: AtomicBool::new(false),
            panic: Mutex::new(None),
        }
    }

    /// Lets workers begin the job in the cell.
    fn open(&self) {
        self.finished.store(0, Ordering::Relaxed);
        self.announce(0);
    }

    /// Changes the number that workers wait for. Sequentially consistent together with `sleeping` in [`Shared::next`]: either
    /// the worker sees the new number, or whoever announces it sees that it sleeps.
    fn announce(&self, begun: u64) {
        let number = (self.entry.load(Ordering::Relaxed) >> 32) as u32;
        self.entry.swap(u64::from(number.wrapping_add(1)) << 32 | begun, Ordering::SeqCst);
    }

    /// Counts a worker among those that run the newest job, unless that is closed; gives the job's number in any case.
    fn begin(&self) -> (u32, bool) {
        let open = |word: u64| (word & CLOSED != CLOSED).then_some(word + 1);
        match self.entry.fetch_update(Ordering::AcqRel, Ordering::Acquire, open) {
            Ok(word) => ((word >> 32) as u32, true),
            Err(word) => ((word >> 32) as u32, false),
        }
    }

    /// Lets nobody begin the job any more, and waits for those who have.
    fn close(&self) {
        let begun = (self.entry.fetch_or(CLOSED, Ordering::AcqRel) & CLOSED) as u32;
        let mut spins = 0u32;
        while self.finished.load(Ordering::Acquire) != begun {
            spins += 1;
            if spins < SPINS {
                std::hint::spin_loop();
            } else {
                thread::yield_now();
            }
        }
    }

    fn work(&self, index: usize) {
        let mut seen = 0;
        loop {
            self.next(seen, index);
            let (number, is_open) = self.begin();
            seen = number;
            if !is_open {
                // Asked behind `begin`: the number just taken may be the one with which the pool ends, and none comes after it.
                if self.stop.load(Ordering::SeqCst) {
                    return;
                }
                continue;
            }
            // SAFETY: this worker was counted while the job was open, so the cell was written before and is not written
            // again until it has raised `finished`; the job lives until then.
            let result = catch_unwind(AssertUnwindSafe(|| unsafe {
                if let Some(job) = *self.job.get() {
                    (*job)(index + 1);
                }
            }));
            if let Err(panic) = result {
                *self.panic.lock().unwrap_or_else(|e| e.into_inner()) = Some(panic);
            }
            self.finished.fetch_add(1, Ordering::Release);
        }
    }

    /// Waits for a job's number other than `seen`.
    fn next(&self, seen: u32, index: usize) {
        let is_new = |ordering| (self.entry.load(ordering) >> 32) as u32 != seen;
        for _ in 0..SPINS {
            if is_new(Ordering::Relaxed) {
                return;
            }
            std::hint::spin_loop();
        }
        // A store would do by the rules of the language and has the same instruction on x86. Emulators of aarch64 there
        // (seen with QEMU 7.2) let the load below pass it, and the worker then sleeps through a job.
        self.sleeping[index].swap(true, Ordering::SeqCst);
        while !is_new(Ordering::SeqCst) {
            thread::park();
        }
        self.sleeping[index].store(false, Ordering::SeqCst);
    }
}

/// About 50 microseconds: longer than the gap between two phases of a layer, far shorter than a
/// person notices on the processor's meter.
const SPINS: u32 = 4000;

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn each_thread_runs_a_job_once_at_most_and_the_caller_always() {
        let pool = Pool::new(4);
        for _ in 0..500 {
            let counts: Vec<_> = (0..pool.threads()).map(|_| AtomicUsize::new(0)).collect();
            pool.run(&|i| {
                counts[i].fetch_add(1, Ordering::Relaxed);
            });
            let counts: Vec<_> = counts.into_iter().map(AtomicUsize::into_inner).collect();
            assert!(counts[0] == 1 && counts.iter().all(|count| *count <= 1), "{counts:?}");
        }
    }

    #[test]
    fn a_worker_that_does_not_come_is_not_waited_for_and_begins_nothing() {
        let shared = Shared::new(1);
        shared.open();
        shared.close();
        assert_eq!(shared.begin(), (1, false));
        shared.open();
        assert_eq!(shared.begin(), (2, true));
        shared.finished.fetch_add(1, Ordering::Release);
        shared.close();
    }

    #[test]
    fn a_worker_that_comes_is_waited_for() {
        let (pool, came) = (Pool::new(2), AtomicUsize::new(0));
        pool.run(&|i| {
            if i == 0 {
                while came.load(Ordering::Acquire) == 0 {
                    thread::yield_now();
                }
            } else {
                came.store(1, Ordering::Release);
                thread::sleep(std::time::Duration::from_millis(20));
                came.store(2, Ordering::Release);
            }
        });
        assert_eq!(came.into_inner(), 2);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_leaves_the_pool_usable() {
        let pool = Pool::new(3);
        let panic = || {
            all_come(&pool, &|i| assert!(i != 2, "job two fails"));
        };
        assert!(catch_unwind(AssertUnwindSafe(panic)).is_err());
        let sum = AtomicUsize::new(0);
        all_come(&pool, &|i| _ = sum.fetch_add(i, Ordering::Relaxed));
        assert_eq!(sum.into_inner(), 3);
    }

    #[test]
    fn a_job_within_a_job_is_run_by_its_caller() {
        let pool = Pool::new(2);
        let sum = AtomicUsize::new(0);
        all_come(&pool, &|_| pool.run(&|_| _ = sum.fetch_add(1, Ordering::Relaxed)));
        assert_eq!(sum.into_inner(), 4);
    }

    #[test]
    fn a_pool_ends_whatever_its_threads_are_about() {
        for round in 0..3000 {
            let pool = Pool::new(4);
            for _ in 0..round % 3 {
                pool.run(&|_| {});
            }
        }
    }

    /// Runs a job that all threads begin.
    fn all_come(pool: &Pool, job: &Job<'_>) {
        let came = AtomicUsize::new(0);
        pool.run(&|i| {
            came.fetch_add(1, Ordering::Release);
            while i == 0 && came.load(Ordering::Acquire) < pool.threads() {
                thread::yield_now();
            }
            job(i);
        });
    }
}
