//! The change of keys that the command line describes, and the event that reports it.

use crate::cli::Cli;
use loader_seal::rekey::{RekeyError, SlotChange, rekey};
use loader_seal::{Header, Key, KeyId};
use loader_stage::{Failure, OrFail, SecretSource, Stage, Step};
use std::io::Read;

/// The key that opens the file, and the keys to add and to drop.
pub(crate) struct KeyChange {
    key: [Key; 1],
    add: Vec<Key>,
    drop: Vec<KeyId>,
}

impl KeyChange {
    /// Reads the keys that are given on the command line.
    pub(crate) fn read(cli: &Cli, stage: &Stage) -> Result<Self, Failure> {
        let key = read_key(stage, cli.key.source(), "the key")?;
        let read_added = |path| read_key(stage, SecretSource::new("key", Some(path), None), "the key to add");
        let add = cli.add.iter().map(|path| read_added(path)).collect::<Result<_, _>>()?;
        let mut drop = cli.drop.clone();
        if cli.replace {
            drop.push(key.id());
        }
        drop.sort();
        drop.dedup();
        Ok(Self { key: [key], add, drop })
    }

    /// Returns the changed header. `place` is the name of the file for messages.
    pub(crate) fn apply(&self, header: &Header, place: &str, spare_slots: usize) -> Result<Header, Failure> {
        let change = SlotChange { add: &self.add, drop: &self.drop, spare_slots };
        rekey(header, &self.key, &change).map_err(|error| {
            let hint = match error {
                RekeyError::LastSlot => Some("add another key in the same run".to_owned()),
                RekeyError::NoSlot(_) => Some("az-inspect lists the keys of a file".to_owned()),
                _ => None,
            };
            Failure::at(place, &error).hint(hint)
        })
    }
}

fn read_key(stage: &Stage, from: SecretSource<'_>, what: &str) -> Result<Key, Failure> {
    Key::parse(&stage.secret_text(from)?).or_fail_at(what)
}

/// Reads a header. `place` is the name of the input for messages.
///
/// # Errors
/// `no_input` if a pipe is empty; the errors of [`Header::read`].
pub(crate) fn read_header(mut input: impl Read, place: &str, is_pipe: bool) -> Result<Header, Failure> {
    match Header::read(&mut input) {
        Err(error) if error.is_empty_input() && is_pipe => Err(Failure::no_input("sealed stream", place)),
        header => header.or_fail_at(place),
    }
}

/// Emits the event `rekeyed`: whether the stream was moved, length of the header, number of
/// bytes written, and ids of the keys that open the file.
pub(crate) fn emit_rekeyed(stage: &Stage, header: &Header, moved: bool, written: u64) {
    let devices = header.device_slots().iter().map(|device| &device.slot);
    // Limited, because an event has at most 4096 bytes, and a key id has about 50.
    let slots: Vec<_> = header.key_slots().iter().chain(devices).map(|slot| slot.key_id.to_string()).take(24).collect();
    stage.step(
        Step::Rekeyed,
        &[
            ("stream_moved", moved.into()),
            ("header_size", header.as_bytes().len().into()),
            ("written", written.into()),
            ("slots", slots.into()),
        ],
    );
}
