//! Signals: forwarded to the main thread and to the stages.

use crate::input::Message;
use loader_stage::entry_names;
use loader_stage::{Failure, TerminationSignals, ignored_signals};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::SyncSender;

/// Sends a message for each SIGINT, SIGTERM and SIGHUP. They do not end the process, which prints
/// its verdict after the stages have ended. A signal that is ignored, for example by nohup, stays
/// ignored here and in the stages.
///
/// # Errors
/// `io` if no handler can be registered or no thread started.
pub(crate) fn watch(to: SyncSender<Message>) -> Result<(), Failure> {
    let fail = |error: std::io::Error| Failure::io("signals", &error);
    let mut signals = TerminationSignals::register(ignored_signals()).map_err(fail)?;
    let run = move || while to.send(Message::Signal(signals.wait())).is_ok() {};
    std::thread::Builder::new().name("signals".to_owned()).stack_size(64 * 1024).spawn(run).map_err(fail)?;
    Ok(())
}

/// Sends SIGTERM to all descendants of this process. A terminal signals the whole process group,
/// but a supervisor may signal only this process, and a shell that exits does not stop its
/// pipeline.
pub(crate) fn stop_descendants() {
    let parents = parents();
    let own = std::process::id();
    for &pid in parents.keys() {
        let mut ancestor = pid;
        // A longer chain contains a loop, because process ids were reused in the meantime.
        let is_descendant = (0..64).any(|_| {
            ancestor = parents.get(&ancestor).copied().unwrap_or_default();
            ancestor == own
        });
        if let Some(pid) = Pid::from_raw(pid.cast_signed()).filter(|_| is_descendant) {
            // The process may have ended already.
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}

/// Returns the parent of each process of this machine.
fn parents() -> BTreeMap<u32, u32> {
    let names = entry_names(Path::new("/proc")).unwrap_or_default();
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
