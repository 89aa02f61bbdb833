//! Opens the inputs, and reads their lines in threads.

use crate::cli::Cli;
use crate::event::pipeline_position;
use crate::line_reader::{RawLine, next_line};
use crate::screen;
use crate::temp_run_dir::TempRunDir;
use loader_stage::{ErrorCode, Failure, Named, StageName, TERMINAL_PIPE_VAR, open_regular, pipe_id, random_run_name};
use std::fs::File;
use std::io::{self, BufReader};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::SyncSender;
use std::thread;

/// Largest number of files of a run directory that are read.
const FILES_MAX: usize = 256;

/// Messages of the threads to the main thread.
#[derive(Debug)]
pub(crate) enum Message {
    /// A line, with the number of its input.
    Line(usize, RawLine),
    /// A line of standard output of the command.
    Output(RawLine),
    /// An input could not be read; contains the error.
    ReadFailed(String),
    /// An input has ended.
    End,
    /// The command has ended.
    Exited(ExitStatus),
    /// A signal was received.
    Signal(i32),
}

/// The inputs, or the command to run.
pub(crate) enum EventSource {
    /// Regular files, read one after the other.
    Recorded(Vec<OpenInput>),
    /// Pipes and other files, read concurrently.
    Live(Vec<OpenInput>),
    /// A command to run.
    Command(Box<WatchedCommand>),
}

/// Command to run, whose standard error is read.
pub(crate) struct WatchedCommand {
    command: Command,
    /// Name of its run.
    pub(crate) run: String,
    /// Standard output of the command, if it is displayed above the bars.
    output: Option<File>,
    /// Temporary run directory, if the caller named none.
    pub(crate) run_dir: Option<TempRunDir>,
}

/// An open input.
pub(crate) struct OpenInput {
    /// Path, or `standard input`, in messages.
    name: String,
    file: File,
}

impl EventSource {
    /// Opens the inputs that the command line names: a command, files, or a run directory. The
    /// default is standard input; if it is a terminal or `/dev/null`, the directory `AZ_RUN_DIR`.
    ///
    /// # Errors
    /// `not_found` if a file cannot be opened, `usage` if there is nothing to read.
    pub(crate) fn open(cli: &Cli) -> Result<Self, Failure> {
        if let Some((program, args)) = cli.command.split_first() {
            let run = cli.run.clone().unwrap_or_else(random_run_name);
            let mut command = Command::new(program);
            command.args(args).env("AZ_RUN", &run).env("AZ_EVENTS", "json").stderr(Stdio::piped());
            // An empty variable counts as unset.
            let has_run_dir = std::env::var_os("AZ_RUN_DIR").is_some_and(|dir| !dir.is_empty());
            let run_dir = if has_run_dir { None } else { TempRunDir::create(&random_run_name()) };
            if let Some(dir) = &run_dir {
                command.env("AZ_RUN_DIR", dir.path());
            }
            let output = screen::shares_terminal().then(|| pipe_output(&mut command)).transpose()?;
            return Ok(Self::Command(Box::new(WatchedCommand { command, run, output, run_dir })));
        }
        let inputs = match &cli.run_dir {
            Some(dir) => open_run_dir(dir)?,
            None if cli.files.is_empty() => default_input()?,
            None => cli.files.iter().map(|path| open_file(path)).collect::<Result<_, _>>()?,
        };
        let recorded = inputs.iter().all(|input| input.file.metadata().is_ok_and(|metadata| metadata.is_file()));
        Ok(if recorded { Self::Recorded(inputs) } else { Self::Live(inputs) })
    }

    /// Starts the command, if there is one, and the threads that read. Returns the number of
    /// [`Message::End`] that they will send.
    ///
    /// # Errors
    /// `not_found` if the command does not exist, `io` if it cannot be started.
    pub(crate) fn start(self, to: &SyncSender<Message>) -> Result<usize, Failure> {
        match self {
            Self::Recorded(inputs) => read(inputs.into_iter().enumerate(), to, Message::Line).map(|()| 1),
            Self::Live(inputs) => {
                let count = inputs.len();
                let mut inputs = inputs.into_iter().enumerate();
                inputs.try_for_each(|input| read([input], to, Message::Line)).map(|()| count)
            }
            Self::Command(watched) => {
                let WatchedCommand { mut command, output, .. } = *watched;
                let name = loader_model::printable(&command.get_program().to_string_lossy());
                let mut child = command.spawn().map_err(|error| match error.kind() {
                    io::ErrorKind::NotFound => {
                        Failure::new(ErrorCode::NotFound, format_args!("{name}: no such command"))
                    }
                    io::ErrorKind::PermissionDenied => {
                        Failure::new(ErrorCode::NotFound, format_args!("{name}: not executable: permission denied"))
                    }
                    _ => Failure::io(&name, &error),
                })?;
                // Closes the writing end of the pipe in this process.
                drop(command);
                let input = |file| [(0, OpenInput { name: name.clone(), file })];
                let stderr = child.stderr.take().map(|pipe| File::from(OwnedFd::from(pipe)));
                let count = usize::from(stderr.is_some()) + usize::from(output.is_some());
                stderr.map(|file| read(input(file), to, Message::Line)).transpose()?;
                output.map(|file| read(input(file), to, |_, line| Message::Output(line))).transpose()?;
                let to = to.clone();
                spawn("command", move || {
                    if let Ok(status) = child.wait() {
                        let _ = to.send(Message::Exited(status));
                    }
                })?;
                Ok(count)
            }
        }
    }
}

/// Replaces the terminal as standard output of the command by a pipe, since bars are drawn on it. A
/// variable lets the stages treat the pipe like the terminal.
fn pipe_output(command: &mut Command) -> Result<File, Failure> {
    let fail = |error: io::Error| Failure::io("pipe", &error);
    let (reader, writer) = io::pipe().map_err(fail)?;
    command.env(TERMINAL_PIPE_VAR, pipe_id(&writer).map_err(fail)?).stdout(writer);
    Ok(File::from(OwnedFd::from(reader)))
}

/// Reads numbered inputs one after the other in a thread.
fn read(
    inputs: impl IntoIterator<Item = (usize, OpenInput)>,
    to: &SyncSender<Message>,
    message: fn(usize, RawLine) -> Message,
) -> Result<(), Failure> {
    let (inputs, to) = (inputs.into_iter().collect::<Vec<_>>(), to.clone());
    spawn("lines", move || {
        for (number, input) in inputs {
            let mut reader = BufReader::with_capacity(16 * 1024, input.file);
            loop {
                let message = match next_line(&mut reader) {
                    Ok(None) => break,
                    Ok(Some(line)) => message(number, line),
                    Err(error) => Message::ReadFailed(format!("{}: {error}", input.name)),
                };
                let has_failed = matches!(message, Message::ReadFailed(_));
                if to.send(message).is_err() {
                    return;
                }
                if has_failed {
                    break;
                }
            }
        }
        let _ = to.send(Message::End);
    })
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    let thread = thread::Builder::new().name(name.to_owned()).stack_size(128 * 1024).spawn(run);
    thread.map(drop).map_err(|error| Failure::io("thread", &error))
}

fn open_file(path: &Path) -> Result<OpenInput, Failure> {
    if path.as_os_str() == "-" {
        return stdin();
    }
    opened(path, File::open(path))
}

fn opened(path: &Path, file: io::Result<File>) -> Result<OpenInput, Failure> {
    let name = loader_model::printable(&path.to_string_lossy());
    let file = file.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::new(ErrorCode::NotFound, format_args!("{name}: no such file")),
        io::ErrorKind::PermissionDenied => {
            Failure::new(ErrorCode::NotFound, format_args!("{name}: not readable: permission denied"))
        }
        _ => Failure::io(&name, &error),
    })?;
    if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return Err(Failure::new(ErrorCode::NotFound, format_args!("{name}: is a directory"))
            .hint("use --run-dir to read the event files in a directory".to_owned()));
    }
    Ok(OpenInput { name, file })
}

fn stdin() -> Result<OpenInput, Failure> {
    let name = "standard input".to_owned();
    let fd = io::stdin().as_fd().try_clone_to_owned().map_err(|error| Failure::io(&name, &error))?;
    Ok(OpenInput { name, file: File::from(fd) })
}

fn default_input() -> Result<Vec<OpenInput>, Failure> {
    let input = stdin()?;
    let is_device = input.file.metadata().is_ok_and(|metadata| metadata.file_type().is_char_device());
    if !is_device {
        return Ok(vec![input]);
    }
    match std::env::var_os("AZ_RUN_DIR") {
        Some(dir) if !dir.is_empty() => open_run_dir(Path::new(&dir)),
        _ => Err(Failure::new(ErrorCode::Usage, "nothing to read: standard input is neither a pipe nor a file")
            .hint("pass a FILE, --run-dir, or a command after --; see the examples in az-status --help".to_owned())),
    }
}

/// Opens the files `az-*.jsonl` in `dir`, in the order of the pipeline.
fn open_run_dir(dir: &Path) -> Result<Vec<OpenInput>, Failure> {
    let name = loader_model::printable(&dir.to_string_lossy());
    let missing = |reason: &dyn std::fmt::Display| Failure::new(ErrorCode::NotFound, format_args!("{name}: {reason}"));
    let names = loader_stage::entry_names(dir).map_err(|error| missing(&error))?;
    let mut files: Vec<(usize, PathBuf)> = names
        .iter()
        .filter_map(|name| {
            let stage = name.to_str()?.strip_suffix(".jsonl").filter(|stage| StageName::is_possible(stage))?;
            Some((pipeline_position(&Named::from_name(stage)), dir.join(name)))
        })
        .collect();
    files.sort();
    if files.is_empty() {
        return Err(missing(&"no az-*.jsonl in this directory"));
    }
    files.iter().take(FILES_MAX).map(|(_, path)| opened(path, open_regular(path))).collect()
}
