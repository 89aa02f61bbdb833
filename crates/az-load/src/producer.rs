//! A command that writes the archive and that az-load runs.

use loader_stage::{ErrorCode, Failure, Named};
use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Size in bytes of the pipe from the command, if the kernel allows it.
const PIPE_LEN: usize = 1 << 20;

/// How long a command may take to exit after its output is closed.
const GRACE: Duration = Duration::from_secs(3);

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

    /// Returns its output, the first time.
    pub(crate) fn output(&mut self) -> Option<ChildStdout> {
        let output = self.child.stdout.take()?;
        // Refused if the user's pipe quota is used up; smaller pipes work too.
        let _ = rustix::pipe::fcntl_setpipe_size(&output, PIPE_LEN);
        Some(output)
    }

    /// Waits until it has exited.
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
    // An exit status without a code means that the data is not good.
    let known = |exit: i32| ErrorCode::ALL.iter().copied().find(|code| i32::from(code.exit()) == exit);
    match (status.signal(), status.code()) {
        (Some(_), _) => ErrorCode::Temporary,
        (None, Some(65) | None) => ErrorCode::Malformed,
        // A shell reports a command that was killed by a signal in this way.
        (None, Some(128..=192)) => ErrorCode::Temporary,
        (None, Some(exit)) => known(exit).unwrap_or(ErrorCode::Malformed),
    }
}

impl Drop for Producer {
    /// A command whose output is closed usually exits by itself.
    fn drop(&mut self) {
        if !self.ended && !matches!(self.wait_for(GRACE), Ok(Some(_))) {
            // It may have exited in the meantime.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
