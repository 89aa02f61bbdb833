//! How the stage before ended: the part of the verdict that the archive itself
//! cannot give.

use crate::cli::Cli;
use crate::producer::Producer;
use crate::run_dir::RunDir;
use loader_stage::Failure;

/// Who wrote the archive.
pub(crate) enum Upstream {
    /// A command of our own.
    Producer(Producer),
    /// A stage that reports to the folder of the run.
    RunDir(RunDir),
    /// Nobody who could be asked.
    Unknown,
}

/// How it ended, where it did not fail.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Ready,
    Unknown,
}

impl Upstream {
    /// Starts the command, or finds the folder of the run.
    pub(crate) fn new(cli: &Cli) -> Result<Self, Failure> {
        match Producer::start(&cli.producer)? {
            Some(producer) => Ok(Self::Producer(producer)),
            None => Ok(RunDir::find(cli.after.as_deref())?.map_or(Self::Unknown, Self::RunDir)),
        }
    }

    /// Waits for the end of whoever wrote the archive, which has ended already.
    ///
    /// # Errors
    /// Its failure.
    pub(crate) fn ending(&mut self) -> Result<Ending, Failure> {
        match self {
            Self::Producer(producer) => producer.ending().map(|()| Ending::Ready),
            Self::RunDir(run_dir) => run_dir.ending(),
            Self::Unknown => Ok(Ending::Unknown),
        }
    }

    /// The failure that is known by now, without waiting.
    pub(crate) fn known_failure(&mut self) -> Option<Failure> {
        match self {
            Self::RunDir(run_dir) => run_dir.known_failure(),
            Self::Producer(_) | Self::Unknown => None,
        }
    }
}

impl Ending {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Unknown => "unknown",
        }
    }
}
