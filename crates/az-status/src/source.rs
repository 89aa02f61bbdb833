//! Where the lines come from.

use crate::cli::Cli;
use crate::event::{is_stage_name, rank};
use crate::folder;
use crate::lines::{Line, next_line};
use crate::run_dir::RunDir;
use crate::screen;
use loader_stage::{ErrorCode, Failure, TERMINAL_PIPE_VAR, pipe_id};
use std::fs::File;
use std::io::{self, BufReader};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::SyncSender;
use std::thread;

/// Most files that are read of a run directory.
const FILES_MAX: usize = 256;

/// What the threads tell the main one.
#[derive(Debug)]
pub(crate) enum Message {
    /// A line, and of which input.
    Line(usize, Line),
    /// A line of the command's standard output.
    Output(Line),
    /// An input could not be read to its end.
    Broken(String),
    /// One input has ended.
    End,
    /// The command has ended.
    Exited(ExitStatus),
    /// A signal came.
    Signal(i32),
}

/// Opened inputs, or the command to run.
pub(crate) enum Source {
    /// Files that were written before; read one after the other.
    Recorded(Vec<Input>),
    /// Pipes and the like, read side by side.
    Live(Vec<Input>),
    /// A command to run.
    Command(Box<Run>),
}

/// A command that is watched.
pub(crate) struct Run {
    command: Command,
    /// Name of its run.
    pub(crate) name: String,
    /// What it writes, where that is shown above the bars.
    output: Option<File>,
    /// Its run directory, if the caller named none.
    pub(crate) run_dir: Option<RunDir>,
}

/// A file with the name that messages call it by.
pub(crate) struct Input {
    name: String,
    file: File,
}

impl Source {
    /// What the command line asks for: the command, the files, the run
    /// directory, else standard input; where that is a terminal or `/dev/null`,
    /// the folder `AZ_RUN_DIR`.
    ///
    /// # Errors
    /// `not_found` where a file is not there, `usage` where nothing is left to read.
    pub(crate) fn open(cli: &Cli) -> Result<Self, Failure> {
        if let Some((program, args)) = cli.command.split_first() {
            let name = cli.run.clone().unwrap_or_else(random_run);
            let mut command = Command::new(program);
            command.args(args).env("AZ_RUN", &name).env("AZ_EVENTS", "json").stderr(Stdio::piped());
            // An empty variable counts as none, as everywhere.
            let named = std::env::var_os("AZ_RUN_DIR").is_some_and(|dir| !dir.is_empty());
            let run_dir = if named { None } else { RunDir::create(&random_run()) };
            if let Some(dir) = &run_dir {
                command.env("AZ_RUN_DIR", dir.path());
            }
            let output = screen::shares_terminal().then(|| pipe_output(&mut command)).transpose()?;
            return Ok(Self::Command(Box::new(Run { command, name, output, run_dir })));
        }
        let inputs = match &cli.run_dir {
            Some(dir) => run_dir(dir)?,
            None if cli.files.is_empty() => default_input()?,
            None => cli.files.iter().map(|path| open(path)).collect::<Result<_, _>>()?,
        };
        let recorded = inputs.iter().all(|input| input.file.metadata().is_ok_and(|metadata| metadata.is_file()));
        Ok(if recorded { Self::Recorded(inputs) } else { Self::Live(inputs) })
    }

    /// Starts to read, and the command where there is one; gives how many times
    /// [`Message::End`] will come.
    ///
    /// # Errors
    /// `not_found` where the command is not there, `io` where it cannot be run.
    pub(crate) fn start(self, to: &SyncSender<Message>) -> Result<usize, Failure> {
        match self {
            Self::Recorded(inputs) => read(inputs.into_iter().enumerate(), to, Message::Line).map(|()| 1),
            Self::Live(inputs) => {
                let count = inputs.len();
                let mut inputs = inputs.into_iter().enumerate();
                inputs.try_for_each(|input| read([input], to, Message::Line)).map(|()| count)
            }
            Self::Command(run) => {
                let Run { mut command, output, .. } = *run;
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
                // The command holds the other end of the pipe only while it runs.
                drop(command);
                let input = |file| [(0, Input { name: name.clone(), file })];
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

/// Gives the command a pipe in the place of the terminal that bars are drawn on,
/// and tells the stages that it is as good as one.
fn pipe_output(command: &mut Command) -> Result<File, Failure> {
    let fail = |error: io::Error| Failure::io("pipe", &error);
    let (reader, writer) = io::pipe().map_err(fail)?;
    command.env(TERMINAL_PIPE_VAR, pipe_id(&writer).map_err(fail)?).stdout(writer);
    Ok(File::from(OwnedFd::from(reader)))
}

/// Reads numbered inputs one after the other, in a thread.
fn read(
    inputs: impl IntoIterator<Item = (usize, Input)>,
    to: &SyncSender<Message>,
    message: fn(usize, Line) -> Message,
) -> Result<(), Failure> {
    let (inputs, to) = (inputs.into_iter().collect::<Vec<_>>(), to.clone());
    spawn("lines", move || {
        for (number, input) in inputs {
            let mut reader = BufReader::with_capacity(16 * 1024, input.file);
            loop {
                let message = match next_line(&mut reader) {
                    Ok(None) => break,
                    Ok(Some(line)) => message(number, line),
                    Err(error) => Message::Broken(format!("{}: {error}", input.name)),
                };
                let broken = matches!(message, Message::Broken(_));
                if to.send(message).is_err() {
                    return;
                }
                if broken {
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

fn open(path: &Path) -> Result<Input, Failure> {
    if path.as_os_str() == "-" {
        return stdin();
    }
    let name = loader_model::printable(&path.to_string_lossy());
    let file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::new(ErrorCode::NotFound, format_args!("{name}: no such file")),
        io::ErrorKind::PermissionDenied => {
            Failure::new(ErrorCode::NotFound, format_args!("{name}: not readable: permission denied"))
        }
        _ => Failure::io(&name, &error),
    })?;
    if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return Err(Failure::new(ErrorCode::NotFound, format_args!("{name}: is a folder"))
            .hint("--run-dir reads the event files in a folder".to_owned()));
    }
    Ok(Input { name, file })
}

fn stdin() -> Result<Input, Failure> {
    let name = "standard input".to_owned();
    let fd = io::stdin().as_fd().try_clone_to_owned().map_err(|error| Failure::io(&name, &error))?;
    Ok(Input { name, file: File::from(fd) })
}

fn default_input() -> Result<Vec<Input>, Failure> {
    let input = stdin()?;
    let is_device = input.file.metadata().is_ok_and(|metadata| metadata.file_type().is_char_device());
    if !is_device {
        return Ok(vec![input]);
    }
    match std::env::var_os("AZ_RUN_DIR") {
        Some(dir) if !dir.is_empty() => run_dir(Path::new(&dir)),
        _ => Err(Failure::new(ErrorCode::Usage, "nothing to read: standard input is no pipe and no file")
            .hint("name a FILE, a --run-dir or a command after --; az-status --help has examples".to_owned())),
    }
}

/// The files `az-*.jsonl` in `dir`, in the order of the pipeline.
fn run_dir(dir: &Path) -> Result<Vec<Input>, Failure> {
    let name = loader_model::printable(&dir.to_string_lossy());
    let missing = |why: &dyn std::fmt::Display| Failure::new(ErrorCode::NotFound, format_args!("{name}: {why}"));
    let names = folder::names(dir).map_err(|error| missing(&error))?;
    let mut files: Vec<(usize, PathBuf)> = names
        .iter()
        .filter_map(|name| {
            let stage = name.to_str()?.strip_suffix(".jsonl").filter(|stage| is_stage_name(stage))?;
            Some((rank(stage), dir.join(name)))
        })
        .collect();
    files.sort();
    if files.is_empty() {
        return Err(missing(&"no az-*.jsonl in this folder"));
    }
    files.iter().take(FILES_MAX).map(|(_, path)| open(path)).collect()
}

fn random_run() -> String {
    let mut bytes = [0; 4];
    // Without randomness the process id still tells runs apart.
    if getrandom::fill(&mut bytes).is_err() {
        bytes = std::process::id().to_be_bytes();
    }
    format!("{:08x}", u32::from_be_bytes(bytes))
}
