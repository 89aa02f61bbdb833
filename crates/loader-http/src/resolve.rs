//! Host name resolution with a timeout.

use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;
use ureq::unversioned::transport::time::Duration;

/// Resolves names with ureq's resolver on a separate thread. If no thread can be
/// started, this is an error that can be retried, not a panic. `localhost` is trusted,
/// so it resolves to loopback addresses only, whatever the resolver returns.
#[derive(Debug)]
pub(crate) struct TimedResolver;

fn retain_loopback(found: &ResolvedSocketAddrs) -> Result<ResolvedSocketAddrs, Error> {
    let mut kept = TimedResolver.empty();
    for address in found.iter().filter(|address| address.ip().is_loopback()) {
        kept.push(*address);
    }
    if kept.is_empty() { Err(Error::HostNotFound) } else { Ok(kept) }
}

impl Resolver for TimedResolver {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let (uri, config) = (uri.clone(), config.clone());
        let unbounded = NextTimeout { after: Duration::NotHappening, ..timeout };
        let (sender, receiver) = sync_channel(1);
        let resolve = move || {
            let mut found = DefaultResolver::default().resolve(&uri, &config, unbounded);
            if uri.host().is_some_and(|host| host.eq_ignore_ascii_case("localhost")) {
                found = found.and_then(|found| retain_loopback(&found));
            }
            drop(sender.send(found));
        };
        std::thread::Builder::new().name("resolve".to_owned()).spawn(resolve)?;
        receiver.recv_timeout(*timeout.after).unwrap_or_else(|error| match error {
            RecvTimeoutError::Timeout => Err(Error::Timeout(timeout.reason)),
            RecvTimeoutError::Disconnected => Err(Error::HostNotFound),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_resolves_to_loopback_addresses_only() {
        let found = |addresses: &[&str]| {
            let mut found = TimedResolver.empty();
            addresses.iter().for_each(|address| found.push(address.parse().unwrap()));
            retain_loopback(&found).map(|kept| kept.to_vec())
        };
        let (inside, outside) = ("127.0.0.1:80", "203.0.113.7:80");
        assert_eq!(
            found(&[outside, inside, "[::1]:80"]).unwrap(),
            [inside.parse().unwrap(), "[::1]:80".parse().unwrap()]
        );
        assert!(matches!(found(&[outside]), Err(Error::HostNotFound)));
    }
}
