//! Sealing of small resources to user and hardware, in the device format of
//! crates/loader-seal/README.md.

use crate::SealCost;
use loader_model::ResourceName;
use loader_seal::device::{Binding, Cost, SealedKind, seal};
use std::io;
use std::sync::{Arc, Mutex, PoisonError, mpsc};

/// Number of sealing threads.
const THREADS: usize = 2;

type Job = Box<dyn FnOnce() + Send>;

/// Pool of sealing threads. The allocator does not reuse the memory of one thread in
/// another, so a new thread for each request would keep the Argon2id memory of every
/// request.
pub(crate) struct SealingPool(mpsc::Sender<Job>);

impl SealingPool {
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
            std::thread::Builder::new().name("sealer".to_owned()).spawn(move || {
                while let Some(job) = next() {
                    job();
                }
            })?;
        }
        Ok(Self(jobs))
    }

    /// Runs `work` on a sealing thread and returns its result; `None` if it panicked.
    /// `work` is skipped if the caller no longer waits for it. Otherwise clients that
    /// time out and retry would make the queue longer and longer.
    pub(crate) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (done, result) = tokio::sync::oneshot::channel();
        let job = move || {
            if !done.is_closed() {
                let _ = done.send(work());
            }
        };
        self.0.send(Box::new(job)).ok()?;
        result.await.ok()
    }
}

/// Returns the kind of a resource: `cdn.yaml` or a small part.
pub(crate) fn kind_of(name: &ResourceName) -> SealedKind {
    if name.file_name() == "cdn.yaml" { SealedKind::Cdn } else { SealedKind::SmallPart }
}

/// User and hardware that a resource is sealed to.
pub(crate) struct Recipient {
    pub(crate) user: [u8; 16],
    pub(crate) password: String,
    pub(crate) hardware: [u8; 32],
    pub(crate) secret: Option<[u8; 32]>,
}

/// Seals `plaintext` to `to` with the Argon2id parameters `cost`.
pub(crate) fn seal_to(
    to: &Recipient,
    plaintext: &[u8],
    kind: SealedKind,
    cost: SealCost,
) -> Result<Vec<u8>, loader_seal::Error> {
    let binding = Binding { user: to.user, password: &to.password, hardware: to.hardware, secret: to.secret.as_ref() };
    let cost = Cost { memory_kib: cost.memory_kib, passes: cost.passes, lanes: cost.lanes };
    seal(plaintext, kind, &binding, cost)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;
    use tokio::time::timeout;

    #[test]
    fn work_without_a_waiting_caller_is_skipped() {
        let sealers = SealingPool::start().unwrap();
        let (go_on, waiting) = mpsc::channel::<()>();
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..THREADS {
            let waiting = waiting.clone();
            let held = move || {
                let _ = waiting.lock().unwrap().recv();
            };
            sealers.0.send(Box::new(held)).unwrap();
        }
        let done = Arc::new(AtomicU32::new(0));
        let work = || {
            let done = done.clone();
            sealers.run(move || done.fetch_add(1, Ordering::Relaxed))
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            assert!(timeout(Duration::from_millis(1), work()).await.is_err());
            drop(go_on);
            assert_eq!(work().await, Some(0));
        });
        assert_eq!(done.load(Ordering::Relaxed), 1);
    }
}
