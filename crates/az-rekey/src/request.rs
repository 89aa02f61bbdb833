//! What is asked for, and what became of it.

use crate::cli::Cli;
use loader_seal::rekey::{RekeyError, SlotChange, rekey};
use loader_seal::{Error, Header, Key, KeyId};
use loader_stage::{ErrorCode, Failure, OrFail, SecretSource, Stage};
use std::io::Read;

/// The key that opens the file, and the change of its slots.
pub(crate) struct Request {
    key: [Key; 1],
    add: Vec<Key>,
    drop: Vec<KeyId>,
}

impl Request {
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

    /// The header with the change. `place` is what messages call its file.
    pub(crate) fn apply(&self, header: &Header, place: &str, spare_slots: usize) -> Result<Header, Failure> {
        let change = SlotChange { add: &self.add, drop: &self.drop, spare_slots };
        rekey(header, &self.key, &change).map_err(|error| {
            let hint = match error {
                RekeyError::LastSlot => Some("add another key in the same run".to_owned()),
                RekeyError::NoSlot(_) => Some("az-inspect lists the keys that have one".to_owned()),
                _ => None,
            };
            Failure::new(ErrorCode::from_name(error.code()), format_args!("{place}: {error}")).hint(hint)
        })
    }
}

fn read_key(stage: &Stage, from: SecretSource<'_>, what: &str) -> Result<Key, Failure> {
    Key::parse(&stage.secret_text(from)?).or_fail(what, code)
}

/// Reads the header of `place`; empty standard input has a message of its own.
pub(crate) fn read_header(mut input: impl Read, place: &str, is_pipe: bool) -> Result<Header, Failure> {
    match Header::read(&mut input) {
        Err(error) if error.is_empty_input() && is_pipe => Err(Failure::no_input("sealed stream", place)),
        header => header.or_fail(place, code),
    }
}

/// Says what was done: whether the stream moved, the header's size, the bytes
/// written in all, and who can open the file now.
pub(crate) fn report(stage: &Stage, header: &Header, moved: bool, written: u64) {
    let devices = header.device_slots().iter().map(|device| &device.slot);
    // An event has 4096 bytes; some dozen ids of 50 fit.
    let slots: Vec<_> = header.key_slots().iter().chain(devices).map(|slot| slot.key_id.to_string()).take(24).collect();
    stage.step(
        "rekeyed",
        &[
            ("stream_moved", moved.into()),
            ("header_size", header.as_bytes().len().into()),
            ("written", written.into()),
            ("slots", slots.into()),
        ],
    );
}

fn code(error: &Error) -> ErrorCode {
    ErrorCode::from_name(error.code())
}
