//! A running stage: its inputs, outputs, secrets and reports.

use crate::emit::{Emitter, Report};
use crate::secret::{SECRET_MAX, loose_permissions};
use crate::{
    Content, CredentialsArgs, Failure, Input, Output, OutputArgs, Progress, SecretFrom, process, prompt, signals,
};
use loader_model::{Credentials, ErrorCode, Unit, UnlockState, printable};
use serde_json::{Map, Value};
use std::cell::Cell;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use zeroize::Zeroizing;

/// What a filter's `run` is given.
pub struct Stage {
    emitter: Arc<Emitter>,
    working: UnlockState,
    progress: Progress,
    insecure_perms: bool,
    stdin_claimed: Cell<bool>,
}

impl Stage {
    pub(crate) fn new(emitter: Arc<Emitter>, working: UnlockState, insecure_perms: bool) -> Self {
        let progress = Progress::new(emitter.clone(), Instant::now());
        Self { emitter, working, progress, insecure_perms, stdin_claimed: Cell::new(false) }
    }

    /// Says that the work begins: inputs are there, outputs are open.
    pub fn begin(&self) {
        if self.working != UnlockState::Idle {
            self.emitter.state(self.working, Report::default());
        }
    }

    /// To be called before a commit that must not be left half-done. If a signal has asked
    /// the process to end, this does not return, and the process ends. Afterwards the first
    /// signal is only reported, because the process has to learn how the commit ends and
    /// may have to undo it; the second signal ends the process.
    pub fn before_commit(&self) {
        signals::begin_commit();
    }

    /// Says what precisely happens: `step` is lower case with hyphens, `detail`
    /// pairs of a name and a value, without secrets.
    pub fn step(&self, step: &str, detail: &[(&str, Value)]) {
        let safe = |value: &Value| value.as_str().map_or_else(|| value.clone(), |text| printable(text).into());
        let detail: Map<_, _> = detail.iter().map(|(name, value)| ((*name).to_owned(), safe(value))).collect();
        let detail = (!detail.is_empty()).then_some(detail);
        self.emitter.report(Report { step: Some(step), detail, ..Report::default() });
    }

    /// Says that `step` has come to layer `done` of `total`.
    pub fn layers(&self, step: &str, done: usize, total: usize) {
        let (done, total) = (Some(done as u64), Some(total as u64));
        self.emitter.report(Report { step: Some(step), done, total, unit: Some(Unit::Layers), ..Report::default() });
    }

    /// The count of bytes that progress lines and the final line tell.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    pub(crate) fn ready(&self) {
        self.emitter.state(UnlockState::Ready, self.progress.report());
    }

    /// The file at `path`, or standard input for `-`.
    ///
    /// # Errors
    /// `usage` where standard input is read twice, `not_found` or `io` where the
    /// file cannot be opened.
    pub fn input(&self, path: &Path) -> Result<Input, Failure> {
        if path.as_os_str() != "-" {
            return Input::open(path);
        }
        if self.stdin_claimed.replace(true) {
            return Err(Failure::new(ErrorCode::Usage, "standard input is named twice")
                .hint("only one input can be - (or left out); name a file for the other".to_owned()));
        }
        Input::stdin()
    }

    /// Standard output, or the file of `-o`.
    ///
    /// # Errors
    /// `usage` for a secret or binary data to a terminal, `cannot_create`.
    pub fn output(&self, args: &OutputArgs, content: Content) -> Result<Output, Failure> {
        if content == Content::Secret {
            process::lock_memory();
        }
        Output::new(args, content)
    }

    /// Keeps what is in memory from now on out of swap where it may, for a filter that
    /// makes a secret itself. Secrets that are read, and outputs for them, do so too.
    pub fn hold_secrets(&self) {
        process::lock_memory();
    }

    /// The secret from its source; `None` where none is named. At most 64 KiB.
    ///
    /// # Errors
    /// `no_input` where the source is empty, those of [`Stage::refuse_loose`] and
    /// of [`Stage::input`].
    pub fn secret(&self, from: SecretFrom<'_>) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
        process::lock_memory();
        let mut input = match (from.fd, from.path()) {
            (Some(0), _) => self.input(Path::new("-"))?,
            (Some(fd), _) => Input::descriptor(fd)?,
            (None, Some(path)) => self.input(&path)?,
            (None, None) => return Ok(None),
        };
        self.refuse_loose(&input, from.what)?;
        let secret = input.read_all(SECRET_MAX)?;
        if secret.iter().all(u8::is_ascii_whitespace) {
            return Err(Failure::no_input(from.what, input.name()));
        }
        Ok(Some(secret))
    }

    /// Passes where `input`, which holds the secret called `what`, is the user's
    /// alone, or `--insecure-perms` insists. [`Stage::secret`] asks it; others for
    /// files of which only the content tells whether they are secret.
    ///
    /// # Errors
    /// `config` where it is a file that group or others can read.
    pub fn refuse_loose(&self, input: &Input, what: &str) -> Result<(), Failure> {
        loose_permissions(input, what).filter(|_| !self.insecure_perms).map_or(Ok(()), Err)
    }

    /// The secret as text without surrounding white space.
    ///
    /// # Errors
    /// Those of [`Stage::secret`]; `malformed` where it is not text; `config`
    /// with a hint where no source is named.
    pub fn secret_text(&self, from: SecretFrom<'_>) -> Result<Zeroizing<String>, Failure> {
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

    /// Email and password from their source; `None` where none is named.
    ///
    /// # Errors
    /// Those of [`Stage::secret`]; `malformed` where it is not the JSON object.
    pub fn credentials(&self, args: &CredentialsArgs) -> Result<Option<Credentials>, Failure> {
        let Some(json) = self.secret(args.source())? else { return Ok(None) };
        Credentials::from_json(&json).map(Some).ok_or_else(|| {
            Failure::new(ErrorCode::Malformed, "the credentials are not {\"email\":\"…\",\"password\":\"…\"}")
        })
    }

    /// Email and password as typed on the terminal; `None` where there is none.
    ///
    /// # Errors
    /// `config` where nothing, or no text, was typed; `io` where the terminal fails.
    pub fn ask_credentials(&self) -> Result<Option<Credentials>, Failure> {
        prompt::credentials().map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof | ErrorKind::InvalidData => Failure::new(ErrorCode::Config, error),
            _ => Failure::io("terminal", &error),
        })
    }
}
