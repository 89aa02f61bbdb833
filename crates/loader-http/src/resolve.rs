//! Names to addresses within a time, on a thread that the system may refuse.

use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;
use ureq::unversioned::transport::time::Duration;

/// ureq's resolver; but where there is no thread to be had it is an error, which
/// can be repeated, and not a panic. `localhost`, which is trusted for its address,
/// has no other, whoever answers for the name.
#[derive(Debug)]
pub(crate) struct Lookup;

fn only_loopback(found: &ResolvedSocketAddrs) -> Result<ResolvedSocketAddrs, Error> {
    let mut kept = Lookup.empty();
    for address in found.iter().filter(|address| address.ip().is_loopback()) {
        kept.push(*address);
    }
    if kept.is_empty() { Err(Error::HostNotFound) } else { Ok(kept) }
}

impl Resolver for Lookup {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let (uri, config) = (uri.clone(), config.clone());
        let unbounded = NextTimeout { after: Duration::NotHappening, ..timeout };
        let (to, answer) = sync_channel(1);
        let look = move || {
            let mut found = DefaultResolver::default().resolve(&uri, &config, unbounded);
            if uri.host().is_some_and(|host| host.eq_ignore_ascii_case("localhost")) {
                found = found.and_then(|found| only_loopback(&found));
            }
            drop(to.send(found));
        };
        std::thread::Builder::new().name("resolve".to_owned()).spawn(look)?;
        answer.recv_timeout(*timeout.after).unwrap_or_else(|error| match error {
            RecvTimeoutError::Timeout => Err(Error::Timeout(timeout.reason)),
            RecvTimeoutError::Disconnected => Err(Error::HostNotFound),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_is_this_machine_whoever_answers_for_the_name() {
        let found = |addresses: &[&str]| {
            let mut found = Lookup.empty();
            addresses.iter().for_each(|address| found.push(address.parse().unwrap()));
            only_loopback(&found).map(|kept| kept.to_vec())
        };
        let (inside, outside) = ("127.0.0.1:80", "203.0.113.7:80");
        assert_eq!(
            found(&[outside, inside, "[::1]:80"]).unwrap(),
            [inside.parse().unwrap(), "[::1]:80".parse().unwrap()]
        );
        assert!(matches!(found(&[outside]), Err(Error::HostNotFound)));
    }
}
