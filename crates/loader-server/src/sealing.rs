//! Argon2id on a few threads: password checks, and sealing of small resources to user and
//! hardware, in the device format of crates/loader-seal/README.md.

use crate::Argon2Cost;
use loader_model::ResourceName;
use loader_seal::device::{Binding, Cost, SealedKind, seal};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use zeroize::Zeroizing;

/// Number of threads, which is the number of concurrent Argon2id computations.
const THREADS: usize = 2;

/// Maximum number of waiting jobs. More would wait longer than their clients do.
const QUEUE_MAX: usize = 512;

type Job = Box<dyn FnOnce() + Send>;

/// Pool of Argon2id threads. The allocator does not reuse the memory of one thread in
/// another, so a new thread for each request would keep the Argon2id memory of every
/// request.
pub(crate) struct Argon2Pool {
    jobs: mpsc::Sender<Job>,
    waiting: Arc<AtomicUsize>,
}

/// Reason why a job has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PoolError {
    /// Too many jobs wait.
    Busy,
    /// The job panicked.
    Lost,
}

impl Argon2Pool {
    /// Starts the threads.
    ///
    /// # Errors
    /// Those of starting a thread.
    pub(crate) fn start() -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..THREADS {
            let queue = queue.clone();
            let next = move || queue.lock().unwrap_or_else(PoisonError::into_inner).recv().ok();
            std::thread::Builder::new().name("argon2".to_owned()).spawn(move || {
                while let Some(job) = next() {
                    job();
                }
            })?;
        }
        Ok(Self { jobs, waiting: Arc::default() })
    }

    /// Runs `work` on a thread of the pool and returns its result. `work` is skipped if the
    /// caller no longer waits for it. Otherwise clients that time out and retry would make the
    /// queue longer and longer.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PoolError> {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= QUEUE_MAX {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(PoolError::Busy);
        }
        let (done, result) = tokio::sync::oneshot::channel();
        let waiting = self.waiting.clone();
        let job = move || {
            waiting.fetch_sub(1, Ordering::Relaxed);
            if !done.is_closed() {
                let _ = done.send(work());
            }
        };
        self.jobs.send(Box::new(job)).map_err(|_| PoolError::Lost)?;
        result.await.map_err(|_| PoolError::Lost)
    }

    /// Returns the number of waiting jobs.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// Returns the kind of a resource: `cdn.yaml` or a small part.
pub(crate) fn kind_of(name: &ResourceName) -> SealedKind {
    if name.file_name() == "cdn.yaml" { SealedKind::Cdn } else { SealedKind::SmallPart }
}

/// User and hardware that a resource is sealed to.
pub(crate) struct Recipient {
    pub(crate) user: [u8; 16],
    pub(crate) password: Zeroizing<String>,
    pub(crate) hardware: [u8; 32],
    pub(crate) secret: Option<Zeroizing<[u8; 32]>>,
}

/// Seals `plaintext` to `to` with the Argon2id parameters `cost`.
pub(crate) fn seal_to(
    to: &Recipient,
    plaintext: &[u8],
    kind: SealedKind,
    cost: Argon2Cost,
) -> Result<Vec<u8>, loader_seal::Error> {
    let secret = to.secret.as_deref();
    let binding = Binding { user: to.user, password: &to.password, hardware: to.hardware, secret };
    let cost = Cost { memory_kib: cost.memory_kib, passes: cost.passes, lanes: cost.lanes };
    seal(plaintext, kind, &binding, cost)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;
    use std::time::Duration;
    use tokio::time::timeout;

    /// Occupies the threads of a pool until the returned sender is dropped.
    fn occupied() -> (Argon2Pool, mpsc::Sender<()>) {
        let pool = Argon2Pool::start().unwrap();
        let (go_on, waiting) = mpsc::channel::<()>();
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..THREADS {
            let waiting = waiting.clone();
            let held = move || {
                let _ = waiting.lock().unwrap().recv();
            };
            pool.jobs.send(Box::new(held)).unwrap();
        }
        (pool, go_on)
    }

    #[test]
    fn work_without_a_waiting_caller_is_skipped() {
        let (pool, go_on) = occupied();
        let done = Arc::new(AtomicU32::new(0));
        let work = || {
            let done = done.clone();
            pool.run(move || done.fetch_add(1, Ordering::Relaxed))
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            assert!(timeout(Duration::from_millis(1), work()).await.is_err());
            drop(go_on);
            assert_eq!(work().await, Ok(0));
        });
        assert_eq!((done.load(Ordering::Relaxed), pool.waiting()), (1, 0));
    }

    #[test]
    fn a_full_queue_refuses_work() {
        let (pool, go_on) = occupied();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            for _ in 0..QUEUE_MAX {
                assert!(timeout(Duration::ZERO, pool.run(|| ())).await.is_err());
            }
            assert_eq!(pool.run(|| ()).await, Err(PoolError::Busy));
            drop(go_on);
        });
    }
}
