//! az-devserver: (seed folder) → the API and the S3 store of the loader on loopback, URLs on stdout

use clap::Parser;
use loader_model::{ErrorCode, printable};
use loader_testkit::{Config, DevServer, StartError, Urls};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;

/// Serve the loader's HTTP API and its S3 store on loopback.
///
/// Prints one JSON line with the URLs once both listeners are bound, and runs
/// until SIGTERM or SIGINT.
#[derive(Parser)]
#[command(
    name = "az-devserver",
    version,
    after_help = "Examples:\n  az-devserver --seed demo --urls-file urls.json --log\n  az-devserver --seed demo --port 8080 --s3-port 9000"
)]
struct Cli {
    /// Folder with users.json, resources/, cdn/, key-fragment, devserver.json; only read
    #[arg(long, value_name = "DIR")]
    seed: Option<PathBuf>,
    /// Loopback address to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    bind: IpAddr,
    /// Port of the API; 0 lets the system choose
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Port of the S3 store; 0 lets the system choose
    #[arg(long, default_value_t = 0)]
    s3_port: u16,
    /// Name of the bucket
    #[arg(long, default_value = "azaion")]
    bucket: String,
    /// Write the line with the URLs to this file too
    #[arg(long, value_name = "PATH")]
    urls_file: Option<PathBuf>,
    /// Write one JSON line for each answer to standard error
    #[arg(long)]
    log: bool,
    /// Stop when standard input ends
    #[arg(long)]
    stop_with_stdin: bool,
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, message)) => {
            let _ = writeln!(io::stderr(), "az-devserver: {}", printable(&message));
            ExitCode::from(code.exit())
        }
    }
}

type Failure = (ErrorCode, String);

fn run(cli: Cli) -> Result<(), Failure> {
    let (stop, stopped) = mpsc::channel();
    watch_signals(stop.clone()).map_err(|error| (ErrorCode::Io, error.to_string()))?;
    let Cli { seed, bind, port, s3_port, bucket, log, .. } = cli;
    let config = Config { seed, bind, port, s3_port, bucket, log, settings: None };
    let server = DevServer::start(config).map_err(|error| (class(&error), error.to_string()))?;
    announce(server.urls(), cli.urls_file.as_deref())?;
    if cli.stop_with_stdin {
        std::thread::spawn(move || {
            let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
            let _ = stop.send(());
        });
    }
    let _ = stopped.recv();
    Ok(())
}

fn class(error: &StartError) -> ErrorCode {
    match error {
        StartError::Bind(..) => ErrorCode::Unavailable,
        StartError::Io(_) => ErrorCode::Io,
        _ => ErrorCode::Config,
    }
}

fn watch_signals(stop: mpsc::Sender<()>) -> io::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    std::thread::Builder::new().spawn(move || {
        for _ in signals.forever() {
            let _ = stop.send(());
        }
    })?;
    Ok(())
}

/// Writes the line to standard output and, whole or not at all, to `file`.
fn announce(urls: &Urls, file: Option<&Path>) -> Result<(), Failure> {
    let mut line = serde_json::to_vec(urls).map_err(|error| (ErrorCode::Bug, error.to_string()))?;
    line.push(b'\n');
    if let Some(path) = file {
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let written = tempfile::NamedTempFile::new_in(dir).and_then(|mut temporary| {
            temporary.write_all(&line)?;
            temporary.persist(path)?;
            Ok(())
        });
        written.map_err(|error| (ErrorCode::CannotCreate, format!("{}: {error}", path.display())))?;
    }
    let mut stdout = io::stdout().lock();
    stdout.write_all(&line).and_then(|()| stdout.flush()).map_err(|error| (ErrorCode::Io, error.to_string()))
}
