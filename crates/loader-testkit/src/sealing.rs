//! Small resources sealed to user and hardware (spec/format.md section 4).

use crate::SealCost;
use loader_model::ResourceName;
use loader_seal::device::{Binding, Cost, Kind, seal};

/// The kind of a resource: `cdn.yaml` or a small part.
pub(crate) fn kind_of(name: &ResourceName) -> Kind {
    if name.file_name() == "cdn.yaml" { Kind::Cdn } else { Kind::SmallPart }
}

/// To whom something is sealed.
pub(crate) struct Recipient {
    pub(crate) user: [u8; 16],
    pub(crate) password: String,
    pub(crate) hardware: [u8; 32],
    pub(crate) secret: Option<[u8; 32]>,
}

/// `plaintext` sealed to `to`. Takes the memory and time that `cost` says.
pub(crate) fn seal_to(
    to: &Recipient,
    plaintext: &[u8],
    kind: Kind,
    cost: SealCost,
) -> Result<Vec<u8>, loader_seal::Error> {
    let binding = Binding { user: to.user, password: &to.password, hardware: to.hardware, secret: to.secret.as_ref() };
    let cost = Cost { memory_kib: cost.memory_kib, passes: cost.passes, lanes: cost.lanes };
    seal(plaintext, kind, &binding, cost)
}
