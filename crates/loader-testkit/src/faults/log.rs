//! What the proxies have done and counted, shared by all their threads.

use super::rule::{Faults, Rule, Side};
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Time between two looks of a thread that stalls.
const LOOK: Duration = Duration::from_millis(20);

/// Most tickets that are kept, the newest ones.
const TICKETS_MAX: usize = 256;

/// What the proxies of a server share: the rules, and what has passed. Clones
/// show the same.
#[derive(Clone, Debug, Default)]
pub struct FaultLog(Arc<(Mutex<State>, Condvar)>);

#[derive(Debug, Default)]
struct State {
    rules: Vec<Counted>,
    /// Bytes by side, [`Side::Api`] first.
    sent: [u64; 2],
    received: [u64; 2],
    fired: u64,
    leaked: u64,
    stalled: u64,
    released: u64,
    stopped: bool,
    /// Heads of requests that were sent elsewhere, by the number of their ticket.
    tickets: BTreeMap<u64, Vec<u8>>,
    issued: u64,
}

#[derive(Debug)]
struct Counted {
    rule: Rule,
    seen: u64,
    taken: u64,
}

impl FaultLog {
    pub(crate) fn new(faults: Faults) -> Self {
        let log = Self::default();
        log.set(faults);
        log
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let outcome = change(&mut self.lock());
        self.0.1.notify_all();
        outcome
    }

    fn wait(&self, until: impl Fn(&State) -> bool) {
        let guard = self.0.1.wait_while(self.lock(), |state| !until(state) && !state.stopped);
        drop(guard.unwrap_or_else(PoisonError::into_inner));
    }

    /// Puts other rules in place of those there are; requests that are under way
    /// keep theirs.
    pub fn set(&self, faults: Faults) {
        let counted = |rule| Counted { rule, seen: 0, taken: 0 };
        self.change(|state| state.rules = faults.0.into_iter().map(counted).collect());
    }

    /// Bytes that left for clients of `side`, heads included.
    pub fn sent(&self, side: Side) -> u64 {
        self.lock().sent[side as usize]
    }

    /// Bytes of request bodies that came from clients of `side`.
    pub fn received(&self, side: Side) -> u64 {
        self.lock().received[side as usize]
    }

    /// Requests that a rule took.
    pub fn fired(&self) -> u64 {
        self.lock().fired
    }

    /// Requests to the other port of a redirect that carried secrets.
    pub fn leaked(&self) -> u64 {
        self.lock().leaked
    }

    /// Waits until `bytes` in all have left for clients of `side`, or the server
    /// stops.
    pub fn wait_sent(&self, side: Side, bytes: u64) {
        self.wait(|state| state.sent[side as usize] >= bytes);
    }

    /// Waits until `bytes` in all have come from clients of `side`, or the server
    /// stops.
    pub fn wait_received(&self, side: Side, bytes: u64) {
        self.wait(|state| state.received[side as usize] >= bytes);
    }

    /// Waits until `count` answers in all have stalled, or the server stops.
    pub fn wait_stalled(&self, count: u64) {
        self.wait(|state| state.stalled >= count);
    }

    /// Lets all answers go on that stall now.
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

    /// The rule that takes this request, if any.
    pub(crate) fn take(&self, side: Side, method: &str) -> Option<Rule> {
        self.change(|state| {
            let mut taken = None;
            for counted in state.rules.iter_mut().filter(|counted| counted.rule.fits(side, method)) {
                let takes = taken.is_none() && counted.rule.takes(counted.seen, counted.taken);
                counted.seen += 1;
                if takes {
                    counted.taken += 1;
                    taken = Some(counted.rule.clone());
                }
            }
            state.fired += u64::from(taken.is_some());
            taken
        })
    }

    /// Keeps a head under a new ticket.
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

    /// The head of a ticket.
    pub(crate) fn redeem(&self, number: u64) -> Option<Vec<u8>> {
        self.lock().tickets.get(&number).cloned()
    }

    /// Stalls until `gone` says that nobody waits any more (`false`), or until it
    /// is released (`true`).
    pub(crate) fn stall(&self, mut gone: impl FnMut() -> bool) -> bool {
        let turn = self.change(|state| {
            state.stalled += 1;
            state.stalled
        });
        loop {
            let state = self.0.1.wait_timeout(self.lock(), LOOK).unwrap_or_else(PoisonError::into_inner).0;
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
