//! az-devserver: serves the loader's API and S3 store from a seed directory on loopback

use clap::Parser;
use loader_model::{ErrorCode, printable};
use loader_testkit::{Config, DevServer, Faults, Side, StartError, TestCa, Tls, Urls};
use serde::Serialize;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;

const AFTER_HELP: &str = "\
Faults: KIND[@SIZE][,OPTION...], separated by ;. @SIZE is an offset in bytes in the response body, in the
request body for -upload, or in the TLS stream. Without it the complete response is lost.
  reset, short, stall, trickle     the connection is reset, ends early, stalls, becomes slow
  reset-upload, stall-upload       the same for the request body
  400 to 599                       response with that status; retry-after=SECONDS
  wrong-range, ignore-range        a Content-Range off by one; 200 and everything for a range
  new-etag                         the object has another ETag
  no-etag, weak-etag, bare-etag    the ETag is absent, weak, without quotes
  no-length, no-total, less        no Content-Length; no size in Content-Range; a shortened range
  flip                             one bit of the body is flipped
  no-checksum, late-error          400 for a part without a checksum; 200 with InternalError in the body
  other-region                     301 without a Location
  redirect, redirect-loop, gzip    redirect to another port; to the same URL; unrequested compression
  mix,seed=N                       random rules, the same for the same seed
Options: every=N after=N times=N on=api|cdn method=NAME rate=SIZE (bytes per second, for trickle)

Examples:
  az-devserver --seed demo --urls-file urls.json --log
  az-devserver --seed demo --port 8080 --s3-port 9000
  az-devserver --seed demo --faults 'reset@3MiB,every=2;503,after=5,times=1,retry-after=1'";

/// Serve the loader's HTTP API and S3 store on loopback
///
/// Prints one JSON line with the URLs when both listeners are ready, and runs until
/// SIGTERM or SIGINT.
#[derive(Parser)]
#[command(
    name = "az-devserver",
    version,
    after_help = AFTER_HELP
)]
struct Cli {
    /// Seed directory with users.json, resources/, cdn/, key-fragment and devserver.json; never changed
    #[arg(long, value_name = "DIR")]
    seed: Option<PathBuf>,
    /// Loopback address to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    bind: IpAddr,
    /// Port of the API; 0 for any free port
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Port of the S3 store; 0 for any free port
    #[arg(long, default_value_t = 0)]
    s3_port: u16,
    /// Name of the bucket
    #[arg(long, default_value = "azaion")]
    bucket: String,
    /// Also write the line with the URLs to this file
    #[arg(long, value_name = "PATH")]
    urls_file: Option<PathBuf>,
    /// Write one JSON line for each response to standard error, and the counters of --faults at the end
    #[arg(long)]
    log: bool,
    /// Use https for localhost and 127.0.0.1, and write the CA certificate for --ca-file to this file
    #[arg(long, value_name = "PATH")]
    tls: Option<PathBuf>,
    /// Inject faults with a proxy before both servers (see below)
    #[arg(long, value_name = "FAULTS")]
    faults: Option<Faults>,
    /// Stop when standard input ends
    #[arg(long)]
    stop_with_stdin: bool,
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { code, message }) => {
            let _ = writeln!(io::stderr(), "az-devserver: {}", printable(&message));
            ExitCode::from(code.exit())
        }
    }
}

/// Error with its code.
struct Failure {
    code: ErrorCode,
    message: String,
}

impl Failure {
    fn new(code: ErrorCode, message: impl ToString) -> Self {
        Self { code, message: message.to_string() }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    let (stop, stopped) = mpsc::channel();
    watch_signals(stop.clone()).map_err(|error| Failure::new(ErrorCode::Io, error))?;
    let Cli { seed, bind, port, s3_port, bucket, log, faults, .. } = cli;
    let tls = cli.tls.as_deref().map(issue_certificate).transpose()?;
    let config = Config { seed, bind, port, s3_port, bucket, log, settings: None, faults, tls };
    let server = DevServer::start(config).map_err(|error| Failure::new(error_code(&error), error))?;
    print_urls(server.urls(), cli.urls_file.as_deref())?;
    if cli.stop_with_stdin {
        std::thread::spawn(move || {
            let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
            let _ = stop.send(());
        });
    }
    let _ = stopped.recv();
    if let Some(faults) = server.faults().filter(|_| cli.log) {
        let sent = SentBytes { api: faults.sent(Side::Api), cdn: faults.sent(Side::Cdn) };
        let counters = FaultCounters { fired: faults.fired(), leaked: faults.leaked(), sent };
        let line = serde_json::to_string(&counters).map_err(|error| Failure::new(ErrorCode::Bug, error))?;
        writeln!(io::stderr(), "{line}").map_err(|error| Failure::new(ErrorCode::Io, error))?;
    }
    Ok(())
}

/// Last line of `--log` if there were `--faults`.
#[derive(Serialize)]
struct FaultCounters {
    /// Number of requests with a fault.
    fired: u64,
    /// Number of requests that sent secrets to the target of a redirect.
    leaked: u64,
    /// Bytes sent to clients, including headers.
    sent: SentBytes,
}

#[derive(Serialize)]
struct SentBytes {
    api: u64,
    cdn: u64,
}

fn error_code(error: &StartError) -> ErrorCode {
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

/// Issues a server certificate from a new CA, and writes the CA certificate to the file `ca`.
fn issue_certificate(ca: &Path) -> Result<Tls, Failure> {
    let made = TestCa::new().and_then(|ca| Ok((ca.pem(), ca.server(&["localhost", "127.0.0.1", "::1"], 2099)?)));
    let (pem, server) = made.map_err(|error| Failure::new(ErrorCode::Bug, error))?;
    write_atomically(ca, pem.as_bytes())?;
    Ok(Tls { server, client_ca: None })
}

/// Writes the line to standard output and, atomically, to `file`.
fn print_urls(urls: &Urls, file: Option<&Path>) -> Result<(), Failure> {
    let mut line = serde_json::to_vec(urls).map_err(|error| Failure::new(ErrorCode::Bug, error))?;
    line.push(b'\n');
    if let Some(path) = file {
        write_atomically(path, &line)?;
    }
    let mut stdout = io::stdout().lock();
    stdout.write_all(&line).and_then(|()| stdout.flush()).map_err(|error| Failure::new(ErrorCode::Io, error))
}

/// Writes a file atomically.
fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let written = tempfile::NamedTempFile::new_in(dir).and_then(|mut temporary| {
        temporary.write_all(bytes)?;
        temporary.persist(path)?;
        Ok(())
    });
    written.map_err(|error| Failure::new(ErrorCode::CannotCreate, format!("{}: {error}", path.display())))
}
