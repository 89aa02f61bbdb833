//! Links that break: a proxy in front of a server, which cuts, stalls, lies and
//! sends elsewhere as a [`Faults`] text says, and counts what passes.

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
