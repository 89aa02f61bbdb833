//! The words that every stage shares: who logs in, what a role may do, how a
//! resource is called, the seven states, the event line, and the error codes
//! with their exit status. No I/O happens here.

mod cdn;
mod clock;
mod code;
mod credentials;
mod event;
mod name;
mod receipt;
mod role;
mod state;
mod text;
mod user;
pub mod yaml;

pub use cdn::CdnCredentials;
pub use clock::is_clock_unset;
pub use code::ErrorCode;
pub use credentials::{Credentials, wiped};
pub use event::{EVENT_LINE_MAX, EVENT_SCHEMA, Event, EventError, Unit};
pub use name::{NameError, ResourceName};
pub use receipt::{PartReceipt, PartsReceipt};
pub use role::Role;
pub use state::UnlockState;
pub use text::{TEXT_MAX_CHARS, json_line, json_pretty, printable, write_json_line};
pub use user::{User, uuid_bytes};
