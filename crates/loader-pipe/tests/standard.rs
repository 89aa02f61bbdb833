//! A process knows which of its standard descriptors were closed when it was started.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

use loader_pipe::was_closed;
use std::env;
use std::process::Command;

/// The variable in which the test that is started finds what it should see.
const EXPECTED: &str = "CLOSED_DESCRIPTORS";

#[test]
fn what_was_closed_is_known() {
    let cases =
        [("", ""), ("<&-", "0"), (">&-", "1"), ("2>&-", "2"), ("<&- >&- 2>&-", "012"), ("</dev/null >/dev/null", "")];
    for (redirections, expected) in cases {
        let script = format!("exec \"$0\" --exact told {redirections}");
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).arg(env::current_exe().unwrap()).env(EXPECTED, expected);
        assert!(command.output().unwrap().status.success(), "{redirections}");
    }
    assert!(!was_closed(-1) && !was_closed(3) && !was_closed(64));
}

#[test]
fn told() {
    let Ok(expected) = env::var(EXPECTED) else { return };
    let closed: String = (0..3).filter(|fd| was_closed(*fd)).map(|fd| fd.to_string()).collect();
    assert_eq!(closed, expected);
}
