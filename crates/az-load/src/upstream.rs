//! Outcome of the previous stage, on which the verdict depends in addition to the archive.

use crate::cli::Cli;
use crate::producer::Producer;
use loader_stage::{Failure, StageName, UpstreamEvents, UpstreamOutcome};

/// Name of the previous stage, unless `--after` names another one.
const DEFAULT_STAGE: StageName = StageName::Decrypt;

/// The source of the archive.
pub(crate) enum Upstream {
    /// A command that az-load runs.
    Producer(Producer),
    /// A stage that writes its events to the run directory.
    UpstreamEvents(UpstreamEvents),
    /// A source that reports nothing.
    Unknown,
}

impl Upstream {
    /// Starts the command if there is one, otherwise finds the events of the previous stage.
    pub(crate) fn new(cli: &Cli) -> Result<Self, Failure> {
        match Producer::start(&cli.producer)? {
            Some(producer) => Ok(Self::Producer(producer)),
            None => {
                let before = UpstreamEvents::find(cli.after.as_ref(), DEFAULT_STAGE, "nothing was loaded")?;
                Ok(before.map_or(Self::Unknown, Self::UpstreamEvents))
            }
        }
    }

    /// Waits until the source has exited. Call it only at the end of its output.
    ///
    /// # Errors
    /// The failure of the source.
    pub(crate) fn wait_for_exit(&mut self) -> Result<UpstreamOutcome, Failure> {
        match self {
            Self::Producer(producer) => producer.wait_for_exit().map(|()| UpstreamOutcome::Ready),
            Self::UpstreamEvents(run_dir) => run_dir.wait_for_exit(),
            Self::Unknown => Ok(UpstreamOutcome::Unknown),
        }
    }

    /// Returns the failure that is known so far, without waiting.
    pub(crate) fn known_failure(&mut self) -> Option<Failure> {
        match self {
            Self::UpstreamEvents(run_dir) => run_dir.known_failure(),
            Self::Producer(_) | Self::Unknown => None,
        }
    }
}
