//! Command that az-load runs to produce the archive.

use loader_stage::{ErrorCode, Failure, Named};
use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Size in bytes of the pipe from the command, if the kernel allows it.
const PIPE_LEN: usize = 1 << 20;

/// Maximum wait for a command to exit after its output is closed.
const EXIT_TIMEOUT: Duration = Duration::from_secs(3);

/// A running command.
pub(crate) struct Producer {
    name: String,
    child: Child,
    ended: bool,
}

impl Producer {
    /// Starts `command`; `None` if it is empty.
    ///
    /// # Errors
    /// `not_found` if it cannot be started.
    pub(crate) fn start(command: &[OsString]) -> Result<Option<Self>, Failure> {
        let Some((program, arguments)) = command.split_first() else { return Ok(None) };
        let name = program.to_string_lossy().into_owned();
        let child =
            Command::new(program).args(arguments).stdout(Stdio::piped()).spawn().map_err(|error| {
                Failure::new(ErrorCode::NotFound, format_args!("{name}: cannot be started: {error}"))
            })?;
        Ok(Some(Self { name, child, ended: false }))
    }

    /// Returns the output of the command; `None` after the first call.
    pub(crate) fn output(&mut self) -> Option<ChildStdout> {
        let output = self.child.stdout.take()?;
        // Refused if the user's pipe quota is used up; smaller pipes work too.
        let _ = rustix::pipe::fcntl_setpipe_size(&output, PIPE_LEN);
        Some(output)
    }

    /// Waits until the command has exited.
    ///
    /// # Errors
    /// The code of its exit status; `temporary` if it was killed.
    pub(crate) fn wait_for_exit(&mut self) -> Result<(), Failure> {
        let name = &self.name;
        let status = self.child.wait().map_err(|error| Failure::io(name, &error))?;
        self.ended = true;
        match status {
            _ if status.success() => Ok(()),
            _ => {
                let text = format_args!("{name} ended with {status}; nothing was loaded");
                Err(Failure::new(code(status), text)
                    .caused_by(&Named::from_name(name.rsplit('/').next().unwrap_or(name))))
            }
        }
    }

    fn wait_for(&mut self, patience: Duration) -> io::Result<Option<ExitStatus>> {
        let start = Instant::now();
        loop {
            match self.child.try_wait()? {
                None if start.elapsed() < patience => sleep(Duration::from_millis(20)),
                ended => return Ok(ended),
            }
        }
    }
}

fn code(status: ExitStatus) -> ErrorCode {
    // An exit status outside the table does not show that the data is complete.
    let known = |exit: i32| ErrorCode::ALL.iter().copied().find(|code| i32::from(code.exit()) == exit);
    match (status.signal(), status.code()) {
        (Some(_), _) => ErrorCode::Temporary,
        (None, Some(65) | None) => ErrorCode::Malformed,
        // A shell returns 128 plus the signal for a command that a signal killed.
        (None, Some(128..=192)) => ErrorCode::Temporary,
        (None, Some(exit)) => known(exit).unwrap_or(ErrorCode::Malformed),
    }
}

impl Drop for Producer {
    /// Waits for the command, which usually exits after its output is closed, or kills it.
    fn drop(&mut self) {
        if !self.ended && !matches!(self.wait_for(EXIT_TIMEOUT), Ok(Some(_))) {
            // It may have exited in the meantime.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
