//! A pool of threads for work of some microseconds: it spins briefly for the next job, then sleeps.

use std::any::Any;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
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
    /// Grows by one for each job; workers wait for it to change.
    generation: AtomicU32,
    /// Workers that have not finished the current job.
    unfinished: AtomicUsize,
    job: UnsafeCell<Option<*const Job<'static>>>,
    sleeping: Vec<AtomicBool>,
    stop: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

// SAFETY: `job` is written only by the caller that holds `turn`, while `unfinished` is zero, and
// read by workers only after they have seen the `generation` that was stored after it (release,
// acquire). The pointer behind it is `Sync` and outlives the job, see `Pool::run`.
unsafe impl Sync for Shared {}
// SAFETY: as above; the pointer is never dropped through `Shared`.
unsafe impl Send for Shared {}

impl Pool {
    /// `threads` in all, the caller's own among them.
    pub(crate) fn new(threads: usize) -> Self {
        let helpers = threads.max(1) - 1;
        let shared = Arc::new(Shared {
            generation: AtomicU32::new(0),
            unfinished: AtomicUsize::new(0),
            job: UnsafeCell::new(None),
            sleeping: (0..helpers).map(|_| AtomicBool::new(false)).collect(),
            stop: AtomicBool::new(false),
            panic: Mutex::new(None),
        });
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

    /// Calls `job(i)` once for each `i` below [`Pool::threads`], at the same time, and returns when
    /// all are done. A job started while another runs is run by its caller alone.
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
        self.wait();
        let theirs = self.shared.panic.lock().unwrap_or_else(|e| e.into_inner()).take();
        drop(turn);
        if let Some(panic) = own.err().or(theirs) {
            resume_unwind(panic);
        }
    }

    fn publish(&self, job: &Job<'_>) {
        // SAFETY: only the lifetime is erased. `run` does not return, not even by a panic, before
        // `wait` has seen every worker finish with the job.
        let job: *const Job<'static> = unsafe { std::mem::transmute::<&Job<'_>, &'static Job<'static>>(job) };
        // SAFETY: `turn` is held and `unfinished` is zero, so no worker reads the cell now.
        unsafe { *self.shared.job.get() = Some(job) };
        self.shared.unfinished.store(self.workers.len(), Ordering::Relaxed);
        // Sequentially consistent together with `sleeping` in `Shared::next`: either the worker
        // sees the new generation, or this loop sees that it sleeps.
        self.shared.generation.fetch_add(1, Ordering::SeqCst);
        for (worker, sleeping) in self.workers.iter().zip(&self.shared.sleeping) {
            if sleeping.load(Ordering::SeqCst) {
                worker.thread().unpark();
            }
        }
    }

    fn wait(&self) {
        let mut spins = 0u32;
        while self.shared.unfinished.load(Ordering::Acquire) != 0 {
            spins += 1;
            if spins < SPINS {
                std::hint::spin_loop();
            } else {
                thread::yield_now();
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.shared.generation.fetch_add(1, Ordering::SeqCst);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A worker catches the panics of its jobs; there is nothing to learn from its result.
            let _ = worker.join();
        }
    }
}

impl Shared {
    fn work(&self, index: usize) {
        let mut seen = 0;
        loop {
            seen = self.next(seen, index);
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            // SAFETY: the new generation was seen, so the cell was written before and is not written
            // again until this worker has lowered `unfinished`; the job lives until then.
            let result = catch_unwind(AssertUnwindSafe(|| unsafe {
                if let Some(job) = *self.job.get() {
                    (*job)(index + 1);
                }
            }));
            if let Err(panic) = result {
                *self.panic.lock().unwrap_or_else(|e| e.into_inner()) = Some(panic);
            }
            self.unfinished.fetch_sub(1, Ordering::Release);
        }
    }

    /// Waits for a generation other than `seen`.
    fn next(&self, seen: u32, index: usize) -> u32 {
        for _ in 0..SPINS {
            let now = self.generation.load(Ordering::Acquire);
            if now != seen {
                return now;
            }
            std::hint::spin_loop();
        }
        // A store would do by the rules of the language and has the same instruction on x86. Emulators of aarch64 there
        // (seen with QEMU 7.2) let the load below pass it, and the worker then sleeps through a job.
        self.sleeping[index].swap(true, Ordering::SeqCst);
        let now = loop {
            let now = self.generation.load(Ordering::SeqCst);
            if now != seen {
                break now;
            }
            thread::park();
        };
        self.sleeping[index].store(false, Ordering::SeqCst);
        now
    }
}

/// About 50 microseconds: longer than the gap between two phases of a layer, far shorter than a
/// person notices on the processor's meter.
const SPINS: u32 = 4000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thread_runs_each_job_once() {
        let pool = Pool::new(4);
        for round in 0..500 {
            let counts: Vec<_> = (0..pool.threads()).map(|_| AtomicUsize::new(0)).collect();
            pool.run(&|i| {
                counts[i].fetch_add(round + 1, Ordering::Relaxed);
            });
            assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == round + 1));
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_leaves_the_pool_usable() {
        let pool = Pool::new(3);
        let caught = catch_unwind(AssertUnwindSafe(|| pool.run(&|i| assert!(i != 2, "job two fails"))));
        assert!(caught.is_err());
        let sum = AtomicUsize::new(0);
        pool.run(&|i| {
            sum.fetch_add(i, Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 3);
    }

    #[test]
    fn a_job_within_a_job_is_run_by_its_caller() {
        let pool = Pool::new(2);
        let sum = AtomicUsize::new(0);
        pool.run(&|_| {
            pool.run(&|_| {
                sum.fetch_add(1, Ordering::Relaxed);
            })
        });
        assert_eq!(sum.into_inner(), 4);
    }
}
