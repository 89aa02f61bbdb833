//! The binary against the real servers.
#![allow(clippy::unwrap_used)]

mod site;

use loader_testkit::{Config, DevServer, Faults};
use site::{NAME, Site, file, ran, sealed};

const MIB: usize = 1 << 20;

#[test]
fn a_stream_from_a_pipe_is_published_in_two_parts() {
    let site = Site::new();
    for (len, declared) in [(1, true), (5000, false), (9 * MIB, false), (11 * MIB, true), (30 * MIB, false)] {
        let stream = sealed(len, declared, None);
        let ran = site.push(&["--replace", "--part", "5M"], &stream);
        assert_eq!(ran.status, 0, "{len}: {}", ran.events);
        assert!(site.published() == stream, "{len}");
        let (small, big) = (&ran.receipt["small"], &ran.receipt["big"]);
        let sizes = (small["size"].as_u64().unwrap(), big["size"].as_u64().unwrap());
        assert_eq!((sizes.0 + sizes.1, &ran.receipt["changed"]), (stream.len() as u64, &true.into()));
        assert_eq!(std::fs::metadata(site.object()).unwrap().len(), sizes.1);
    }
}

/// Keys that AWS STS issues: the store takes them with their token alone, and signed.
#[test]
fn temporary_keys_are_sent_with_their_token() {
    let dir = tempfile::tempdir().unwrap();
    let resources = dir.path().join("seed/resources");
    std::fs::create_dir_all(&resources).unwrap();
    let yaml = "host: x\ndownloader_access_key: D\ndownloader_access_secret: d\nsession_token: hunter1/+=\n\
                uploader_access_key: U\nuploader_access_secret: u\nuploader_session_token: hunter2/+=\n";
    std::fs::write(resources.join("cdn.yaml"), yaml).unwrap();
    let server = DevServer::start(Config::seeded(dir.path().join("seed"))).unwrap();
    let site = Site::of(server);
    let stream = sealed(12 * MIB, true, None);
    let pushed = site.push(&["--part", "5M"], &stream);
    assert!(pushed.status == 0 && site.published() == stream, "{}", pushed.events);
    assert!(!pushed.events.contains("hunter"), "{}", pushed.events);
    for token in [None, Some("hunter1/+=".to_owned()), Some("other".to_owned())] {
        let mut cdn = site.server.cdn().clone();
        cdn.uploader_session_token = token;
        cdn.session_token = None;
        site.secret("cdn.json", &serde_json::to_vec(&cdn).unwrap());
        let refused = site.push(&["--replace"], &stream);
        assert!(refused.status == 77 && !refused.events.contains("hunter"), "{}", refused.events);
    }
}

#[test]
fn the_same_bytes_again_send_nothing() {
    let site = Site::new();
    let stream = sealed(12 * MIB, false, Some(7));
    let first = site.push(&["--release", "7"], &stream);
    assert_eq!(first.status, 0, "{}", first.events);
    let again = site.push(&[], &stream);
    assert_eq!((again.status, &again.receipt["changed"]), (0, &false.into()), "{}", again.events);
    assert_eq!((&again.receipt["etag"], &again.receipt["release"]), (&first.receipt["etag"], &7.into()));
    let path = file(&site.path("sealed"), &stream);
    let third = ran(site.command("uploader", &["--replace", NAME, &path]).output().unwrap());
    assert_eq!((third.status, &third.receipt["changed"]), (0, &false.into()), "{}", third.events);
    assert_eq!((site.count("POST", NAME), site.count("POST", ".big")), (0, 2));
}

#[test]
fn another_release_needs_replace() {
    let site = Site::new();
    let (old, new) = (sealed(12 * MIB, true, Some(1)), sealed(13 * MIB, true, Some(2)));
    assert_eq!(site.push(&[], &old).status, 0);
    let refused = site.push(&[], &new);
    assert_eq!(refused.status, 73, "{}", refused.events);
    assert!(refused.events.contains("another release is published"), "{}", refused.events);
    assert!(site.published() == old);
    for from_file in [false, true] {
        let stream = if from_file { sealed(14 * MIB, true, Some(3)) } else { new.clone() };
        let ran = if from_file {
            let path = file(&site.path("sealed"), &stream);
            ran(site.command("uploader", &["--replace", NAME, &path]).output().unwrap())
        } else {
            site.push(&["--replace"], &stream)
        };
        assert_eq!((ran.status, &ran.receipt["changed"]), (0, &true.into()), "{}", ran.events);
        assert!(site.published() == stream);
    }
}

#[test]
fn a_low_role_is_refused_before_any_request() {
    let site = Site::new();
    let path = file(&site.path("sealed"), &sealed(100, true, None));
    let refused = ran(site.command("operator", &[NAME, &path]).output().unwrap());
    assert_eq!(refused.status, 77);
    let text = "role Operator may not upload; needs ResourceUploader or ApiAdmin";
    assert!(refused.events.contains(text), "{}", refused.events);
    assert!(site.server.requests().is_empty());
}

#[test]
fn what_is_no_whole_sealed_stream_is_not_published() {
    let site = Site::new();
    let stream = sealed(12 * MIB, true, Some(1));
    let longer = [&stream[..], b"x"].concat();
    for (bytes, status, text) in [
        (&stream[..stream.len() - 1], 65, "truncated"),
        (&stream[..MIB], 65, "truncated"),
        (&longer, 65, "after the end"),
        (b"plain text", 65, "not a sealed stream"),
        (b"", 65, "empty"),
    ] {
        let ran = site.push(&["--part", "5M"], bytes);
        assert_eq!(ran.status, status, "{}", ran.events);
        assert!(ran.events.contains(text), "{}", ran.events);
    }
    let ran = site.push(&["--release", "2"], &stream);
    assert!(ran.status == 65 && ran.events.contains("release 1, not 2"), "{}", ran.events);
    assert!(!site.object().exists() && !site.server.resources_dir().join(NAME).exists());
    // Every upload that had begun was given up.
    assert_eq!(site.count("DELETE", ".big"), 2);
}

/// A header without a length, and no folder of the run: a stream that is cut looks
/// like one that ends, unless it is cut inside a tag.
#[test]
fn an_end_that_nobody_vouches_for_is_told() {
    let site = Site::new();
    let (open, declared) = (sealed(12 * MIB, false, None), sealed(12 * MIB, true, None));
    let unknown = "\"step\":\"complete\",\"detail\":{\"upstream\":\"unknown\"}";
    for (stream, told) in [(&open[..], true), (&open[..11 * MIB], true), (&declared, false)] {
        let ran = site.push(&["--replace"], stream);
        assert!(ran.status == 0 && ran.events.contains(unknown) == told, "{}", ran.events);
    }
    let (header, segment) = (loader_seal::Header::read(&mut &open[..]).unwrap().as_bytes().len(), MIB);
    let cut = site.push(&["--replace"], &open[..header + 11 * segment + 7]);
    assert!(cut.status == 65 && cut.events.contains("\"truncated\""), "{}", cut.events);
    assert!(site.published() == declared);
}

#[test]
fn keys_that_only_read_are_refused() {
    let site = Site::new();
    let cdn = site.server.cdn().clone().without_uploader();
    site.secret("cdn.json", &serde_json::to_vec(&cdn).unwrap());
    let ran = site.push(&[], &sealed(100, true, None));
    assert!(ran.status == 78 && ran.events.contains("az-cdn-creds --uploader"), "{}", ran.events);
}

/// As S3 answers keys that may not list a bucket.
#[test]
fn keys_that_are_not_told_what_is_absent_publish() {
    let site = Site::proxied();
    let stream = sealed(12 * MIB, true, None);
    for (status, words) in [(0, "ready"), (77, "s3:ListBucket")] {
        site.faults().set("403,on=cdn,method=HEAD,times=1".parse().unwrap());
        let ran = site.push(&[], &stream);
        assert!(ran.status == status && ran.events.contains(words), "{}", ran.events);
        assert!(site.published() == stream);
    }
}

#[test]
fn a_later_run_goes_on_where_the_first_ended() {
    let site = Site::new();
    let state = site.path("state");
    let args = ["--state-dir", state.to_str().unwrap(), "--part", "5M", "--jobs", "1"];
    let stream = sealed(30 * MIB, true, None);
    // The stream breaks off; what had arrived stays with the store.
    let cut = site.push(&args, &stream[..20 * MIB]);
    assert_eq!(cut.status, 65, "{}", cut.events);
    assert!(cut.events.contains("truncated") || cut.events.contains("nothing was published"), "{}", cut.events);
    let puts = site.count("PUT", ".big");
    let again = site.push(&args, &stream);
    assert_eq!(again.status, 0, "{}", again.events);
    assert!(again.events.contains("resumed"), "{}", again.events);
    assert!(site.published() == stream);
    assert!(site.count("PUT", ".big") - puts < 5, "{} after {puts}", site.count("PUT", ".big"));
    assert!(!state.join(format!("{NAME}.upload")).exists());
}

#[test]
fn a_push_that_ended_between_its_parts_is_ended_by_the_next() {
    let site = Site::proxied();
    let streams = [sealed(12 * MIB, true, Some(1)), sealed(12 * MIB, true, Some(2))];
    assert_eq!(site.push(&[], &streams[0]).status, 0);
    let break_off = || {
        site.faults().set("503,on=api,method=POST".parse().unwrap());
        let mut command = site.command("uploader", &["--replace"]);
        command.env("AZ_RETRIES", "0");
        let half = site.push_with(command, &streams[1]);
        assert_eq!(half.status, 75, "{}", half.events);
        site.faults().set(Faults::default());
    };
    for stream in &streams {
        break_off();
        let piped = site.push(&[], stream);
        assert!(piped.status == 73 && piped.events.contains("a push ended half-way"), "{}", piped.events);
        let path = file(&site.path("sealed"), stream);
        let ran = ran(site.command("uploader", &[NAME, &path]).output().unwrap());
        assert_eq!((ran.status, &ran.receipt["changed"]), (0, &true.into()), "{}", ran.events);
        assert!(site.published() == *stream);
    }
}

/// The first push has its big part on the CDN, and its small part on the way, when
/// the second puts both of its own in place.
#[test]
fn of_two_pushes_at_once_one_is_told_that_it_lost() {
    let site = Site::proxied();
    let streams = [sealed(12 * MIB, true, Some(1)), sealed(12 * MIB, true, Some(2))];
    site.faults().set("stall-upload@0,on=api,method=POST,times=1".parse().unwrap());
    let first = std::thread::scope(|scope| {
        let first = scope.spawn(|| site.push(&["--replace"], &streams[0]));
        site.faults().wait_stalled(1);
        let second = site.push(&["--replace"], &streams[1]);
        assert!(second.status == 0 && site.published() == streams[1], "{}", second.events);
        site.faults().release();
        first.join().unwrap()
    });
    assert_eq!(first.status, 65, "{}", first.events);
    let words =
        "\"code\":\"changed\",\"exit\":65,\"message\":\"models/v2/yolo.onnx: its big part is that of another push";
    assert!(first.events.contains(words), "{}", first.events);
    let again = site.push(&["--replace"], &streams[0]);
    assert!(again.status == 0 && site.published() == streams[0], "{}", again.events);
}

/// The same for a small part alone.
#[test]
fn a_small_part_that_lost_its_big_part_is_told() {
    let site = Site::proxied();
    let streams = [sealed(12 * MIB, true, None), sealed(12 * MIB, true, None)];
    assert_eq!(site.push(&[], &streams[0]).status, 0);
    let small = std::fs::read(site.server.resources_dir().join(NAME)).unwrap();
    std::fs::write(site.server.resources_dir().join(NAME), b"other").unwrap();
    site.faults().set("stall-upload@0,on=api,method=POST,times=1".parse().unwrap());
    let small = std::thread::scope(|scope| {
        let lost = scope.spawn(|| site.push(&["--small"], &small));
        site.faults().wait_stalled(1);
        assert_eq!(site.push(&["--replace"], &streams[1]).status, 0);
        site.faults().release();
        lost.join().unwrap()
    });
    assert!(small.status == 65 && small.events.contains("another push"), "{}", small.events);
}

#[test]
fn a_big_part_that_vanished_is_sent_again() {
    let site = Site::new();
    let streams = [sealed(12 * MIB, true, Some(1)), sealed(12 * MIB, true, Some(2))];
    assert_eq!(site.push(&[], &streams[0]).status, 0);
    std::fs::remove_file(site.object()).unwrap();
    for (stream, status, words) in [
        (&streams[1], 73, "another release is published, and its big part is not on the CDN"),
        (&streams[0], 0, "\"state\":\"ready\""),
    ] {
        let path = file(&site.path("sealed"), stream);
        let ran = ran(site.command("uploader", &[NAME, &path]).output().unwrap());
        assert!(ran.status == status && ran.events.contains(words), "{}", ran.events);
    }
    assert!(site.published() == streams[0]);
}

#[test]
fn a_name_that_is_a_folder_is_told() {
    let site = Site::new();
    let stream = sealed(MIB, true, None);
    assert_eq!(site.push(&[], &stream).status, 0);
    let path = file(&site.path("sealed"), &stream);
    let ran = ran(site.command("uploader", &["models/v2", &path]).output().unwrap());
    assert!(ran.status == 73 && ran.events.contains("HTTP 409 for models/v2"), "{}", ran.events);
}

#[test]
fn a_push_waits_for_no_other_of_the_same_name() {
    let site = Site::new();
    let state = site.path("state/models/v2");
    std::fs::create_dir_all(&state).unwrap();
    let journal = std::fs::File::create(state.join("yolo.onnx.upload")).unwrap();
    journal.lock().unwrap();
    let args = ["--state-dir", site.path("state").to_str().unwrap()].map(str::to_owned);
    let ran = site.push(&args.each_ref().map(String::as_str), &sealed(MIB, true, None));
    let message = format!("another process pushes the same name: process {} (", std::process::id());
    assert!(ran.status == 75 && ran.events.contains(&message), "{}", ran.events);
}

#[test]
fn an_expired_token_is_renewed_where_credentials_are() {
    let site = Site::new();
    let stream = sealed(5 * MIB, true, None);
    site.secret("uploader.jwt", site.server.token("uploader@example.com", -60).unwrap().as_bytes());
    let refused = site.push(&[], &stream);
    assert!(refused.status == 77 && refused.events.contains("expired"), "{}", refused.events);
    assert!(!site.object().exists());
    site.secret("credentials", br#"{"email":"uploader@example.com","password":"uploader"}"#);
    let ran = site.push(&["--credentials-file", site.path("credentials").to_str().unwrap()], &stream);
    assert!(ran.status == 0 && site.published() == stream, "{}", ran.events);
    assert_eq!(site.count("POST", "/login"), 1);
}
