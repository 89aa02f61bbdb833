//! How the stage before ended: the part of the verdict that the archive itself
//! cannot give.

use crate::cli::Cli;
use crate::producer::Producer;
use loader_stage::{Ending, Failure, RunDir};

/// The stage whose plaintext this is, unless told otherwise.
const USUAL_STAGE: &str = "az-decrypt";

/// Who wrote the archive.
pub(crate) enum Upstream {
    /// A command of our own.
    Producer(Producer),
    /// A stage that reports to the folder of the run.
    RunDir(RunDir),
    /// Nobody who could be asked.
    Unknown,
}

impl Upstream {
    /// Starts the command, or finds the folder of the run.
    pub(crate) fn new(cli: &Cli) -> Result<Self, Failure> {
        match Producer::start(&cli.producer)? {
            Some(producer) => Ok(Self::Producer(producer)),
            None => {
                let before = RunDir::find(cli.after.as_deref(), USUAL_STAGE, "nothing was loaded")?;
                Ok(before.map_or(Self::Unknown, Self::RunDir))
            }
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
