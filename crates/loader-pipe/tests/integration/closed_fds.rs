//! A process detects which of its standard descriptors were closed when it was started.

use loader_pipe::was_closed_at_start;
use std::env;
use std::process::Command;

/// Variable that contains the expected descriptors for the child process.
const EXPECTED: &str = "CLOSED_DESCRIPTORS";

#[test]
fn closed_descriptors_are_detected() {
    let cases =
        [("", ""), ("<&-", "0"), (">&-", "1"), ("2>&-", "2"), ("<&- >&- 2>&-", "012"), ("</dev/null >/dev/null", "")];
    for (redirections, expected) in cases {
        let script = format!("exec \"$0\" --exact closed_fds::child_process {redirections}");
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).arg(env::current_exe().unwrap()).env(EXPECTED, expected);
        assert!(command.output().unwrap().status.success(), "{redirections}");
    }
    assert!(!was_closed_at_start(-1) && !was_closed_at_start(3) && !was_closed_at_start(64));
}

#[test]
fn child_process() {
    let Ok(expected) = env::var(EXPECTED) else { return };
    let closed: String = (0..3).filter(|fd| was_closed_at_start(*fd)).map(|fd| fd.to_string()).collect();
    assert_eq!(closed, expected);
}
