//! Failures while a patch is applied.

use crate::sealed_patch::head_failure;
use loader_patch::Error;
use loader_release::OpenError;
use loader_stage::{Coded, Failure};
use std::io;

/// Names of the files for messages.
pub(crate) struct Places {
    pub(crate) old: String,
    pub(crate) patch: String,
    pub(crate) target: String,
}

impl Places {
    /// Returns the failure of making the new content.
    pub(crate) fn failure(&self, error: loader_pack::Error) -> Failure {
        match error {
            loader_pack::Error::Read(error) => match Error::from_io(error) {
                Ok(Error::Old(error)) => self.old_failure(error),
                Ok(error) => head_failure(error, &self.patch),
                Err(error) => Failure::io(&self.patch, &error),
            },
            loader_pack::Error::Write(error) => self.write_failure(error),
            error @ loader_pack::Error::Mismatch(_) => {
                let what = format_args!("{}: it does not make the release that it names: {error}", self.patch);
                Failure::new(error.code(), what).hint("get the whole new release".to_owned())
            }
            other => Failure::at(&self.target, &other),
        }
    }

    fn old_failure(&self, error: io::Error) -> Failure {
        let error = match error.downcast::<loader_pack::Error>() {
            Ok(error) => error.into(),
            Err(error) => OpenError::Sealed(loader_seal::Error::from_io(error)),
        };
        self.open_failure(error)
    }

    /// Returns the failure of opening the old file.
    pub(crate) fn open_failure(&self, error: OpenError) -> Failure {
        error.into_failure(&self.old, &self.old, None)
    }

    /// Returns the failure of writing the new file.
    pub(crate) fn write_failure(&self, error: io::Error) -> Failure {
        match loader_seal::Error::from_io(error) {
            loader_seal::Error::Read(error) => Failure::io(&self.target, &error),
            other => Failure::at(&self.target, &other),
        }
    }
}
