use super::*;
use crate::bech32m;
use loader_model::Coded;
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

const CHARSET: &[u8; 32] = b"QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L";

fn key(seed: u8) -> Key {
    Key::from_bytes(Sha256::digest([seed]).into())
}

fn same(a: &Key, b: &Key) -> bool {
    a.ct_eq(b).into()
}

fn pick(fragments: &[Fragment], mask: u32) -> Vec<Fragment> {
    let chosen = fragments.iter().enumerate().filter(|(i, _)| mask >> i & 1 == 1);
    chosen.map(|(_, fragment)| fragment.clone()).collect()
}

#[test]
fn exactly_the_subsets_of_k_or_more_are_joined() {
    let sizes = [(Scheme::Xor, 2, 2), (Scheme::Xor, 5, 5)];
    let shamir = [(2, 2), (2, 5), (3, 5), (5, 5), (4, 7)].map(|(k, n)| (Scheme::Shamir, k, n));
    for (scheme, k, n) in sizes.into_iter().chain(shamir) {
        let fragments = split(&key(n), scheme, k, n).unwrap();
        let sizes: Vec<_> = fragments.iter().map(|one| (one.threshold(), one.shares(), one.index())).collect();
        assert_eq!(sizes, (1..=n).map(|index| (k, n, index)).collect::<Vec<_>>());
        for mask in 1..1_u32 << n {
            let joined = join(&pick(&fragments, mask));
            if mask.count_ones() >= u32::from(k) {
                assert!(same(&joined.unwrap(), &key(n)));
            } else {
                let has = usize::try_from(mask.count_ones()).unwrap();
                assert_eq!(joined.unwrap_err(), FragmentError::TooFew { needs: k, has });
            }
        }
    }
}

#[test]
fn largest_sets_are_joined() {
    for (scheme, k) in [(Scheme::Xor, 255), (Scheme::Shamir, 255), (Scheme::Shamir, 2)] {
        let mut fragments = split(&key(9), scheme, k, 255).unwrap();
        fragments.reverse();
        assert!(same(&join(&fragments).unwrap(), &key(9)));
    }
}

#[test]
fn invalid_sizes_are_refused() {
    let bad = [(Scheme::Xor, 0, 0), (Scheme::Xor, 1, 1), (Scheme::Xor, 2, 3), (Scheme::Xor, 3, 2)];
    let shamir = [(0, 0), (0, 5), (1, 1), (1, 5), (6, 5), (255, 254)].map(|(k, n)| (Scheme::Shamir, k, n));
    for (scheme, k, n) in bad.into_iter().chain(shamir) {
        assert_eq!(split(&key(1), scheme, k, n).unwrap_err().code().as_str(), "malformed", "{scheme} {k} {n}");
        let mut bytes = split(&key(1), Scheme::Xor, 2, 2).unwrap()[0].to_bytes();
        bytes[1..4].copy_from_slice(&[scheme.to_byte(), k, n]);
        assert_eq!(Fragment::from_bytes(&bytes).unwrap_err().code().as_str(), "malformed", "{scheme} {k} {n}");
    }
}

#[test]
fn each_mismatch_has_its_own_error() {
    let set = split(&key(1), Scheme::Shamir, 3, 5).unwrap();
    let changed = |change: fn(&mut Fragment)| {
        let mut fragment = set[1].clone();
        change(&mut fragment);
        let error = join(&[set[0].clone(), fragment, set[2].clone()]).unwrap_err();
        error.to_string()
    };
    assert_eq!(changed(|f| f.scheme = Scheme::Xor), "fragment 2 has scheme xor, the first fragment has scheme shamir");
    assert!(changed(|f| f.k = 4).contains("needs 4, the first fragment is from a set that needs 3"));
    assert!(changed(|f| f.n = 6).contains("from a set of 6, the first fragment is from a set of 5"));
    let text = changed(|f| f.set = SetId([0xab; 8]));
    assert_eq!(
        text,
        format!("fragment 2 is from another set: abababababababab, the first fragment is from set {}", set[0].set)
    );
    assert!(changed(|f| f.key_id = key(2).id()).contains(&key(2).id().to_string()));
    assert_eq!(changed(|f| f.index = 1), "fragment 1 occurs twice");
    assert!(changed(|f| f.share[31] ^= 1).starts_with(&format!("the result does not match key {}", key(1).id())));
    assert!(changed(|f| f.index = 4).starts_with("the result does not match key"));
    assert_eq!(join(&set[..2]).unwrap_err().to_string(), "needs 3 fragments, has 2");
    assert_eq!(join(&[]).unwrap_err(), FragmentError::Empty);
    assert_eq!(Error::from(FragmentError::Empty).code().as_str(), "wrong_fragment");
}

#[test]
fn checks_run_in_the_documented_order() {
    let set = split(&key(1), Scheme::Xor, 2, 2).unwrap();
    let other = split(&key(2), Scheme::Shamir, 3, 4).unwrap();
    // Everything differs, and both sets are incomplete: the scheme is reported.
    assert!(matches!(join(&[set[0].clone(), other[0].clone()]), Err(FragmentError::SchemeMismatch { .. })));
    // An early fragment of another set does not hide a later one of another scheme.
    let again = split(&key(1), Scheme::Xor, 2, 2).unwrap();
    let mixed = [set[0].clone(), again[1].clone(), other[0].clone()];
    assert!(matches!(join(&mixed), Err(FragmentError::SchemeMismatch { .. })));
    assert!(matches!(join(&mixed[..2]), Err(FragmentError::SetMismatch { .. })));
    // A duplicate is reported as such, not as a missing fragment.
    let twice = [set[0].clone(), set[0].clone()];
    assert_eq!(join(&twice).unwrap_err(), FragmentError::Duplicate { index: 1 });
}

#[test]
fn extra_fragment_must_be_consistent() {
    let mut set = split(&key(3), Scheme::Shamir, 2, 5).unwrap();
    set[3].share[17] ^= 0x40;
    assert_eq!(join(&set).unwrap_err(), FragmentError::Inconsistent { index: 4 });
}

#[test]
fn every_single_edit_of_a_line_is_detected() {
    for fragment in split(&key(4), Scheme::Xor, 2, 2).unwrap() {
        let line = fragment.to_text();
        assert_eq!(line.len(), 113);
        let refuse = |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).unwrap();
            let error = Fragment::parse(&text).expect_err(&text);
            assert_eq!(error.code().as_str(), "malformed");
        };
        let bytes = line.as_bytes();
        for i in 0..bytes.len() {
            for c in CHARSET.iter().chain(b"1-BIO").filter(|c| **c != bytes[i]) {
                let mut edited = bytes.to_vec();
                edited[i] = *c;
                refuse(edited);
            }
            for c in CHARSET {
                let mut edited = bytes.to_vec();
                edited.insert(i, *c);
                refuse(edited);
            }
            let mut edited = bytes.to_vec();
            edited.remove(i);
            refuse(edited);
            if i > 0 && bytes[i] != bytes[i - 1] {
                let mut edited = bytes.to_vec();
                edited.swap(i, i - 1);
                refuse(edited);
            }
            refuse(bytes[..i].to_vec());
        }
    }
}

#[test]
fn document_may_have_several_fragments_and_comments() {
    let set = split(&key(5), Scheme::Shamir, 2, 3).unwrap();
    let (one, two) = (set[0].to_text(), set[2].to_text());
    let text = format!("# server\r\n\r\n  {}\r\n# device\n\t{}\t", *one, two.to_lowercase());
    let fragments = Fragment::parse_all(&text).unwrap();
    assert!(same(&join(&fragments).unwrap(), &key(5)));

    let message = |text: &str| Fragment::parse_all(text).unwrap_err().to_string();
    assert_eq!(message("# none\n\n"), "no fragment line");
    assert_eq!(message(&format!("{}\nhunter2\n", *one)), "line 2: not a fragment line");
    assert_eq!(message(&format!("\n{}x\n", *one)), "line 2: the line mixes upper and lower case");
    assert_eq!(message(&key(5).to_text()), "line 1: a key where a fragment belongs");
    let mut later = *set[0].to_bytes();
    later[0] = 2;
    let later = bech32m::encode("az-frag-", &later, bech32m::Case::Upper);
    assert_eq!(message(&later), "not supported by this version: fragment version 2 in line 1");
}

#[test]
fn debug_hides_the_share() {
    let mut fragment = split(&key(6), Scheme::Xor, 2, 2).unwrap().remove(0);
    let shown = format!("{fragment:?}");
    assert_eq!(shown, format!("Fragment(xor 1/2 of set {:?}, {:?})", fragment.set_id(), key(6).id()));
    assert!(format!("{:?}", fragment.set_id()).len() == 16 && fragment.set_id().to_string().len() == 16);
    fragment.share.fill(0);
    assert_eq!(shown, format!("{fragment:?}"));
}

proptest! {
    #[test]
    fn any_key_and_size_round_trip(bytes: [u8; 32], k in 2..12_u8, more in 0..12_u8, turn in 0..24_usize) {
        let mut fragments = split(&Key::from_bytes(bytes), Scheme::Shamir, k, k + more).unwrap();
        let turn = turn % fragments.len();
        fragments.rotate_left(turn);
        fragments.truncate(k.into());
        let lines = fragments.iter().map(|f| f.to_text().to_string()).collect::<Vec<_>>().join("\n");
        let joined = join(&Fragment::parse_all(&lines).unwrap()).unwrap();
        prop_assert_eq!(joined.expose(), &bytes);
    }

    #[test]
    fn parsers_do_not_panic(text in "\\PC*", tail in "[A-Za-z0-9 #-]{0,130}") {
        let _ = Fragment::parse_all(&text);
        let _ = Fragment::parse(&format!("AZ-FRAG-1{tail}"));
        let _ = Key::parse(&format!("az-secret-key-1{tail}"));
        let _ = text.parse::<KeyId>();
    }
}
