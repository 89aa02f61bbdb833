//! The interface between a filter and its process environment.
//!
//! A filter calls [`run`] with its name, the state that it reports while it works, and a function
//! that does the work. This crate implements what all filters share: the command line, with
//! defaults from environment variables and config files, `-` for standard input, secrets from
//! files and descriptors, events, exit statuses, signals, closed pipes, and files that are
//! replaced atomically.

mod access;
mod args;
mod atomic_file;
mod config;
mod dir;
mod events;
mod failure;
mod input;
mod lock_wait;
mod locked_file;
#[cfg(feature = "manual")]
mod manual;
mod output;
mod process;
mod progress;
mod prompt;
mod regular_file;
mod run;
mod run_name;
mod secret;
mod signals;
mod stage;
mod terminal;
mod upstream;

pub use access::is_changeable;
pub use args::{CredentialsArgs, KeyArgs, OutputArgs, StageArgs, TokenArgs};
pub use dir::entry_names;
pub use events::has_run_dir;
pub use failure::{Failure, OrFail, OrFailAs};
pub use input::{Input, PolledInput};
pub use loader_model::{Coded, ErrorCode, Named, StageName, Step, UnlockState};
pub use lock_wait::{LockWait, lock_holder};
pub use locked_file::LockedFile;
#[cfg(feature = "manual")]
pub use manual::print as print_manual;
pub use output::{Content, Output, stdout_is_open};
pub use process::{die_by_signal, ignored_signals, is_on_command_line, thread_count};
pub use progress::{ByteProgress, ProgressStream};
pub use prompt::ask_new_password;
pub use regular_file::{append_regular, open_regular};
pub use run::{run, run_service, run_watcher};
pub use run_name::{is_run_name, random_run_name};
pub use secret::{SecretSource, read_secret};
pub use signals::{TerminationSignals, received_signal};
pub use stage::Stage;
pub use terminal::{TERMINAL_PIPE_VAR, pipe_id};
pub use upstream::{UpstreamEvents, UpstreamOutcome, parse_stage_name};
