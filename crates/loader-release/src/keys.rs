//! Options for several keys.

use loader_seal::Key;
use loader_stage::{Failure, OrFail, SecretSource, Stage};
use std::path::{Path, PathBuf};

/// Options for the keys of a file that is written.
#[derive(Debug, Default, Clone, clap::Args)]
pub struct KeyListArgs {
    /// Key line; - is standard input; repeatable
    #[arg(long, value_name = "PATH", env = "AZ_KEY_FILE")]
    pub key_file: Vec<PathBuf>,

    /// Key line on this file descriptor
    #[arg(long, value_name = "N")]
    pub key_fd: Vec<u32>,
}

impl KeyListArgs {
    /// Reads the keys, at least one. Keys on the command line override `AZ_KEY_FILE`.
    ///
    /// # Errors
    /// Those of [`Stage::secret_text`]; `malformed` for an invalid key.
    pub fn read(&self, stage: &Stage) -> Result<Vec<Key>, Failure> {
        let ignores_key_file = !self.key_fd.is_empty() && !loader_stage::is_on_command_line("--key-file");
        let key_files = if ignores_key_file { &[] } else { &self.key_file[..] };
        let files = key_files.iter().map(|path| (Some(path.as_path()), None));
        let fds = self.key_fd.iter().map(|fd| (None, Some(*fd)));
        let mut sources: Vec<(Option<&Path>, Option<u32>)> = files.chain(fds).collect();
        if sources.is_empty() {
            // Reading this source fails with the error text for a missing key.
            sources.push((None, None));
        }
        let read = |(file, fd)| {
            let line = stage.secret_text(SecretSource::new("key", file, fd))?;
            Key::parse(&line).or_fail_at("the key")
        };
        sources.into_iter().map(read).collect()
    }
}
