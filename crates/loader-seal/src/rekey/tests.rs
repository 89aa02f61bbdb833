use super::*;
use crate::slot::{Cost, SealedKind};
use crate::{DeviceSlot, Metadata, SealOptions, Suite, seal};
use loader_model::Description;

const PLAINTEXT: &[u8] = b"what is sealed stays sealed";

fn key() -> Key {
    Key::generate().unwrap()
}

fn sealed_for(keys: &[Key], suite: Suite) -> Vec<u8> {
    let metadata = Metadata {
        description: Description {
            content_type: Some("text/plain".to_owned()),
            name: Some("models/a".to_owned()),
            release: Some(7),
            images: Some("[]".to_owned()),
        },
        encoding: Some("zstd".to_owned()),
        comment: Some("remark".to_owned()),
        content_len: Some(9),
        stream_len: None,
    };
    let plaintext_len = Some(PLAINTEXT.len() as u64);
    let options = SealOptions { suite, segment_log2: 12, plaintext_len, metadata, spare_slots: 0, threads: 1 };
    let mut sealed = Vec::new();
    seal(&mut &*PLAINTEXT, &mut sealed, keys, &options).unwrap();
    sealed
}

fn header_of(sealed: &[u8]) -> Header {
    Header::read(&mut &*sealed).unwrap()
}

/// Changes the slots of a sealed file.
fn changed(sealed: &[u8], with: &Key, change: &SlotChange<'_>) -> Result<Vec<u8>, RekeyError> {
    let old = header_of(sealed);
    let new = rekey(&old, &[Key::from_bytes(*with.expose())], change)?;
    let (before, after) = (old.as_bytes(), new.as_bytes());
    assert_eq!(before[..36], after[..36], "the associated data of the stream changed");
    let unlocked = header_of(after);
    assert_eq!(unlocked.unverified_metadata().unwrap(), old.unverified_metadata().unwrap());
    Ok([after, &sealed[before.len()..]].concat())
}

fn opens(sealed: &[u8], key: &Key) -> Result<Vec<u8>, &'static str> {
    let mut rest = sealed;
    let header = Header::read(&mut rest).unwrap();
    let unlocked = header.unlock(&[Key::from_bytes(*key.expose())]).map_err(|error| error.code().as_str())?;
    let mut plaintext = Vec::new();
    unlocked.open(&mut rest, &mut plaintext, 1).map_err(|error| error.code().as_str())?;
    Ok(plaintext)
}

fn copies(keys: &[&Key]) -> Vec<Key> {
    keys.iter().map(|key| Key::from_bytes(*key.expose())).collect()
}

#[test]
fn adding_and_dropping_keys_keeps_the_stream() {
    for suite in [Suite::AesCtrHmac, Suite::AesGcm] {
        let [one, two, three] = [key(), key(), key()];
        let sealed = sealed_for(&copies(&[&one]), suite);
        let added = changed(&sealed, &one, &SlotChange { add: &copies(&[&two, &three]), ..SlotChange::default() });
        let added = added.unwrap();
        for key in [&one, &two, &three] {
            assert_eq!(opens(&added, key).unwrap(), PLAINTEXT);
        }
        let drop = [one.id()];
        let dropped = changed(&added, &two, &SlotChange { drop: &drop, ..SlotChange::default() }).unwrap();
        assert_eq!(opens(&dropped, &one), Err("wrong_key"));
        assert_eq!(opens(&dropped, &two).unwrap(), PLAINTEXT);
        assert_eq!(opens(&dropped, &three).unwrap(), PLAINTEXT);
        // The next key uses the space of the dropped slot.
        assert_eq!(dropped.len(), added.len());
        let again = changed(&dropped, &two, &SlotChange { add: &[key()], ..SlotChange::default() }).unwrap();
        assert_eq!(again.len(), added.len());
        assert!(header_of(&again).fields().unwrap().unknown.is_empty());
    }
}

#[test]
fn replacing_a_key_keeps_the_length_and_uses_a_new_salt() {
    let [old, new] = [key(), key()];
    let sealed = sealed_for(&copies(&[&old]), Suite::AesGcm);
    let drop = [old.id()];
    let change = SlotChange { add: &copies(&[&new]), drop: &drop, spare_slots: 4 };
    let replaced = changed(&sealed, &old, &change).unwrap();
    assert_eq!(replaced.len(), sealed.len());
    assert_eq!((opens(&replaced, &old), opens(&replaced, &new).is_ok()), (Err("wrong_key"), true));
    let again = changed(&replaced, &new, &SlotChange { add: &copies(&[&new]), ..SlotChange::default() }).unwrap();
    let slots = |sealed: &[u8]| header_of(sealed).key_slots().to_vec();
    assert_eq!((slots(&again).len(), again.len()), (1, replaced.len()));
    assert_ne!(slots(&again)[0].salt, slots(&replaced)[0].salt);
    assert_ne!(slots(&again)[0].wrapped, slots(&replaced)[0].wrapped);
}

#[test]
fn growing_header_reserves_spare_slots() {
    let [one, two] = [key(), key()];
    let sealed = sealed_for(&copies(&[&one]), Suite::AesGcm);
    let add =
        |to: &[u8], spare_slots| changed(to, &one, &SlotChange { add: &[key()], drop: &[], spare_slots }).unwrap();
    assert_eq!(add(&sealed, 0).len(), sealed.len() + SLOT_FIELD_LEN);
    let mut grown = add(&sealed, 3);
    assert_eq!(grown.len(), sealed.len() + 4 * SLOT_FIELD_LEN);
    for _ in 0..3 {
        let next = add(&grown, 3);
        assert_eq!(next.len(), grown.len());
        grown = next;
    }
    assert_eq!(add(&grown, 0).len(), grown.len() + SLOT_FIELD_LEN);
    assert_eq!(opens(&grown, &one).unwrap(), PLAINTEXT);
    assert_eq!(opens(&grown, &two), Err("wrong_key"));
}

#[test]
fn new_header_reserves_spare_slots() {
    let one = key();
    let header_len = |spare_slots| {
        let options = SealOptions { spare_slots, ..SealOptions::default() };
        let (header, _) = seal(&mut &*PLAINTEXT, &mut Vec::new(), &copies(&[&one]), &options).unwrap();
        header.as_bytes().len()
    };
    for slots in [1, 2, 4] {
        assert_eq!(header_len(slots), header_len(0) + slots * SLOT_FIELD_LEN);
    }
}

#[test]
fn too_little_space_for_padding_and_unknown_fields_are_handled() {
    let one = key();
    let base = sealed_for(&copies(&[&one]), Suite::AesGcm);
    let with = |unknown: Vec<(u8, Vec<u8>)>| {
        let header = header_of(&base);
        let file_key = header.file_key(&copies(&[&one])).unwrap();
        let fields = Fields { unknown, ..header.fields().unwrap() };
        let built =
            Header::build(*header.layout(), header.plaintext_len(), header.file_id(), &file_key, &fields).unwrap();
        [built.header().as_bytes(), &base[header.as_bytes().len()..]].concat()
    };
    for padding in 0..200 {
        let padded = with(vec![(0x90, b"kept".to_vec()), (PADDING, vec![0; padding])]);
        let added = changed(&padded, &one, &SlotChange { add: &[key()], drop: &[], spare_slots: 1 }).unwrap();
        assert_eq!(opens(&added, &one).unwrap(), PLAINTEXT, "{padding}");
        assert_eq!(header_of(&added).fields().unwrap().unknown[0], (0x90, b"kept".to_vec()));
        let room = padding + FIELD_HEAD_LEN;
        let fits = room == SLOT_FIELD_LEN || room >= SLOT_FIELD_LEN + FIELD_HEAD_LEN;
        let grown = padded.len() - room + 2 * SLOT_FIELD_LEN;
        assert_eq!(added.len(), if fits { padded.len() } else { grown }, "{padding}");
    }
    let foreign = with(vec![(PADDING, b"not ours".to_vec())]);
    let change = SlotChange { add: &[key()], drop: &[], spare_slots: 2 };
    let added = changed(&foreign, &one, &change).unwrap();
    assert_eq!(header_of(&added).fields().unwrap().unknown, [(PADDING, b"not ours".to_vec())]);
    assert_eq!(added.len(), foreign.len() + SLOT_FIELD_LEN);
}

#[test]
fn invalid_changes_are_refused() {
    let [one, two] = [key(), key()];
    let sealed = sealed_for(&copies(&[&one]), Suite::AesGcm);
    let code = |with: &Key, add: &[&Key], drop: &[KeyId]| {
        let change = SlotChange { add: &copies(add), drop, spare_slots: 0 };
        changed(&sealed, with, &change).unwrap_err().code().as_str()
    };
    assert_eq!(code(&two, &[], &[]), "wrong_key");
    assert_eq!(code(&one, &[], &[one.id()]), "usage");
    assert_eq!(code(&one, &[], &[two.id()]), "not_found");
    assert_eq!(code(&one, &[&two], &[two.id()]), "usage");
    let many: Vec<Key> = (0..1000).map(|_| key()).collect();
    let change = SlotChange { add: &many, ..SlotChange::default() };
    assert_eq!(changed(&sealed, &one, &change).unwrap_err().code().as_str(), "malformed");
    let change = SlotChange { add: &many[..970], drop: &[], spare_slots: 100 };
    assert_eq!(header_of(&changed(&sealed, &one, &change).unwrap()).as_bytes().len(), *HEADER_LEN.end());
    // A tampered header gets no new MAC.
    for at in [12, 45, 60, 90, sealed.len() - 80] {
        let mut tampered = sealed.clone();
        tampered[at] ^= 1;
        let header = header_of(&tampered);
        let Err(error) =
            rekey(&header, &copies(&[&one]), &SlotChange { add: &copies(&[&two]), ..SlotChange::default() })
        else {
            assert!(at >= header.as_bytes().len(), "{at}");
            continue;
        };
        assert!(matches!(error.code().as_str(), "header_tampered" | "wrong_key"), "{at}: {error}");
    }
}

#[test]
fn device_slot_is_kept_until_it_is_dropped() {
    let [one, derived, two] = [key(), key(), key()];
    let base = sealed_for(&copies(&[&one]), Suite::AesGcm);
    let header = header_of(&base);
    let file_key = header.file_key(&copies(&[&one])).unwrap();
    let device = DeviceSlot {
        slot: KeySlot::wrap(&file_key, &derived, header.file_id()).unwrap(),
        cost: Cost::default(),
        password_salt: [3; 16],
        kind: SealedKind::SmallPart,
        uses_secret: true,
    };
    let fields = Fields { key_slots: Vec::new(), device_slots: vec![device.clone()], ..header.fields().unwrap() };
    let built = Header::build(*header.layout(), header.plaintext_len(), header.file_id(), &file_key, &fields).unwrap();
    let sealed = [built.header().as_bytes(), &base[header.as_bytes().len()..]].concat();
    let drop = [derived.id()];
    let alone = changed(&sealed, &derived, &SlotChange { drop: &drop, ..SlotChange::default() });
    assert!(matches!(alone, Err(RekeyError::LastSlot)));
    let added = changed(&sealed, &derived, &SlotChange { add: &copies(&[&two]), ..SlotChange::default() }).unwrap();
    assert_eq!(header_of(&added).device_slots(), [device]);
    assert_eq!(opens(&added, &derived).unwrap(), PLAINTEXT);
    let dropped = changed(&added, &two, &SlotChange { drop: &drop, ..SlotChange::default() }).unwrap();
    assert_eq!(opens(&dropped, &derived), Err("wrong_key"));
    assert_eq!(opens(&dropped, &two).unwrap(), PLAINTEXT);
}

#[test]
fn journal_returns_the_recovery_state() {
    let one = key();
    let sealed = sealed_for(&copies(&[&one]), Suite::AesGcm);
    let old = header_of(&sealed);
    let drop = [one.id()];
    let new = rekey(&old, &copies(&[&one]), &SlotChange { add: &[key()], drop: &drop, spare_slots: 0 }).unwrap();
    let journal = HeaderJournal::new(&old, &new).unwrap();
    let bytes = journal.to_bytes();
    assert_eq!(HeaderJournal::from_bytes(&bytes).unwrap(), journal);
    // Only one slot and the MAC change.
    assert!(bytes.len() < 300, "{}", bytes.len());
    for cut in 0..bytes.len() {
        assert_eq!(HeaderJournal::from_bytes(&bytes[..cut]), None, "{cut}");
        let mut flipped = bytes.clone();
        flipped[cut] ^= 1;
        assert_eq!(HeaderJournal::from_bytes(&flipped), None, "{cut}");
    }
    let (old, new) = (old.as_bytes(), new.as_bytes());
    for cut in 0..=old.len() {
        for (first, second) in [(new, old), (old, new)] {
            let torn = [&first[..cut], &second[cut..]].concat();
            let expected = match torn {
                ref torn if *torn == old => RecoveryState::Unchanged,
                ref torn if *torn == new => RecoveryState::Complete,
                _ => RecoveryState::Mixed,
            };
            assert_eq!(journal.recovery_state(&torn), expected, "{cut}");
        }
    }
    let mut foreign = old.to_vec();
    foreign[20] ^= 1;
    assert_eq!(journal.recovery_state(&foreign), RecoveryState::OtherFile);
    assert_eq!(journal.recovery_state(&old[..50]), RecoveryState::OtherFile);
    for (writes, expected) in [(journal.redo().collect::<Vec<_>>(), new), (journal.undo().collect(), old)] {
        let mut file = [&new[..70], &old[70..]].concat();
        writes.into_iter().for_each(|(at, bytes)| file[at as usize..at as usize + bytes.len()].copy_from_slice(bytes));
        assert_eq!(file, expected);
    }
    let longer = rekey(&header_of(&sealed), &copies(&[&one]), &SlotChange { add: &[key()], ..SlotChange::default() });
    assert!(HeaderJournal::new(&header_of(&sealed), &longer.unwrap()).is_err());
}
