//! The gate: everything streams, what names the images waits for the verdict.

use crate::present::{self, failure};
use crate::upstream::Upstream;
use loader_archive::{Archive, Error as ArchiveError, Expected, Image, Omit, Passed, Scanner, Unpacked, compare};
use loader_engine::{Engine, Error as EngineError, Found, Program, Said, Target};
use loader_model::printable;
use loader_stage::{ErrorCode, Failure, Stage};
use std::collections::BTreeSet;
use std::io::Read;
use std::time::{Duration, Instant};

/// Bytes that are read and sent at once.
const BUFFER_LEN: usize = 256 * 1024;

/// How long an engine whose answer was lost after the commit may take to load.
const SETTLE: Duration = Duration::from_secs(10);

/// Time between two looks at what it has.
const LOOK: Duration = Duration::from_millis(200);

/// The way into the engine.
pub(crate) enum Way {
    Engine(Engine),
    Program(String),
}

impl Way {
    fn completes_locally(&self) -> bool {
        matches!(self, Self::Engine(engine) if engine.completes_locally())
    }
}

/// One load.
pub(crate) struct Load<'a> {
    pub(crate) stage: &'a Stage,
    pub(crate) way: &'a Way,
    /// What messages call the input.
    pub(crate) place: &'a str,
    pub(crate) upstream: Upstream,
    pub(crate) expected: Option<&'a Expected>,
}

/// What ends a transfer.
enum Fault {
    Archive(ArchiveError),
    Engine(EngineError),
}

impl From<ArchiveError> for Fault {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(error)
    }
}

impl From<EngineError> for Fault {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

impl Load<'_> {
    /// Loads the archive and asks for its images.
    pub(crate) fn run(mut self, input: Box<dyn Read>, omit: Omit) -> Result<Vec<Found>, Failure> {
        let mut target = None;
        let mut at_end = false;
        let scanned = self.transfer(input, omit, &mut target, &mut at_end);
        // The input is closed by now, so that a stage before us ends.
        let archive = scanned.map_err(|fault| self.first_cause(fault, at_end))?;
        let ending = self.upstream.ending()?;
        if let Some(expected) = self.expected {
            compare(&archive.images, &expected.images, self.way.completes_locally())
                .map_err(|error| self.archive_failure(&error))?;
        }
        self.stage.step(
            "verdict",
            &[
                ("upstream", ending.as_str().into()),
                ("images", archive.images.len().into()),
                ("expected", self.expected.is_some().into()),
            ],
        );
        if archive.omitted > 0 {
            self.stage.step("left-out", &[("layers", archive.omitted.into()), ("bytes", archive.omitted_len.into())]);
        }
        let Some(mut target) = target else { return Err(self.archive_failure(&ArchiveError::Empty)) };
        self.stage.before_commit();
        match target.send(&archive.tail).and_then(|()| self.commit(target, &archive)) {
            Ok(()) => self.check(archive.images),
            Err(error) => self.settle(error, &archive),
        }
    }

    fn transfer(
        &self,
        input: Box<dyn Read>,
        omit: Omit,
        target: &mut Option<Target>,
        at_end: &mut bool,
    ) -> Result<Archive, Fault> {
        let mut layers = 0_u64;
        let mut pass = |passed: Passed<'_>| -> Result<(), Fault> {
            match passed {
                Passed::Bytes(bytes) => match target {
                    Some(target) => target.send(bytes)?,
                    None => target.insert(self.open()?).send(bytes)?,
                },
                Passed::Layer { name, size, omitted } => {
                    layers += 1;
                    let step = if omitted { "layer-left-out" } else { "layer-sent" };
                    self.stage
                        .step(step, &[("n", layers.into()), ("name", printable(name).into()), ("size", size.into())]);
                }
            }
            Ok(())
        };
        let mut buffer = vec![0; BUFFER_LEN];
        let mut scanner = Scanner::new(omit);
        let mut input = Unpacked::new(self.stage.progress().count(input)).inspect_err(|error| {
            *at_end = matches!(error, ArchiveError::Empty);
        })?;
        // Until here it waited for the stage before.
        self.stage.begin();
        if input.is_packed() {
            self.stage.step("gzip", &[]);
        }
        loop {
            let read = input.read(&mut buffer).inspect_err(|error| {
                *at_end = matches!(error, ArchiveError::Truncated { .. });
            })?;
            match read {
                0 => break,
                read => scanner.push(&buffer[..read], &mut pass)?,
            }
        }
        *at_end = true;
        Ok(scanner.finish()?)
    }

    fn open(&self) -> Result<Target, EngineError> {
        match self.way {
            Way::Engine(engine) => engine.upload().map(Target::Engine),
            Way::Program(command) => Program::start(command).map(Target::Program),
        }
    }

    /// What is wrong with the archive is often only what the stage before left
    /// behind when it failed; then its failure is the one to tell.
    fn first_cause(&mut self, fault: Fault, at_end: bool) -> Failure {
        match fault {
            Fault::Engine(error) => failure(error),
            Fault::Archive(error) => {
                let upstream = if at_end { self.upstream.ending().err() } else { self.upstream.known_failure() };
                upstream.unwrap_or_else(|| self.archive_failure(&error))
            }
        }
    }

    fn archive_failure(&self, error: &ArchiveError) -> Failure {
        let code = ErrorCode::from_name(error.code());
        let failure = Failure::new(code, format_args!("{}: {error}; nothing was loaded", self.place));
        failure.hint(error.hint().map(str::to_owned))
    }

    fn commit(&self, target: Target, archive: &Archive) -> Result<(), EngineError> {
        let layers: BTreeSet<_> = archive
            .images
            .iter()
            .flat_map(|image| &image.layers)
            .filter_map(|layer| layer.diff_id.as_deref())
            .collect();
        self.stage.layers("unpacking", 0, layers.len());
        let mut begun = 0;
        target.commit(|said| {
            // The engine names a layer when it begins with it.
            if let Said::Layer(_) = said {
                self.stage.layers("unpacking", begun, layers.len().max(begun));
                begun += 1;
            }
        })
    }

    /// After a commit that failed. Where only its answer is lost, the engine has
    /// the whole archive and may well load it: what is there in the end decides.
    fn settle(&self, error: EngineError, archive: &Archive) -> Result<Vec<Found>, Failure> {
        let lost = matches!(error, EngineError::Gone { .. } | EngineError::Silent { .. });
        let mut cause = failure(error);
        if let (true, Way::Engine(engine)) = (lost, self.way) {
            self.stage.step("answer-lost", &[]);
            let start = Instant::now();
            while start.elapsed() < SETTLE {
                if let Ok(Ok(found)) = present::ask(engine, &archive.images) {
                    return Ok(found);
                }
                std::thread::sleep(LOOK);
            }
            cause = cause.hint("it may have loaded a part: run it again".to_owned());
        }
        Err(match archive.omitted {
            0 => cause,
            _ => cause.hint("run it again without --skip-present-layers".to_owned()),
        })
    }

    /// Asks for what should be there now.
    fn check(&self, images: Vec<Image>) -> Result<Vec<Found>, Failure> {
        let Way::Engine(engine) = self.way else {
            let id = |image: &Image| image.config.clone().or_else(|| image.manifest.clone()).unwrap_or_default();
            return Ok(images.into_iter().map(|image| Found { id: id(&image), tags: image.tags }).collect());
        };
        present::ask(engine, &images)?.map_err(|absence| {
            Failure::new(ErrorCode::Protocol, format_args!("the engine says it loaded everything, but {absence}"))
        })
    }
}
