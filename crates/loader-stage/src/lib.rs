//! The edge of a process, once for all filters.
//!
//! A filter calls [`run`] with its working state and a function. Everything that
//! all of them share happens here: the command line with environment and config
//! file behind it, `-` for standard input (once), secrets from files and
//! descriptors, event lines, the exit status table, signals, a reader that goes
//! away, and files that appear whole or not at all.

mod args;
mod before;
mod defaults;
mod emit;
mod failure;
mod input;
mod lock;
#[cfg(feature = "manual")]
mod manual;
mod output;
mod process;
mod progress;
mod prompt;
mod run;
mod secret;
mod signals;
mod stage;
mod tempfile;
mod terminal;

pub use args::{CredentialsArgs, KeyArgs, OutputArgs, StageArgs, TokenArgs};
pub use before::{Ending, RunDir, parse_stage};
pub use failure::{Failure, OrFail};
pub use input::{Input, Polled};
pub use loader_model::{ErrorCode, UnlockState};
pub use lock::lock_holder;
#[cfg(feature = "manual")]
pub use manual::print as print_manual;
pub use output::{Content, Output, stdout_is_open};
pub use process::{die_of, ignored_signals, is_on_command_line, threads};
pub use progress::{Counted, Progress};
pub use run::{run, watch};
pub use secret::SecretFrom;
pub use signals::{EndSignals, signal_came};
pub use stage::Stage;
pub use terminal::{TERMINAL_PIPE, pipe_name};
