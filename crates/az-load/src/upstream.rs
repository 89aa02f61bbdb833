//! How the stage before ended: the part of the verdict that the archive itself
//! cannot give.

use crate::cli::Cli;
use crate::producer::Producer;
use loader_stage::{Failure, UpstreamEvents, UpstreamOutcome};

/// The stage whose plaintext this is, unless told otherwise.
const USUAL_STAGE: &str = "az-decrypt";

/// Who wrote the archive.
pub(crate) enum Upstream {
    /// A command of our own.
    Producer(Producer),
    /// A stage that reports to the folder of the run.
    RunDir(UpstreamEvents),
    /// Nobody who could be asked.
    Unknown,
}

impl Upstream {
    /// Starts the command, or finds the folder of the run.
    pub(crate) fn new(cli: &Cli) -> Result<Self, Failure> {
        match Producer::start(&cli.producer)? {
            Some(producer) => Ok(Self::Producer(producer)),
            None => {
                let before = UpstreamEvents::find(cli.after.as_deref(), USUAL_STAGE, "nothing was loaded")?;
                Ok(before.map_or(Self::Unknown, Self::RunDir))
            }
        }
    }

    /// Waits for the end of whoever wrote the archive, which has ended already.
    ///
    /// # Errors
    /// Its failure.
    pub(crate) fn ending(&mut self) -> Result<UpstreamOutcome, Failure> {
        match self {
            Self::Producer(producer) => producer.ending().map(|()| UpstreamOutcome::Ready),
            Self::RunDir(run_dir) => run_dir.wait_for_exit(),
            Self::Unknown => Ok(UpstreamOutcome::Unknown),
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
