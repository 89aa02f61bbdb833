//! `az-server serve`.

use crate::cli::ServeArgs;
use anyhow::Context;
use loader_server::{Api, ApiConfig, AuditLog, Limits, Metrics, StateDir, TlsConfig, TlsFiles, metrics_router, serve};
use loader_stage::{ErrorCode, Failure, OrFail, OrFailAs};
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::sync::watch;

pub(crate) fn run(dir: &Path, args: &ServeArgs, audit: AuditLog) -> anyhow::Result<ExitCode> {
    let state = StateDir::open(dir).or_fail()?;
    let tls = match (&args.tls_cert_file, &args.tls_key_file) {
        (Some(cert), Some(key)) => {
            let files = TlsFiles { cert: cert.clone(), key: key.clone(), client_ca: args.client_ca_file.clone() };
            Some(TlsConfig::from_files(files).or_fail_as(ErrorCode::Config, "")?)
        }
        _ if args.listen.ip().is_loopback() => None,
        _ => {
            return Err(Failure::new(ErrorCode::Usage, format_args!("{}: not a loopback address", args.listen))
                .hint(
                    "add --tls-cert-file and --tls-key-file, or listen on 127.0.0.1 behind a reverse proxy".to_owned(),
                )
                .into());
        }
    };
    if let Some(address) = args.metrics_listen.filter(|address| !address.ip().is_loopback()) {
        return Err(Failure::new(ErrorCode::Usage, format_args!("{address}: metrics need a loopback address")).into());
    }
    let (stop, stopped) = watch::channel(false);
    watch_signals(stop).context("signals")?;
    let metrics = Arc::new(Metrics::default());
    let config = ApiConfig { audit, behind_proxy: args.behind_proxy, request_time: args.request_time };
    state.remove_abandoned().or_fail()?;
    let api = Api::new(state, config, metrics.clone()).or_fail()?;
    let listener = listen(args.listen)?;
    let metrics_listener = args.metrics_listen.map(listen).transpose()?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let url = |listener: &TcpListener, scheme| listener.local_addr().map(|address| format!("{scheme}://{address}"));
    let ready = json!({
        "api": url(&listener, scheme)?,
        "metrics": metrics_listener.as_ref().map(|listener| url(listener, "http")).transpose()?,
        "pid": std::process::id(),
    });
    let limits = Limits {
        connections: args.connections.into(),
        connections_per_address: args.connections_per_address.into(),
        ..Limits::default()
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("threads")?;
    // The sockets are bound: connections wait in the queue of the kernel.
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{ready}").and_then(|()| stdout.flush()).context("standard output")?;
    drop(stdout);
    let served = runtime.block_on(async {
        let observed = metrics_listener.map(|listener| {
            let few = Limits { connections: 16, ..limits };
            let router = metrics_router(metrics.clone());
            tokio::spawn(serve(listener, None, router, few, Arc::default(), wait_for_stop(stopped.clone())))
        });
        let served = serve(listener, tls, api.router(), limits, metrics, wait_for_stop(stopped)).await;
        drop(observed);
        served
    });
    runtime.shutdown_background();
    served.context("the listener")?;
    Ok(ExitCode::SUCCESS)
}

fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).or_fail_as(ErrorCode::Unavailable, address)
}

/// Requests the stop at the first signal; the second one ends the process.
fn watch_signals(stop: watch::Sender<bool>) -> std::io::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            if stop.send_replace(true) {
                loader_stage::die_by_signal(signal);
            }
        }
    })?;
    Ok(())
}

async fn wait_for_stop(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender was dropped, which is a stop too.
    let _ = stopped.wait_for(|stop| *stop).await;
}
