//! Signals: noted, passed on, obeyed at the end.

use crate::folder;
use crate::source::Message;
use loader_stage::{Failure, TerminationSignals, ignored_signals};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::SyncSender;

/// Sends every SIGINT, SIGTERM and SIGHUP as a message instead of ending the
/// process: the verdict comes after the stages have ended. One that is ignored, as
/// under nohup, stays so here and in the stages.
///
/// # Errors
/// `io` where the system refuses.
pub(crate) fn watch(to: SyncSender<Message>) -> Result<(), Failure> {
    let fail = |error: std::io::Error| Failure::io("signals", &error);
    let mut signals = TerminationSignals::register(ignored_signals()).map_err(fail)?;
    let run = move || while to.send(Message::Signal(signals.wait())).is_ok() {};
    std::thread::Builder::new().name("signals".to_owned()).stack_size(64 * 1024).spawn(run).map_err(fail)?;
    Ok(())
}

/// Sends SIGTERM to all processes below this one. A terminal tells the whole
/// group by itself; a supervisor may tell only this process, and a shell that
/// ends does not end its pipeline.
pub(crate) fn stop_descendants() {
    let parents = parents();
    let own = std::process::id();
    for &pid in parents.keys() {
        let mut at = pid;
        // A chain longer than this has a loop: ids were used again meanwhile.
        let below = (0..64).any(|_| {
            at = parents.get(&at).copied().unwrap_or_default();
            at == own
        });
        if let Some(pid) = Pid::from_raw(pid.cast_signed()).filter(|_| below) {
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}

/// The parent of every process of this machine.
fn parents() -> BTreeMap<u32, u32> {
    let names = folder::names(Path::new("/proc")).unwrap_or_default();
    let pids = names.iter().filter_map(|name| name.to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| {
        // "PID (NAME) STATE PARENT ..."
        let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
        let stat = String::from_utf8_lossy(&stat);
        let (_, tail) = stat.rsplit_once(") ")?;
        Some((pid, tail.split(' ').nth(1)?.parse().ok()?))
    })
    .collect()
}
