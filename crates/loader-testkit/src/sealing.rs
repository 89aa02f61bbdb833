//! Small resources sealed to user and hardware (spec/format.md section 4).

use crate::SealCost;
use loader_model::ResourceName;
use loader_seal::device::{Binding, Cost, SealedKind, seal};
use std::io;
use std::sync::{Arc, Mutex, PoisonError, mpsc};

/// Things that are sealed at a time.
const AT_A_TIME: usize = 2;

type Job = Box<dyn FnOnce() + Send>;

/// Threads that seal, and live as long as this. They are always the same ones:
/// the memory that Argon2id took of one thread is not given to another, so a
/// thread for each request would keep that of all of them.
pub(crate) struct Sealers(mpsc::Sender<Job>);

impl Sealers {
    /// Starts the threads.
    ///
    /// # Errors
    /// The system's, where it has no thread to give.
    pub(crate) fn start() -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..AT_A_TIME {
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

    /// What `work` gives, once its turn has come; `None` where it panicked. It is
    /// not done where nobody waits for it any more: a client that went away and
    /// asks again would else make the next ones wait longer, until all go away.
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

/// The kind of a resource: `cdn.yaml` or a small part.
pub(crate) fn kind_of(name: &ResourceName) -> SealedKind {
    if name.file_name() == "cdn.yaml" { SealedKind::Cdn } else { SealedKind::SmallPart }
}

/// To whom something is sealed.
pub(crate) struct Recipient {
    pub(crate) user: [u8; 16],
    pub(crate) password: String,
    pub(crate) hardware: [u8; 32],
    pub(crate) secret: Option<[u8; 32]>,
}

/// `plaintext` sealed to `to`. Takes the memory and time that `cost` says.
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
    fn what_nobody_waits_for_is_not_done() {
        let sealers = Sealers::start().unwrap();
        let (go_on, waiting) = mpsc::channel::<()>();
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..AT_A_TIME {
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
