//! Identifies this device: the hardware id (crates/loader-seal/README.md, section "Sealed to a
//! user and a device"), the sources it is computed from, and the enrolment card, which shows
//! later which source changed. The crate only reads files below one directory.
//!
//! A source is strong if it stays with the machine when the drive is moved to another one, and
//! cannot be copied with a disk image: the serial in the device tree, the product UUID and board
//! serial in the DMI tables, the serial of the processor, and the CID of an eMMC, which is
//! soldered. The serial of an NVMe drive moves with the drive, and the machine id is a file on
//! it. Both are weak: they are part of the id, but at least one strong source is required.
//!
//! The id depends on the hardware, not on the user: if a source exists and cannot be read, the
//! result is an error, not a different id.

mod card;
mod error;
mod id;
mod inventory;
mod placeholder;
mod sources;
mod sysroot;
mod value;

pub use card::{Card, ChangeKind, SourceChange};
pub use error::{CardError, Error, HardwareMismatch};
pub use id::{hardware_id, id_from_text};
pub use inventory::{HardwareSource, Inventory, SourceState};
pub use sources::Strength;
