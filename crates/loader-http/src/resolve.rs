//! Names to addresses within a time, on a thread that the system may refuse.

use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;
use ureq::unversioned::transport::time::Duration;

/// ureq's resolver; but where there is no thread to be had it is an error, which
/// can be repeated, and not a panic.
#[derive(Debug)]
pub(crate) struct Lookup;

impl Resolver for Lookup {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let (uri, config) = (uri.clone(), config.clone());
        let unbounded = NextTimeout { after: Duration::NotHappening, ..timeout };
        let (to, answer) = sync_channel(1);
        let look = move || drop(to.send(DefaultResolver::default().resolve(&uri, &config, unbounded)));
        std::thread::Builder::new().name("resolve".to_owned()).spawn(look)?;
        answer.recv_timeout(*timeout.after).unwrap_or_else(|error| match error {
            RecvTimeoutError::Timeout => Err(Error::Timeout(timeout.reason)),
            RecvTimeoutError::Disconnected => Err(Error::HostNotFound),
        })
    }
}
