//! Fault injection: a proxy before each server that resets, stalls, alters or redirects
//! transfers according to a [`Faults`] text, and counts bytes and requests.

mod exchange;
mod head;
mod log;
mod mix;
mod proxy;
mod rule;
mod wire;

pub use log::FaultLog;
pub(crate) use proxy::Proxy;
pub use rule::{Faults, FaultsError, Side};
