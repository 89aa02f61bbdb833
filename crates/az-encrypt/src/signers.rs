//! Signing the release id: with private keys, and with a command.

use crate::cli::Cli;
use loader_pack::{PublisherKey, ReleaseId, SIGNATURE_LEN, Signature, SigningKey, signed_message};
use loader_stage::{ErrorCode, Failure, Stage, Step};
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

/// Maximum number of bytes that are read from the command, to report a wrong length.
const OUTPUT_MAX: u64 = 4096;

/// Signers of the content.
pub(crate) struct Signers {
    keys: Vec<SigningKey>,
    command: Option<SignCommand>,
}

struct SignCommand {
    words: Vec<String>,
    key: PublisherKey,
}

impl Signers {
    /// Reads the keys.
    ///
    /// # Errors
    /// `config` for a file without a usable key; `usage` for an empty command, or one key
    /// given twice.
    pub(crate) fn read(cli: &Cli, stage: &Stage) -> Result<Self, Failure> {
        let keys = cli.sign_key_file.iter().map(|path| loader_release::signing_key(stage, path));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        let command = match (&cli.sign_command, &cli.sign_public_key_file) {
            (Some(command), Some(path)) => {
                let [key] = loader_release::public_keys(stage, path)?[..] else {
                    let what = format_args!("{}: contains more than one public key", path.display());
                    return Err(Failure::new(ErrorCode::Config, what));
                };
                let words: Vec<_> = command.split_ascii_whitespace().map(str::to_owned).collect();
                if words.is_empty() {
                    return Err(Failure::new(ErrorCode::Usage, "--sign-command is empty"));
                }
                Some(SignCommand { words, key })
            }
            _ => None,
        };
        let signers = Self { keys, command };
        let public: Vec<_> = signers.public_keys().collect();
        if public.iter().enumerate().any(|(i, key)| public[..i].contains(key)) {
            return Err(Failure::new(ErrorCode::Usage, "the same signing key is given twice"));
        }
        if public.len() > loader_pack::SIGNATURES_MAX {
            let what = format_args!("more than {} signing keys", loader_pack::SIGNATURES_MAX);
            return Err(Failure::new(ErrorCode::Usage, what));
        }
        Ok(signers)
    }

    fn public_keys(&self) -> impl Iterator<Item = PublisherKey> {
        self.keys.iter().map(SigningKey::public_key).chain(self.command.iter().map(|command| command.key))
    }

    /// Signs `release` with every key and the command.
    ///
    /// # Errors
    /// `config` if the command cannot be started, fails, or does not return a valid signature.
    pub(crate) fn sign(&self, stage: &Stage, release: &ReleaseId) -> Result<Vec<Signature>, Failure> {
        let mut signatures: Vec<_> = self.keys.iter().map(|key| key.sign(release)).collect();
        if let Some(command) = &self.command {
            signatures.push(command.sign(release)?);
        }
        if !signatures.is_empty() {
            let signers: Vec<_> = self.public_keys().map(|key| key.to_string()).collect();
            stage.step(Step::Signed, &[("signers", signers.into()), ("release_id", release.to_string().into())]);
        }
        Ok(signatures)
    }
}

impl SignCommand {
    fn sign(&self, release: &ReleaseId) -> Result<Signature, Failure> {
        let program = &self.words[0];
        let failure = |what: String| {
            Failure::new(ErrorCode::Config, format_args!("--sign-command {program}: {what}")).hint(
                "it must sign its standard input with Ed25519, and write the 64 bytes of the signature".to_owned(),
            )
        };
        let child = Command::new(program)
            .args(&self.words[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| failure(format!("cannot be started: {error}")))?;
        let output = exchange(child, &signed_message(release)).map_err(failure)?;
        let signature = Signature::new(self.key, &output).ok_or_else(|| {
            failure(format!("wrote {} bytes instead of a signature of {SIGNATURE_LEN} bytes", output.len()))
        })?;
        if !signature.is_valid(release) {
            return Err(failure("its signature is not valid for --sign-public-key-file".to_owned()));
        }
        Ok(signature)
    }
}

/// Writes `message` to the process, reads what it writes, and waits for it.
fn exchange(mut child: Child, message: &[u8]) -> Result<Vec<u8>, String> {
    if let Some(mut stdin) = child.stdin.take() {
        // A command that does not read its input fails below, with its own exit status or output.
        let _ = stdin.write_all(message);
    }
    let mut output = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(OUTPUT_MAX).read_to_end(&mut output).map_err(|error| error.to_string())?;
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    if status.success() { Ok(output) } else { Err(format!("failed: {status}")) }
}
