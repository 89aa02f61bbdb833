//! Which content is accepted: the options, and their check against a statement.

use crate::{OpenError, ReleaseRecords, public_keys};
use loader_model::{Coded, Description, ErrorCode, printable};
use loader_pack::{PublisherKey, ReleaseId, Statement};
use loader_seal::Metadata;
use loader_stage::{Failure, Stage, Step};
use std::path::PathBuf;

/// Options that determine which content is accepted.
#[derive(Debug, Default, Clone, clap::Args)]
#[command(next_help_heading = PolicyArgs::HEADING)]
pub struct PolicyArgs {
    /// Ed25519 public keys of the publishers, PEM; repeatable
    #[arg(long, value_name = "PATH", env = "AZ_PUBLISHER_KEY_FILE")]
    pub publisher_key_file: Vec<PathBuf>,

    /// Number of publisher keys that must have signed the content [default: 1]
    #[arg(long, value_name = "N", env = "AZ_REQUIRE_SIGNATURES", hide_env = true, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub require_signatures: Option<u8>,

    /// Accept content that nobody has signed
    #[arg(long)]
    pub allow_unsigned: bool,

    /// Accept only content with this name
    #[arg(long, value_name = "NAME", env = "AZ_EXPECT_NAME", hide_env = true)]
    pub expect_name: Option<String>,

    /// Refuse releases older than this number
    #[arg(long, value_name = "N", env = "AZ_MIN_RELEASE", hide_env = true)]
    pub min_release: Option<u64>,

    /// Refuse releases older than the newest one recorded in DIR
    #[arg(long, value_name = "DIR")]
    pub release_records: Option<PathBuf>,

    /// Accept a release older than the newest one recorded
    #[arg(long)]
    pub allow_downgrade: bool,
}

impl PolicyArgs {
    /// Heading of the options in the manual.
    pub const HEADING: &str = "Publisher options";

    /// Returns true if one of the options that refuse content is given.
    pub fn is_given(&self) -> bool {
        !self.publisher_key_file.is_empty()
            || self.require_signatures.is_some()
            || self.expect_name.is_some()
            || self.min_release.is_some()
            || self.release_records.is_some()
    }

    /// Reads the keys and returns the policy.
    ///
    /// # Errors
    /// `cannot_create` if the directory of the records does not exist;
    /// `config` if a key cannot be used, if more signatures are required than there are keys, or
    /// if another user can change the directory of the records.
    pub fn read(&self, stage: &Stage) -> Result<Policy, Failure> {
        let mut keys = Vec::new();
        for path in &self.publisher_key_file {
            for key in public_keys(stage, path)? {
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
        }
        let required = usize::from(self.require_signatures.unwrap_or(1));
        if self.require_signatures.is_some() && keys.len() < required {
            let what =
                format_args!("--require-signatures {required} needs {required} publisher keys, not {}", keys.len());
            return Err(Failure::new(ErrorCode::Config, what)
                .hint("add --publisher-key-file, or publisher_key_file in config.yaml".to_owned()));
        }
        if let Some(dir) = self.release_records.as_deref().filter(|_| !keys.is_empty()) {
            stage.check_trusted_dir(dir, "directory of the records")?;
            // Otherwise the newest release could not be recorded after it was opened.
            if dir.symlink_metadata().is_err() {
                let what = format_args!("{}: no such directory", dir.display());
                return Err(Failure::new(ErrorCode::CannotCreate, what).hint("create it with mode 0700".to_owned()));
            }
        }
        Ok(Policy {
            keys,
            required,
            allow_unsigned: self.allow_unsigned,
            expect_name: self.expect_name.clone(),
            min_release: self.min_release,
            records: self.release_records.as_deref().map(ReleaseRecords::new),
            allow_downgrade: self.allow_downgrade,
        })
    }
}

/// Which content is accepted.
#[derive(Debug, Default)]
pub struct Policy {
    keys: Vec<PublisherKey>,
    required: usize,
    allow_unsigned: bool,
    expect_name: Option<String>,
    min_release: Option<u64>,
    records: Option<ReleaseRecords>,
    allow_downgrade: bool,
}

/// Content that a policy has accepted.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// Configured publishers that have signed it; empty if no key is configured, or the content
    /// is unsigned.
    pub signers: Vec<PublisherKey>,
    /// Name in the statement, or in the header if there is no statement.
    pub name: Option<String>,
    /// Number of the release, from the same source.
    pub release: Option<u64>,
    /// Identifier of the release; `None` without a statement.
    pub release_id: Option<ReleaseId>,
    /// Number of the newest release that was unlocked, if this one is older.
    newer: Option<u64>,
    /// Publishers are configured, and none of them has signed it.
    is_unsigned_exception: bool,
}

impl Accepted {
    /// Returns true if a configured publisher has signed it.
    pub fn is_signed(&self) -> bool {
        !self.signers.is_empty()
    }

    /// Reports the signers, and each exception that an option has allowed.
    pub fn report(&self, stage: &Stage) {
        if self.is_signed() {
            let signers: Vec<_> = self.signers.iter().map(ToString::to_string).collect();
            let mut detail = vec![("signers", signers.into())];
            detail.extend(self.release_id.map(|id| ("release_id", id.to_string().into())));
            detail.extend(self.name.iter().map(|name| ("name", name.as_str().into())));
            detail.extend(self.release.map(|release| ("release", release.into())));
            stage.step(Step::SignatureVerified, &detail);
        }
        if self.is_unsigned_exception {
            stage.step(Step::UnsignedAccepted, &[]);
        }
        if let Some(newest) = self.newer {
            stage.step(Step::DowngradeAccepted, &[("release", self.release.into()), ("newest", newest.into())]);
        }
    }
}

/// Reason why content is not accepted.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Refusal {
    code: ErrorCode,
    what: String,
    pub(crate) hint: &'static str,
}

impl Coded for Refusal {
    fn code(&self) -> ErrorCode {
        self.code
    }

    fn hint(&self) -> Option<String> {
        Some(self.hint.to_owned())
    }
}

impl Policy {
    /// Returns the keys of the configured publishers.
    pub fn publisher_keys(&self) -> &[PublisherKey] {
        &self.keys
    }

    /// Returns the number of publishers that must have signed the content.
    pub fn required_signatures(&self) -> usize {
        self.required
    }

    /// Returns the policy on one line; empty if it accepts everything. Two policies with the
    /// same line accept the same content, apart from the records.
    pub fn summary(&self) -> String {
        let Self { keys, required, allow_unsigned, expect_name, min_release, records: _, allow_downgrade } = self;
        let mut parts = Vec::new();
        if !keys.is_empty() {
            let mut ids: Vec<_> = keys.iter().map(ToString::to_string).collect();
            ids.sort();
            parts.push(format!("publishers={}", ids.join(",")));
            parts.push(format!("required={required}"));
            parts.extend(allow_unsigned.then(|| "allow-unsigned".to_owned()));
            parts.extend(allow_downgrade.then(|| "allow-downgrade".to_owned()));
        }
        parts.extend(expect_name.iter().map(|name| format!("name={}", serde_json::Value::from(name.as_str()))));
        parts.extend(min_release.map(|release| format!("min-release={release}")));
        parts.join(" ")
    }

    /// Returns the records of unlocked releases, if they are used. Without a publisher key
    /// everybody who has the sealing key could write a release number, so there are none.
    pub fn records(&self) -> Option<&ReleaseRecords> {
        self.records.as_ref().filter(|_| !self.keys.is_empty())
    }

    /// Checks content with a statement: the header describes it as the statement does, and the
    /// policy accepts it.
    ///
    /// # Errors
    /// [`OpenError::Description`], [`OpenError::Refused`]; [`OpenError::Failed`] if a record
    /// cannot be read.
    pub fn check_statement(&self, statement: &Statement, header: &Metadata) -> Result<Accepted, OpenError> {
        if let Some(what) = statement.difference(&header.description, header.content_len) {
            return Err(OpenError::Description(what));
        }
        let release_id = statement.release_id();
        let Description { name, release, .. } = statement.description().clone();
        let signers = self.signers(statement, &release_id)?;
        self.check_description(name.as_deref(), release)?;
        let newer = if signers.is_empty() { None } else { self.check_records(name.as_deref(), release)? };
        let is_unsigned_exception = signers.is_empty() && !self.keys.is_empty();
        Ok(Accepted { signers, name, release, release_id: Some(release_id), newer, is_unsigned_exception })
    }

    /// Checks content without a statement, which nobody can have signed. `header` is its
    /// description in the header, if there is one.
    ///
    /// # Errors
    /// The [`Refusal`].
    pub fn check_without_statement(&self, header: &Description) -> Result<Accepted, Refusal> {
        let is_unsigned_exception = !self.keys.is_empty();
        if is_unsigned_exception && !self.allow_unsigned {
            return Err(unsigned("it has no statement that somebody could have signed"));
        }
        let Description { name, release, .. } = header.clone();
        self.check_description(name.as_deref(), release)?;
        Ok(Accepted { signers: Vec::new(), name, release, release_id: None, newer: None, is_unsigned_exception })
    }

    /// Checks the description in the header of packed content before its statement was read.
    /// The statement must contain the same, so that content which fails here would be refused in any
    /// case. Content that passes is not accepted yet.
    ///
    /// # Errors
    /// Those of [`Policy::check_statement`].
    pub(crate) fn check_header(&self, header: &Description) -> Result<(), OpenError> {
        let (name, release) = (header.name.as_deref(), header.release);
        self.check_description(name, release)?;
        // Unsigned content that is allowed has no number that counts.
        if self.allow_unsigned { Ok(()) } else { self.check_records(name, release).map(drop) }
    }

    /// Compares a release with the record of its name. Returns the number of the newest one that
    /// was unlocked, if it is newer, and that is allowed.
    fn check_records(&self, name: Option<&str>, release: Option<u64>) -> Result<Option<u64>, OpenError> {
        let Some(records) = self.records() else { return Ok(None) };
        let newest = records.newest(name.unwrap_or_default()).map_err(OpenError::Failed)?;
        // Without a number, it could be used for ever.
        if release.is_none() && newest.is_none() && !self.allow_downgrade {
            let what = "it has no release number that could be compared with later ones".to_owned();
            let hint = "seal it with az-encrypt --release N, or use --allow-downgrade";
            return Err(Refusal { code: ErrorCode::ReleaseTooOld, what, hint }.into());
        }
        let newer = newest.filter(|newest| release.is_none_or(|release| release < *newest));
        if let Some(newest) = newer.filter(|_| !self.allow_downgrade) {
            let what = format!("{}, and this device has unlocked release {newest}", numbered(release));
            let hint = "get the newest release, or use --allow-downgrade";
            return Err(Refusal { code: ErrorCode::ReleaseTooOld, what, hint }.into());
        }
        Ok(newer)
    }

    /// Returns the configured publishers that have signed `statement`.
    fn signers(&self, statement: &Statement, release_id: &ReleaseId) -> Result<Vec<PublisherKey>, Refusal> {
        let signatures = statement.signatures();
        if self.keys.is_empty() || signatures.is_empty() && self.allow_unsigned {
            return Ok(Vec::new());
        }
        if signatures.is_empty() {
            return Err(unsigned("nobody has signed it"));
        }
        if let Some(invalid) = signatures.iter().find(|signature| !signature.is_valid(release_id)) {
            let what = format!("the signature by key {} is not valid", invalid.key());
            let hint = "the file was changed by somebody who has its sealing key: get another from its publisher";
            return Err(Refusal { code: ErrorCode::SignatureInvalid, what, hint });
        }
        let signers: Vec<_> = signatures.iter().map(|s| s.key()).filter(|key| self.keys.contains(key)).collect();
        match signers.len() {
            0 => {
                let keys: Vec<_> = signatures.iter().map(|signature| signature.key().to_string()).collect();
                let what = format!("signed by unknown publishers: key {}", keys.join(", "));
                let hint =
                    "if the publisher has a new key, add it to the file of publisher_key_file or --publisher-key-file";
                Err(Refusal { code: ErrorCode::SignerUnknown, what, hint })
            }
            count if count < self.required => {
                let what = format!("signed by {count} of the configured publishers instead of {}", self.required);
                let hint = "let the other publishers sign it, too, or lower --require-signatures";
                Err(Refusal { code: ErrorCode::SignaturesMissing, what, hint })
            }
            _ => Ok(signers),
        }
    }

    fn check_description(&self, name: Option<&str>, release: Option<u64>) -> Result<(), Refusal> {
        if let Some(expected) = self.expect_name.as_deref().filter(|expected| name != Some(expected)) {
            let name =
                name.map_or_else(|| "it has no name".to_owned(), |name| format!("its name is {}", printable(name)));
            let what = format!("{name}, expected {}", printable(expected));
            let hint = "get the file with that name, or change --expect-name";
            return Err(Refusal { code: ErrorCode::NameMismatch, what, hint });
        }
        if let Some(min) = self.min_release.filter(|min| release.is_none_or(|release| release < *min)) {
            let what = format!("{}, older than --min-release {min}", numbered(release));
            return Err(Refusal { code: ErrorCode::ReleaseTooOld, what, hint: "get a newer release" });
        }
        Ok(())
    }
}

fn numbered(release: Option<u64>) -> String {
    release.map_or_else(|| "it has no release number".to_owned(), |number| format!("it is release {number}"))
}

fn unsigned(what: &str) -> Refusal {
    let hint = "sign it with az-encrypt --sign-key-file, or accept it with --allow-unsigned";
    Refusal { code: ErrorCode::Unsigned, what: what.to_owned(), hint }
}
