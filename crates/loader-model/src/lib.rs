//! Data types that all stages share: credentials, users and roles, resource names, the
//! description of content, the states of an unlock, the event line, and the error codes with
//! their exit statuses. This crate does no I/O.

mod cdn;
mod clock;
mod credentials;
mod description;
mod error_code;
mod event;
mod name;
mod named;
mod receipt;
mod role;
mod stage_name;
mod state;
mod step;
mod text;
mod user;
pub mod yaml;

pub use cdn::CdnCredentials;
pub use clock::is_clock_unset;
pub use credentials::{Credentials, deserialize_zeroizing};
pub use description::Description;
pub use error_code::{Coded, ErrorCode};
pub use event::{EVENT_LINE_MAX, EVENT_SCHEMA, Event, EventError, Unit};
pub use name::{ResourceName, ResourceNameError};
pub use named::{Name, Named};
pub use receipt::{PartReceipt, PartsReceipt};
pub use role::Role;
pub use stage_name::StageName;
pub use state::UnlockState;
pub use step::Step;
pub use text::{TEXT_MAX_CHARS, json_line, json_pretty, printable, write_json_line};
pub use user::{User, parse_uuid};
