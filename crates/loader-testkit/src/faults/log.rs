//! Rules and counters of the proxies, shared by all their threads.

use super::rule::{Faults, Rule, Side};
use crate::wait::LIMIT;
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Interval at which a stalled thread checks its connection.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Maximum number of tickets; the oldest are dropped.
const TICKETS_MAX: usize = 256;

/// Rules and counters of the proxies of a server. Clones share the same state.
#[derive(Clone, Debug, Default)]
pub struct FaultLog(Arc<(Mutex<LogState>, Condvar)>);

#[derive(Debug, Default)]
struct LogState {
    rules: Vec<CountedRule>,
    /// Bytes for each side, [`Side::Api`] first.
    sent: [u64; 2],
    received: [u64; 2],
    fired: u64,
    leaked: u64,
    stalled: u64,
    released: u64,
    stopped: bool,
    /// Headers of redirected requests by ticket number.
    tickets: BTreeMap<u64, Vec<u8>>,
    issued: u64,
}

#[derive(Debug)]
struct CountedRule {
    rule: Rule,
    seen: u64,
    applied: u64,
}

impl FaultLog {
    pub(crate) fn new(faults: Faults) -> Self {
        let log = Self::default();
        log.set(faults);
        log
    }

    fn lock(&self) -> MutexGuard<'_, LogState> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut LogState) -> T) -> T {
        let outcome = change(&mut self.lock());
        self.0.1.notify_all();
        outcome
    }

    #[track_caller]
    fn wait(&self, state: &str, until: impl Fn(&LogState) -> bool) {
        let outcome = self.0.1.wait_timeout_while(self.lock(), LIMIT, |state| !until(state) && !state.stopped);
        let (guard, waited) = outcome.unwrap_or_else(PoisonError::into_inner);
        drop(guard);
        assert!(!waited.timed_out(), "not reached after {} s: {state}", LIMIT.as_secs());
    }

    /// Replaces the rules. Requests in progress keep their rule.
    pub fn set(&self, faults: Faults) {
        let counted = |rule| CountedRule { rule, seen: 0, applied: 0 };
        self.change(|state| state.rules = faults.0.into_iter().map(counted).collect());
    }

    /// Returns the number of bytes sent to clients of `side`, including headers.
    pub fn sent(&self, side: Side) -> u64 {
        self.lock().sent[side as usize]
    }

    /// Returns the number of request body bytes received from clients of `side`.
    pub fn received(&self, side: Side) -> u64 {
        self.lock().received[side as usize]
    }

    /// Returns the number of requests with a fault.
    pub fn fired(&self) -> u64 {
        self.lock().fired
    }

    /// Returns the number of requests to the redirect port that contained secrets.
    pub fn leaked(&self) -> u64 {
        self.lock().leaked
    }

    /// Waits until `bytes` bytes in total were sent to clients of `side`, or the server
    /// stops.
    ///
    /// # Panics
    /// Like [`crate::wait_until`], as the other methods that wait.
    #[track_caller]
    pub fn wait_sent(&self, side: Side, bytes: u64) {
        self.wait(&format!("{bytes} bytes sent to clients"), |state| state.sent[side as usize] >= bytes);
    }

    /// Waits until `bytes` bytes in total were received from clients of `side`, or the
    /// server stops.
    #[track_caller]
    pub fn wait_received(&self, side: Side, bytes: u64) {
        self.wait(&format!("{bytes} bytes received from clients"), |state| state.received[side as usize] >= bytes);
    }

    /// Waits until `count` transfers in total have stalled, or the server stops.
    #[track_caller]
    pub fn wait_stalled(&self, count: u64) {
        self.wait(&format!("{count} stalled transfers"), |state| state.stalled >= count);
    }

    /// Resumes all stalled transfers.
    pub fn release(&self) {
        self.change(|state| state.released = state.stalled);
    }

    pub(crate) fn stop(&self) {
        self.change(|state| state.stopped = true);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    pub(crate) fn add_sent(&self, side: Side, bytes: u64) {
        self.change(|state| state.sent[side as usize] += bytes);
    }

    pub(crate) fn add_received(&self, side: Side, bytes: u64) {
        self.change(|state| state.received[side as usize] += bytes);
    }

    pub(crate) fn add_leak(&self) {
        self.change(|state| state.leaked += 1);
    }

    /// Selects the rule for this request, if any, and counts the request.
    pub(crate) fn select_rule(&self, side: Side, method: &str) -> Option<Rule> {
        self.change(|state| {
            let mut selected = None;
            for counted in state.rules.iter_mut().filter(|counted| counted.rule.matches(side, method)) {
                let applies = selected.is_none() && counted.rule.applies_to(counted.seen, counted.applied);
                counted.seen += 1;
                if applies {
                    counted.applied += 1;
                    selected = Some(counted.rule.clone());
                }
            }
            state.fired += u64::from(selected.is_some());
            selected
        })
    }

    /// Stores a request header under a new ticket and returns the ticket number.
    pub(crate) fn issue(&self, head: Vec<u8>) -> u64 {
        self.change(|state| {
            state.issued += 1;
            state.tickets.insert(state.issued, head);
            if state.tickets.len() > TICKETS_MAX {
                state.tickets.pop_first();
            }
            state.issued
        })
    }

    /// Returns the request header of a ticket.
    pub(crate) fn redeem(&self, number: u64) -> Option<Vec<u8>> {
        self.lock().tickets.get(&number).cloned()
    }

    /// Stalls until it is released (returns `true`), or until `gone` returns true or the
    /// server stops (returns `false`).
    pub(crate) fn stall(&self, mut gone: impl FnMut() -> bool) -> bool {
        let turn = self.change(|state| {
            state.stalled += 1;
            state.stalled
        });
        loop {
            let state = self.0.1.wait_timeout(self.lock(), POLL_INTERVAL).unwrap_or_else(PoisonError::into_inner).0;
            if state.released >= turn {
                return true;
            }
            let stopped = state.stopped;
            drop(state);
            if stopped || gone() {
                return false;
            }
        }
    }
}
