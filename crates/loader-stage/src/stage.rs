//! A running stage: its inputs, outputs, secrets and events.

use crate::events::{Emitter, EventFields};
use crate::secret::{MAX_SECRET_LEN, change_failure, dir_failure, permission_failure, read_secret};
use crate::{
    ByteProgress, Content, CredentialsArgs, Failure, Input, LockWait, Output, OutputArgs, SecretSource, process,
    prompt, signals,
};
use loader_model::{Credentials, ErrorCode, Step, Unit, UnlockState};
use serde_json::Value;
use std::cell::Cell;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use zeroize::Zeroizing;

/// The running stage, which [`run`](crate::run) passes to the filter.
pub struct Stage {
    emitter: Arc<Emitter>,
    working: UnlockState,
    progress: ByteProgress,
    insecure_perms: bool,
    stdin_claimed: Cell<bool>,
}

impl Stage {
    pub(crate) fn new(emitter: Arc<Emitter>, working: UnlockState, insecure_perms: bool) -> Self {
        let progress = ByteProgress::new(emitter.clone(), Instant::now());
        Self { emitter, working, progress, insecure_perms, stdin_claimed: Cell::new(false) }
    }

    /// Reports that the work begins, after all inputs and outputs were opened.
    pub fn begin(&self) {
        if self.working != UnlockState::Idle {
            self.emitter.state(self.working, EventFields::default());
        }
    }

    /// Call it before a commit that must not be left half-done. If the process has received a
    /// termination signal, it blocks until the process ends. Afterwards the first signal is only
    /// reported, because the process has to learn how the commit ends and may have to undo it;
    /// the second signal ends the process.
    pub fn begin_commit(&self) {
        signals::begin_commit();
    }

    /// Reports a step. `detail` contains pairs of a name and a value, and must not contain secrets.
    pub fn step(&self, step: Step, detail: &[(&str, Value)]) {
        self.emitter.step(step, detail);
    }

    /// Reports that `step` has completed `done` of `total` layers.
    pub fn layers(&self, step: Step, done: usize, total: usize) {
        let (done, total) = (Some(done as u64), Some(total as u64));
        self.emitter.report(EventFields {
            step: Some(step),
            done,
            total,
            unit: Some(Unit::Layers),
            ..EventFields::default()
        });
    }

    /// Returns the byte counter of the progress events and the final event.
    pub fn progress(&self) -> &ByteProgress {
        &self.progress
    }

    pub(crate) fn ready(&self) {
        self.emitter.state(UnlockState::Ready, self.progress.report());
    }

    /// Returns a bounded wait for locked files: 60 seconds, or `AZ_LOCK_TIMEOUT`.
    ///
    /// # Errors
    /// `config` if `AZ_LOCK_TIMEOUT` is not a number.
    pub fn lock_wait(&self) -> Result<LockWait<'_>, Failure> {
        LockWait::new(&self.emitter)
    }

    /// Opens the file at `path`, or standard input for `-`.
    ///
    /// # Errors
    /// `usage` if standard input is already in use; `not_found` or `io` if the file cannot be
    /// opened.
    pub fn input(&self, path: &Path) -> Result<Input, Failure> {
        if path.as_os_str() != "-" {
            return Input::open(path);
        }
        self.claim_stdin()?;
        Input::stdin()
    }

    fn claim_stdin(&self) -> Result<(), Failure> {
        if self.stdin_claimed.replace(true) {
            return Err(Failure::new(ErrorCode::Usage, "standard input is used for two inputs")
                .hint("only one input can be - or omitted; use a file for the other".to_owned()));
        }
        Ok(())
    }

    /// Opens standard output, or the file given with `-o`.
    ///
    /// # Errors
    /// `usage` for a secret or binary data on a terminal; `config` for a secret in a file that
    /// another user may have opened; `cannot_create`.
    pub fn output(&self, args: &OutputArgs, content: Content) -> Result<Output, Failure> {
        if content == Content::Secret {
            process::lock_memory();
        }
        Output::new(args, content, self.insecure_perms)
    }

    /// Keeps the memory of the process out of swap, if the process may lock it. Only a filter
    /// that generates a secret needs to call this: reading a secret, and opening an output
    /// for one, does it too.
    pub fn lock_memory(&self) {
        process::lock_memory();
    }

    /// Reads a secret of at most 64 KiB. Returns `None` if it has no source.
    ///
    /// # Errors
    /// `no_input` if the source is empty; `malformed` for text in another encoding than
    /// UTF-8; the errors of [`Stage::check_permissions`] and [`Stage::input`].
    pub fn secret(&self, from: SecretSource<'_>) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
        let is_stdin =
            from.fd == Some(0) || from.fd.is_none() && from.path().is_some_and(|path| path.as_os_str() == "-");
        if is_stdin {
            self.claim_stdin()?;
        }
        read_secret(from, self.insecure_perms)
    }

    /// Checks that no other user can read or replace `input`, which contains the secret named
    /// `what`; `--insecure-perms` disables the check. [`Stage::secret`] calls this itself;
    /// other callers need it only if the content of a file determines whether it is secret.
    ///
    /// # Errors
    /// `config` if another user can read or replace it.
    pub fn check_permissions(&self, input: &Input, what: &str) -> Result<(), Failure> {
        permission_failure(input, what).filter(|_| !self.insecure_perms).map_or(Ok(()), Err)
    }

    /// Reads a file of at most 64 KiB that is not secret, but on which the security of this
    /// device depends, such as the public key named `what`.
    ///
    /// # Errors
    /// `config` if another user can change or replace the file, unless `--insecure-perms` is
    /// given; `malformed` for text in another encoding than UTF-8; `not_found`, `io`.
    pub fn trusted_file(&self, path: &Path, what: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let mut input = self.input(path)?;
        change_failure(&input, what).filter(|_| !self.insecure_perms).map_or(Ok(()), Err)?;
        input.read_text(MAX_SECRET_LEN)
    }

    /// Checks that no other user can change or replace the files in `dir`, on which the security
    /// of this device depends. A directory that does not exist is accepted.
    ///
    /// # Errors
    /// `config`, unless `--insecure-perms` is given.
    pub fn check_trusted_dir(&self, dir: &Path, what: &str) -> Result<(), Failure> {
        dir_failure(dir, what).filter(|_| !self.insecure_perms).map_or(Ok(()), Err)
    }

    /// Reads a secret as text and removes surrounding white space.
    ///
    /// # Errors
    /// The errors of [`Stage::secret`]; `malformed` if it is not UTF-8; `config` with a hint
    /// if it has no source.
    pub fn secret_text(&self, from: SecretSource<'_>) -> Result<Zeroizing<String>, Failure> {
        let what = from.what;
        let secret = self.secret(from)?.ok_or_else(|| {
            Failure::new(ErrorCode::Config, format_args!("no {what} given")).hint(format!(
                "use --{what}-file PATH (- is standard input), --{what}-fd N or AZ_{}_FILE",
                what.to_uppercase().replace('-', "_")
            ))
        })?;
        match std::str::from_utf8(&secret) {
            Ok(text) => Ok(Zeroizing::new(text.trim().to_owned())),
            Err(_) => Err(Failure::new(ErrorCode::Malformed, format_args!("the {what} is not text"))),
        }
    }

    /// Reads email and password. Returns `None` if they have no source.
    ///
    /// # Errors
    /// The errors of [`Stage::secret`]; `malformed` if the content is not the JSON object.
    pub fn credentials(&self, args: &CredentialsArgs) -> Result<Option<Credentials>, Failure> {
        let Some(json) = self.secret(args.source())? else { return Ok(None) };
        Credentials::from_json(&json).map(Some).ok_or_else(|| {
            Failure::new(ErrorCode::Malformed, "the credentials are not {\"email\":\"…\",\"password\":\"…\"}")
        })
    }

    /// Asks for email and password on the terminal. Returns `None` if there is no terminal.
    ///
    /// # Errors
    /// `config` if the input is empty or not UTF-8; `io` if the terminal fails.
    pub fn ask_credentials(&self) -> Result<Option<Credentials>, Failure> {
        prompt::ask_credentials().map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof | ErrorKind::InvalidData => Failure::new(ErrorCode::Config, error),
            _ => Failure::io("terminal", &error),
        })
    }
}
