//! az-devserver: (seed folder) → the API and the S3 store of the loader on loopback, URLs on stdout

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
Faults: KIND[@SIZE][,OPTION...], several with ; between. @SIZE counts bytes of the answer's body, of the
request's for -upload, of the connection over TLS; without it the whole answer is lost.
  reset, short, stall, trickle     the connection is reset, ends early, hangs, crawls
  reset-upload, stall-upload       the same while a request is sent
  400 to 599                       that status; retry-after=SECONDS
  wrong-range, ignore-range        a Content-Range off by one; 200 and everything for a range
  new-etag                         the object has another ETag
  no-etag, weak-etag, bare-etag    the ETag is absent, weak, without quotes
  no-length, no-total, less        no Content-Length; a Content-Range without the size; half a range
  flip                             one bit of the body is changed
  no-checksum, late-error          400 for a part without a checksum; 200 with InternalError in the body
  other-region                     301 without a Location
  redirect, redirect-loop, gzip    to another port; in a circle; an encoding nobody asked for
  mix,seed=N                       some of these, the same for the same seed
Options: every=N after=N times=N on=api|cdn method=NAME rate=SIZE (of a trickle, bytes a second)

Examples:
  az-devserver --seed demo --urls-file urls.json --log
  az-devserver --seed demo --port 8080 --s3-port 9000
  az-devserver --seed demo --faults 'reset@3MiB,every=2;503,after=5,times=1,retry-after=1'";

/// Serve the loader's HTTP API and its S3 store on loopback.
///
/// Prints one JSON line with the URLs once both listeners are bound, and runs
/// until SIGTERM or SIGINT.
#[derive(Parser)]
#[command(
    name = "az-devserver",
    version,
    after_help = AFTER_HELP
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
    /// Write one JSON line for each answer to standard error, with --faults a last one of what they did
    #[arg(long)]
    log: bool,
    /// Speak https as localhost and 127.0.0.1; write the certificate that a client has to trust to this file
    #[arg(long, value_name = "PATH")]
    tls: Option<PathBuf>,
    /// Break answers as FAULTS says, by a proxy in front of both servers
    #[arg(long, value_name = "FAULTS")]
    faults: Option<Faults>,
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
    let Cli { seed, bind, port, s3_port, bucket, log, faults, .. } = cli;
    let tls = cli.tls.as_deref().map(certify).transpose()?;
    let config = Config { seed, bind, port, s3_port, bucket, log, settings: None, faults, tls };
    let server = DevServer::start(config).map_err(|error| (class(&error), error.to_string()))?;
    announce(server.urls(), cli.urls_file.as_deref())?;
    if cli.stop_with_stdin {
        std::thread::spawn(move || {
            let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
            let _ = stop.send(());
        });
    }
    let _ = stopped.recv();
    if let Some(faults) = server.faults().filter(|_| cli.log) {
        let sent = Sent { api: faults.sent(Side::Api), cdn: faults.sent(Side::Cdn) };
        let counted = Counted { fired: faults.fired(), leaked: faults.leaked(), sent };
        let line = serde_json::to_string(&counted).map_err(|error| (ErrorCode::Bug, error.to_string()))?;
        writeln!(io::stderr(), "{line}").map_err(|error| (ErrorCode::Io, error.to_string()))?;
    }
    Ok(())
}

/// The last line of `--log` where there were `--faults`.
#[derive(Serialize)]
struct Counted {
    /// Requests that a fault took.
    fired: u64,
    /// Secrets that followed a redirect to another place.
    leaked: u64,
    /// Bytes that left for clients, heads included.
    sent: Sent,
}

#[derive(Serialize)]
struct Sent {
    api: u64,
    cdn: u64,
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

/// A certificate of a new authority, whose own stands in the file `ca` afterwards.
fn certify(ca: &Path) -> Result<Tls, Failure> {
    let made = TestCa::new().and_then(|ca| Ok((ca.pem(), ca.server(&["localhost", "127.0.0.1", "::1"], 2099)?)));
    let (pem, server) = made.map_err(|error| (ErrorCode::Bug, error.to_string()))?;
    write_whole(ca, pem.as_bytes())?;
    Ok(Tls { server, client_ca: None })
}

/// Writes the line to standard output and, whole or not at all, to `file`.
fn announce(urls: &Urls, file: Option<&Path>) -> Result<(), Failure> {
    let mut line = serde_json::to_vec(urls).map_err(|error| (ErrorCode::Bug, error.to_string()))?;
    line.push(b'\n');
    if let Some(path) = file {
        write_whole(path, &line)?;
    }
    let mut stdout = io::stdout().lock();
    stdout.write_all(&line).and_then(|()| stdout.flush()).map_err(|error| (ErrorCode::Io, error.to_string()))
}

/// Puts a file with these bytes under `path`, never a part of them.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let written = tempfile::NamedTempFile::new_in(dir).and_then(|mut temporary| {
        temporary.write_all(bytes)?;
        temporary.persist(path)?;
        Ok(())
    });
    written.map_err(|error| (ErrorCode::CannotCreate, format!("{}: {error}", path.display())))
}
