//! A push that is under way, or ended between its parts: nobody reads a mix.
#![allow(clippy::unwrap_used)]

mod site;

use loader_cdn::{Push, PushPlan, Store};
use loader_http::{Http, HttpConfig};
use loader_seal::parts::split_id;
use loader_seal::{Header, Key, SealOptions, seal};
use site::{NAME, Site, part, published_as, random};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

const LEN: usize = 1 << 20;

/// The small part of a sealed file of its own.
fn small_part() -> Vec<u8> {
    let (mut sealed, key) = (Vec::new(), Key::generate().unwrap());
    let options = SealOptions { plaintext_len: None, ..SealOptions::default() };
    seal(&mut &[0; 100][..], &mut sealed, &[key], &options).unwrap();
    sealed
}

/// A site whose resource is `LEN` bytes behind the small part that is given too.
fn site() -> (Site, Vec<u8>) {
    let (site, small) = (Site::new(LEN), small_part());
    publish(&site, &small, &site.big);
    (site, small)
}

/// Puts the small part in place as az-push does.
fn publish(site: &Site, small: &[u8], big: &[u8]) {
    std::fs::write(site.server.resources_dir().join(NAME), published_as(small, part(big))).unwrap();
}

/// Puts `big` on the CDN as az-push does for the small part `small`.
fn push_big(site: &Site, small: &[u8], big: &[u8]) {
    let store = Store::for_upload(site.server.cdn(), Http::new(HttpConfig::default()).unwrap()).unwrap();
    let (name, plan) = (NAME.parse().unwrap(), PushPlan { jobs: 1, part_len: 5 << 20, release: None });
    let cut = split_id(&Header::read(&mut &*small).unwrap(), small.len() as u64);
    let mut push = Push::begin(&store, &name, plan, (&part(small).sha256, &cut), None, &|_| {}).unwrap();
    let sent = push.send(&mut &big[..], &|_| {}, &|_| {}).unwrap();
    push.complete(&sent, &|_| {}).unwrap();
}

/// The small part is put in place when the reader has seen that it is the old one.
#[test]
fn a_push_under_way_is_waited_for() {
    let (site, _) = site();
    // As long as the one before, so that only the store can tell them apart.
    let (small, next) = (small_part(), random(9, LEN));
    push_big(&site, &small, &next);
    let mut command = site.command(&[NAME]);
    let out = site.path("out");
    command.env("AZ_RETRY_WAIT", "0.5").stdout(File::create(&out).unwrap()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut events = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("start-over") {
        line.clear();
        assert!(events.read_line(&mut line).unwrap() > 0, "it ended");
    }
    assert!(line.contains("big part of another release"), "{line}");
    publish(&site, &small, &next);
    let mut rest = String::new();
    events.read_to_string(&mut rest).unwrap();
    assert!(child.wait().unwrap().success() && std::fs::read(out).unwrap() == [small, next].concat(), "{rest}");
}

#[test]
fn a_push_that_ended_between_its_parts_is_told() {
    let (site, small) = site();
    push_big(&site, &small_part(), &random(9, LEN));
    let run = site.command(&[NAME]).env("AZ_RETRY_WAIT", "0.01").output().unwrap();
    let events = String::from_utf8(run.stderr).unwrap();
    assert!(run.status.code() == Some(65) && run.stdout.is_empty(), "{events}");
    assert!(events.contains("\"code\":\"changed\"") && events.contains("ended half-way"), "{events}");
    push_big(&site, &small, &site.big);
    let mended = site.run(&[NAME]);
    assert!(mended.status.success() && mended.stdout == [&small[..], &site.big].concat());
}
