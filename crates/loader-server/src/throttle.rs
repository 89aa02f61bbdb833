//! Limit for failed logins per account, and per account and address, and per address.

use sha2::{Digest, Sha256};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Maximum number of failed logins of one account from one address within [`WINDOW`].
pub(crate) const FAILURES_MAX: u32 = 10;

/// Maximum number of failed logins of one account from all addresses. It is higher, so that
/// one attacker cannot keep a device from logging in.
const ACCOUNT_MAX: u32 = 100;

/// Maximum number of failed logins from one address. Devices behind one router share it.
const ADDRESS_MAX: u32 = 60;

/// Time for which failed logins are counted.
pub(crate) const WINDOW: Duration = Duration::from_secs(60);

/// Number of counters. Two keys that share one only make the limit lower for both.
const SLOTS: usize = 1 << 16;

/// Counters of failed logins, in constant memory: an attacker who invents names cannot fill it or
/// evict other entries.
pub(crate) struct Throttle {
    seed: [u8; 16],
    start: Instant,
    /// Window and number of failures.
    slots: Vec<(u32, u32)>,
}

impl Throttle {
    /// Creates counters with random positions, which nobody outside can predict.
    pub(crate) fn new() -> std::io::Result<Self> {
        let mut seed = [0; 16];
        getrandom::fill(&mut seed).map_err(std::io::Error::other)?;
        Ok(Self { seed, start: Instant::now(), slots: vec![(0, 0); SLOTS] })
    }

    /// Returns the seconds until `email` may try again from `address`, or `None` if it may try now.
    pub(crate) fn wait_seconds(&self, email: &str, address: IpAddr, now: Instant) -> Option<u64> {
        let elapsed = now.saturating_duration_since(self.start);
        let window = window_at(elapsed);
        let is_over = self.keys(email, address).iter().any(|(key, max)| {
            let count = |slot: &usize| Some(self.slots[*slot]).filter(|(of, _)| *of == window).map_or(0, |(_, n)| n);
            key.iter().map(count).min().unwrap_or(0) >= *max
        });
        is_over.then(|| WINDOW.as_secs() - elapsed.as_secs() % WINDOW.as_secs())
    }

    /// Records a failed login.
    pub(crate) fn failed(&mut self, email: &str, address: IpAddr, now: Instant) {
        let window = window_at(now.saturating_duration_since(self.start));
        for (key, _) in self.keys(email, address) {
            for slot in key {
                let (of, count) = self.slots[slot];
                self.slots[slot] = (window, if of == window { count.saturating_add(1) } else { 1 });
            }
        }
    }

    /// Returns the two counters of each key, and the limit of the key.
    fn keys(&self, email: &str, address: IpAddr) -> [([usize; 2], u32); 3] {
        let (email, address) = (email.to_ascii_lowercase(), network(address));
        [
            (self.slots_of(1, &[email.as_bytes(), &address]), FAILURES_MAX),
            (self.slots_of(2, &[email.as_bytes()]), ACCOUNT_MAX),
            (self.slots_of(3, &[&address]), ADDRESS_MAX),
        ]
    }

    fn slots_of(&self, kind: u8, parts: &[&[u8]]) -> [usize; 2] {
        let mut hash = Sha256::new();
        hash.update(self.seed);
        hash.update([kind]);
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let digest = hash.finalize();
        [0, 2].map(|at| usize::from(u16::from_be_bytes([digest[at], digest[at + 1]])))
    }
}

fn window_at(elapsed: Duration) -> u32 {
    // 0 means that a counter was never used.
    u32::try_from(elapsed.as_secs() / WINDOW.as_secs() + 1).unwrap_or(u32::MAX)
}

/// Returns the address, or the network of an IPv6 address, which one customer has as a whole.
fn network(address: IpAddr) -> Vec<u8> {
    match address.to_canonical() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets()[..8].to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_eleventh_try_waits_until_the_window_ends() {
        let mut throttle = Throttle::new().unwrap();
        let (here, there) = (address("192.0.2.1"), address("192.0.2.2"));
        let later = throttle.start + Duration::from_secs(20);
        for _ in 0..10 {
            assert_eq!(throttle.wait_seconds("a@b", here, later), None);
            throttle.failed("A@b", here, later);
        }
        assert_eq!(throttle.wait_seconds("a@b", here, later), Some(40));
        assert_eq!(throttle.wait_seconds("c@d", here, later), None);
        assert_eq!(throttle.wait_seconds("a@b", there, later), None);
        assert_eq!(throttle.wait_seconds("a@b", here, throttle.start + WINDOW), None);
    }

    #[test]
    fn an_account_and_an_address_have_their_own_limits() {
        let mut throttle = Throttle::new().unwrap();
        let now = throttle.start;
        for n in 0..ACCOUNT_MAX {
            throttle.failed("a@b", address(&format!("198.51.100.{n}")), now);
        }
        assert!(throttle.wait_seconds("a@b", address("192.0.2.1"), now).is_some());
        // Addresses of one IPv6 network count as one.
        for n in 0..ADDRESS_MAX {
            throttle.failed(&format!("{n}@b"), address(&format!("2001:db8::{n}")), now);
        }
        assert!(throttle.wait_seconds("x@y", address("2001:db8::ffff"), now).is_some());
        assert!(throttle.wait_seconds("x@y", address("2001:db8:0:1::1"), now).is_none());
    }
}
