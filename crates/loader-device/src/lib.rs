//! What identifies this device: the hardware id (format: keys and fragments,
//! hardware id), where each piece of it comes from, and the enrolment card that
//! names the piece that changed. Files below one folder are read, nothing else.
//!
//! A source is strong where it stays behind when the drive is carried to another
//! machine, and cannot be copied with an image of it: the serial of the device
//! tree, product UUID and board serial of the DMI, the serial of the processor,
//! the CID of an eMMC, which is soldered. The serial of an NVMe drive travels
//! with the drive, and the machine id is a file on it: they are weak, are part of
//! the id, and do not make one alone.
//!
//! The id depends on the hardware, not on who asks: where a source is there and
//! cannot be read, there is no id rather than another one.

mod card;
mod error;
mod id;
mod inventory;
mod placeholder;
mod root;
mod table;
mod value;

pub use card::{Card, Change, ChangeKind};
pub use error::{CardError, Error, OtherHardware};
pub use id::{hardware_id, id_from_text};
pub use inventory::{Inventory, Source, State, read};
pub use table::Strength;
