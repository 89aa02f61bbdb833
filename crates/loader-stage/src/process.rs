//! What belongs to the process as a whole: signals, panics, core dumps.

use crate::emit::{Emitter, Report};
use crate::{EndSignals, Failure, prompt, signals, tempfile};
use loader_model::ErrorCode;
use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use signal_hook::consts::{SIGHUP, SIGTERM, SIGXFSZ};
use std::io;
use std::panic;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Once};

/// Keeps secrets out of core dumps and away from other processes of the user.
/// A system that refuses is no reason to stop.
pub(crate) fn hide_memory() {
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}

/// Keeps what is in memory from now on out of swap, where this process may lock
/// as much as it likes: with CAP_IPC_LOCK or without a limit. Under a limit
/// nothing is locked, since what came later could then not be had at all: not a
/// buffer, and not the next page of the stack.
pub(crate) fn lock_memory() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = getrlimit(Resource::Memlock);
        // Under a limit of 0 only the capability locks; CapEff of a user namespace says nothing of it.
        let current = if before.maximum.is_none() { None } else { Some(0) };
        if setrlimit(Resource::Memlock, Rlimit { current, ..before }).is_ok() {
            let locked = mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT).is_ok();
            if current.is_some() || !locked {
                let _ = setrlimit(Resource::Memlock, before);
            }
        }
    });
}

/// Threads to work with: as many as asked for, else one a core, at most four.
pub fn threads(asked: Option<u16>) -> usize {
    match asked {
        Some(threads) => usize::from(threads),
        None => std::thread::available_parallelism().map_or(1, |cores| cores.get().min(4)),
    }
}

/// True where the command line itself names `flag`, not the environment or a
/// config file.
pub fn is_on_command_line(flag: &str) -> bool {
    let words = std::env::args_os().skip(1).take_while(|word| word != "--");
    words.filter_map(|word| word.into_string().ok()).any(|word| word.split('=').next() == Some(flag))
}

/// A thread that ends the process on SIGINT, SIGTERM and SIGHUP: the final
/// event is written, temporary files are removed, then the signal does what it
/// does by default, so that the shell sees a process that died of it. During a commit
/// only the second signal does that.
pub(crate) fn watch_signals(emitter: Arc<Emitter>) -> io::Result<()> {
    let mut signals = EndSignals::register(ignored_signals())?;
    std::thread::Builder::new().name("signals".to_owned()).stack_size(64 * 1024).spawn(move || {
        let mut signal = signals.wait();
        if !signals::begin_end() {
            let detail = [("signal".to_owned(), cause(signal).1.into())].into_iter().collect();
            emitter.report(Report { step: Some("signal-deferred"), detail: Some(detail), ..Report::default() });
            signal = signals.wait();
        }
        let (code, name) = cause(signal);
        if code == ErrorCode::Interrupted {
            prompt::pass_on_interrupt();
        }
        tempfile::undo_all();
        prompt::restore_terminal();
        emitter.last_word(&Failure::new(code, format_args!("stopped by {name}")));
        die_of(signal);
    })?;
    Ok(())
}

/// Returns the code and the name of a signal that asks the process to end.
fn cause(signal: i32) -> (ErrorCode, &'static str) {
    match signal {
        SIGTERM => (ErrorCode::Terminated, "SIGTERM"),
        SIGHUP => (ErrorCode::HungUp, "SIGHUP"),
        _ => (ErrorCode::Interrupted, "SIGINT"),
    }
}

/// Ends the process as `signal` does by default. Those that have no handler do not
/// reach process 1 of a container, which therefore ends with the status that a
/// shell tells of one that died.
#[allow(clippy::exit, reason = "a signal ends the process")]
pub fn die_of(signal: i32) {
    if std::process::id() == 1 {
        std::process::exit(128 + signal);
    }
    let _ = signal_hook::low_level::emulate_default_handler(signal);
}

/// From here on a file that may not grow any more (`ulimit -f`) is an error of its
/// write, and no signal that ends the process without a word. Programs that are
/// started have the signal as it was, since a handler does not outlive `execve`.
pub(crate) fn write_past_limits() {
    if ignored_signals() & (1 << (SIGXFSZ - 1)) == 0 {
        // Where the system refuses, the signal still ends the process.
        let _ = signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)));
    }
}

/// The signals that whoever started the process had it ignore (nohup, a shell's
/// background job), as a mask with bit 0 for signal 1.
pub fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// Turns a panic into the final event and exit status 70.
#[allow(clippy::exit, reason = "a panic in any thread ends the process with the documented status")]
pub(crate) fn report_panics(emitter: Arc<Emitter>) {
    panic::set_hook(Box::new(move |info| {
        let place = info.location().map(|at| format!(" at {}:{}", at.file(), at.line())).unwrap_or_default();
        tempfile::undo_all();
        prompt::restore_terminal();
        emitter.last_word(
            &Failure::new(ErrorCode::Bug, format_args!("bug in the program{place}"))
                .hint("please report it with this line".to_owned()),
        );
        std::process::exit(i32::from(ErrorCode::Bug.exit()));
    }));
}
