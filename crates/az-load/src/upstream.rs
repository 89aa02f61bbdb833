//! How the previous stage ended: the part of the verdict that is not in the archive.

use crate::cli::Cli;
use crate::producer::Producer;
use loader_stage::{Ending, Failure, RunDir};

/// The previous stage, unless `--after` names another one.
const USUAL_STAGE: &str = "az-decrypt";

/// The source of the archive.
pub(crate) enum Upstream {
    /// A command that az-load runs.
    Producer(Producer),
    /// A stage that writes its events to the run directory.
    RunDir(RunDir),
    /// A source that reports nothing.
    Unknown,
}

impl Upstream {
    /// Starts the command, or finds the run directory.
    pub(crate) fn new(cli: &Cli) -> Result<Self, Failure> {
        match Producer::start(&cli.producer)? {
            Some(producer) => Ok(Self::Producer(producer)),
            None => {
                let before = RunDir::find(cli.after.as_deref(), USUAL_STAGE, "nothing was loaded")?;
                Ok(before.map_or(Self::Unknown, Self::RunDir))
            }
        }
    }

    /// Waits until the source has exited; its output has ended already.
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

    /// Returns the failure that is known so far, without waiting.
    pub(crate) fn known_failure(&mut self) -> Option<Failure> {
        match self {
            Self::RunDir(run_dir) => run_dir.known_failure(),
            Self::Producer(_) | Self::Unknown => None,
        }
    }
}
