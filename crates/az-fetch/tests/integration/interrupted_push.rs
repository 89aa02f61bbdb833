//! Tests of a push that is running or was interrupted between its parts: a reader never gets a
//! mix.

use crate::fixture::{FetchFixture, NAME, part, published_as, random};
use loader_cdn::{ObjectStore, Push, PushPlan, PushedFile};
use loader_http::{Http, HttpConfig};
use loader_seal::parts::split_id;
use loader_seal::{Header, Key, SealOptions, seal};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

const LEN: usize = 1 << 20;

/// Returns the small part of a newly sealed file.
fn small_part() -> Vec<u8> {
    let (mut sealed, key) = (Vec::new(), Key::generate().unwrap());
    let options = SealOptions { plaintext_len: None, ..SealOptions::default() };
    seal(&mut &[0; 100][..], &mut sealed, &[key], &options).unwrap();
    sealed
}

/// Returns a fixture whose resource is this small part, followed by `LEN` bytes.
fn fixture() -> (FetchFixture, Vec<u8>) {
    let (fixture, small) = (FetchFixture::new(LEN), small_part());
    publish(&fixture, &small, &fixture.big);
    (fixture, small)
}

/// Publishes the small part as az-push does.
fn publish(fixture: &FetchFixture, small: &[u8], big: &[u8]) {
    std::fs::write(fixture.resource(NAME), published_as(small, part(big))).unwrap();
}

/// Sends `big` to the CDN as az-push does for the small part `small`.
fn push_big(fixture: &FetchFixture, small: &[u8], big: &[u8]) {
    let store = ObjectStore::for_upload(fixture.server().cdn(), Http::new(HttpConfig::default()).unwrap()).unwrap();
    let (name, plan) = (NAME.parse().unwrap(), PushPlan { jobs: 1, part_len: 5 << 20, release: None });
    let cut = split_id(&Header::read(&mut &*small).unwrap(), small.len() as u64);
    let mut push = Push::begin(
        &store,
        &name,
        plan,
        PushedFile { small_sha256: &part(small).sha256, split_id: &cut },
        None,
        &|_| {},
    )
    .unwrap();
    let sent = push.send(&mut &big[..], &|_| {}, &|_| {}).unwrap();
    push.complete(&sent, &|_| {}).unwrap();
}

/// The small part is published after the reader has found the old one.
#[test]
fn fetch_waits_for_a_running_push() {
    let (fixture, _) = fixture();
    // As long as the previous one, so that only the store can tell them apart.
    let (small, next) = (small_part(), random(9, LEN));
    push_big(&fixture, &small, &next);
    let mut command = fixture.command(&[NAME]);
    let out = fixture.path("out");
    command.env("AZ_RETRY_WAIT", "0.5").stdout(File::create(&out).unwrap()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut events = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("start-over") {
        line.clear();
        assert!(events.read_line(&mut line).unwrap() > 0, "the process ended");
    }
    assert!(line.contains("big part of another release"), "{line}");
    publish(&fixture, &small, &next);
    let mut rest = String::new();
    events.read_to_string(&mut rest).unwrap();
    assert!(child.wait().unwrap().success() && std::fs::read(out).unwrap() == [small, next].concat(), "{rest}");
}

#[test]
fn interrupted_push_is_reported() {
    let (fixture, small) = fixture();
    push_big(&fixture, &small_part(), &random(9, LEN));
    let run = fixture.command(&[NAME]).env("AZ_RETRY_WAIT", "0.01").output().unwrap();
    let events = String::from_utf8(run.stderr).unwrap();
    assert!(run.status.code() == Some(65) && run.stdout.is_empty(), "{events}");
    assert!(events.contains("\"code\":\"changed\"") && events.contains("was interrupted"), "{events}");
    push_big(&fixture, &small, &fixture.big);
    let mended = fixture.run(&[NAME]);
    assert!(mended.status.success() && mended.stdout == [&small[..], &fixture.big].concat());
}
