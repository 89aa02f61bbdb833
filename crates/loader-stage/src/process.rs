//! Settings of the whole process: signals, panics, core dumps, locked memory, threads.

use crate::events::{Emitter, EventFields};
use crate::{Failure, TerminationSignals, atomic_file, prompt, signals};
use loader_model::{ErrorCode, Step};
use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use signal_hook::consts::{SIGHUP, SIGTERM, SIGXFSZ};
use signal_hook::low_level::signal_name;
use std::io;
use std::panic;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Once};

/// Keeps secrets out of core dumps and prevents other processes of the user from reading the
/// memory. Failures are ignored.
pub(crate) fn disable_core_dumps() {
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}

/// Keeps the current and all future memory of the process out of swap, if the process may
/// lock an unlimited amount: with CAP_IPC_LOCK, or without a limit. Under a limit nothing is
/// locked, since later allocations, and even the growth of the stack, would fail.
pub(crate) fn lock_memory() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = getrlimit(Resource::Memlock);
        // With a limit of 0, mlockall succeeds only with the capability. (CapEff is no
        // indication, since it may refer to a user namespace.)
        let current = if before.maximum.is_none() { None } else { Some(0) };
        if setrlimit(Resource::Memlock, Rlimit { current, ..before }).is_ok() {
            let locked = mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT).is_ok();
            if current.is_some() || !locked {
                let _ = setrlimit(Resource::Memlock, before);
            }
        }
    });
}

/// Returns the number of worker threads: `asked`, or one per core up to four.
pub fn thread_count(asked: Option<u16>) -> usize {
    match asked {
        Some(threads) => usize::from(threads),
        None => std::thread::available_parallelism().map_or(1, |cores| cores.get().min(4)),
    }
}

/// Returns true if `flag` is given on the command line itself and not only by an environment
/// variable or a config file.
pub fn is_on_command_line(flag: &str) -> bool {
    let words = std::env::args_os().skip(1).take_while(|word| word != "--");
    words.filter_map(|word| word.into_string().ok()).any(|word| word.split('=').next() == Some(flag))
}

/// Starts a thread that ends the process on SIGINT, SIGTERM and SIGHUP: it removes temporary
/// files, writes the final event, and then ends the process with the default action of the
/// signal, so that the shell sees which signal ended it. During a commit only the second
/// signal does that.
pub(crate) fn spawn_signal_thread(emitter: Arc<Emitter>) -> io::Result<()> {
    let mut signals = TerminationSignals::register(ignored_signals())?;
    std::thread::Builder::new().name("signals".to_owned()).stack_size(64 * 1024).spawn(move || {
        let mut signal = signals.wait();
        if !signals::begin_end() {
            let name = signal_name(signal).unwrap_or("a signal");
            let detail = [("signal".to_owned(), name.into())].into_iter().collect();
            emitter.report(EventFields {
                step: Some(Step::SignalDeferred),
                detail: Some(detail),
                ..EventFields::default()
            });
            signal = signals.wait();
        }
        let code = match signal {
            SIGTERM => ErrorCode::Terminated,
            SIGHUP => ErrorCode::HungUp,
            _ => {
                prompt::forward_interrupt();
                ErrorCode::Interrupted
            }
        };
        let name = signal_name(signal).unwrap_or("a signal");
        atomic_file::undo_all();
        prompt::restore_terminal();
        emitter.emit_final(&Failure::new(code, format_args!("stopped by {name}")));
        die_by_signal(signal);
    })?;
    Ok(())
}

/// Ends the process with the default action of `signal`. The kernel does not deliver a signal
/// without a handler to process 1 of a PID namespace, so that process exits with the status
/// that a shell would report, 128 + `signal`.
#[allow(clippy::exit, reason = "a signal ends the process")]
pub fn die_by_signal(signal: i32) {
    if std::process::id() == 1 {
        std::process::exit(128 + signal);
    }
    let _ = signal_hook::low_level::emulate_default_handler(signal);
}

/// Makes a write beyond the file size limit (`ulimit -f`) fail with an error instead of
/// ending the process by SIGXFSZ. Child processes keep the default action, since `execve`
/// resets handlers.
pub(crate) fn handle_file_size_limit() {
    if ignored_signals() & (1 << (SIGXFSZ - 1)) == 0 {
        // If this fails, the signal still ends the process.
        let _ = signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)));
    }
}

/// Returns the signals that were ignored when the process was started (by nohup, or for a
/// background job of a shell), as a mask with bit 0 for signal 1.
pub fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// Makes a panic in any thread write the final event and end the process with status 70.
#[allow(clippy::exit, reason = "a panic in any thread ends the process with the documented status")]
pub(crate) fn report_panics(emitter: Arc<Emitter>) {
    panic::set_hook(Box::new(move |info| {
        let place = info.location().map(|at| format!(" at {}:{}", at.file(), at.line())).unwrap_or_default();
        atomic_file::undo_all();
        prompt::restore_terminal();
        emitter.emit_final(
            &Failure::new(ErrorCode::Bug, format_args!("bug in the program{place}"))
                .hint("please report it with this line".to_owned()),
        );
        std::process::exit(i32::from(ErrorCode::Bug.exit()));
    }));
}
