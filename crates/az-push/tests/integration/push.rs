//! Tests of az-push against the development server.

use crate::fixture::{NAME, PushFixture, file, sealed};
use loader_testkit::{Faults, SiteConfig, run};

const MIB: usize = 1 << 20;

#[test]
fn stream_from_a_pipe_is_published_in_two_parts() {
    let fixture = PushFixture::new();
    for (len, declared) in [(1, true), (5000, false), (9 * MIB, false), (11 * MIB, true), (30 * MIB, false)] {
        let stream = sealed(len, declared, None);
        let run = fixture.push(&["--replace", "--part", "5M"], &stream);
        assert_eq!(run.status, 0, "{len}: {}", run.stderr);
        assert!(fixture.published() == stream, "{len}");
        let receipt = run.json();
        let (small, big) = (&receipt["small"], &receipt["big"]);
        let sizes = (small["size"].as_u64().unwrap(), big["size"].as_u64().unwrap());
        assert_eq!((sizes.0 + sizes.1, &receipt["changed"]), (stream.len() as u64, &true.into()));
        assert_eq!(std::fs::metadata(fixture.object(NAME)).unwrap().len(), sizes.1);
    }
}

/// Temporary keys of AWS STS are accepted only with their token, which is signed.
#[test]
fn temporary_keys_are_sent_with_their_token() {
    let yaml = "host: x\ndownloader_access_key: D\ndownloader_access_secret: d\nsession_token: hunter1/+=\n\
                uploader_access_key: U\nuploader_access_secret: u\nuploader_session_token: hunter2/+=\n";
    let seed = vec![("resources/cdn.yaml".to_owned(), yaml.as_bytes().to_vec())];
    let fixture = PushFixture::with(SiteConfig { seed, ..SiteConfig::default() });
    let stream = sealed(12 * MIB, true, None);
    let pushed = fixture.push(&["--part", "5M"], &stream);
    assert!(pushed.status == 0 && fixture.published() == stream, "{}", pushed.stderr);
    assert!(!pushed.stderr.contains("hunter"), "{}", pushed.stderr);
    for token in [None, Some("hunter1/+=".to_owned()), Some("other".to_owned())] {
        let mut cdn = fixture.server().cdn().clone();
        cdn.uploader_session_token = token;
        cdn.session_token = None;
        fixture.secret("uploader-cdn.json", serde_json::to_vec(&cdn).unwrap());
        let refused = fixture.push(&["--replace"], &stream);
        assert!(refused.status == 77 && !refused.stderr.contains("hunter"), "{}", refused.stderr);
    }
}

#[test]
fn same_release_is_not_sent_again() {
    let fixture = PushFixture::new();
    let stream = sealed(12 * MIB, false, Some(7));
    let first = fixture.push(&["--release", "7"], &stream);
    assert_eq!(first.status, 0, "{}", first.stderr);
    let again = fixture.push(&[], &stream);
    assert_eq!((again.status, &again.json()["changed"]), (0, &false.into()), "{}", again.stderr);
    assert_eq!((&again.json()["etag"], &again.json()["release"]), (&first.json()["etag"], &7.into()));
    let path = file(&fixture.path("sealed"), &stream);
    let third = run(fixture.command("uploader", &["--replace", NAME, &path]), b"");
    assert_eq!((third.status, &third.json()["changed"]), (0, &false.into()), "{}", third.stderr);
    assert_eq!((fixture.count("POST", NAME), fixture.count("POST", ".big")), (0, 2));
}

#[test]
fn another_release_needs_replace() {
    let fixture = PushFixture::new();
    let (old, new) = (sealed(12 * MIB, true, Some(1)), sealed(13 * MIB, true, Some(2)));
    assert_eq!(fixture.push(&[], &old).status, 0);
    let refused = fixture.push(&[], &new);
    assert_eq!(refused.status, 73, "{}", refused.stderr);
    assert!(refused.stderr.contains("another release is published"), "{}", refused.stderr);
    assert!(fixture.published() == old);
    for from_file in [false, true] {
        let stream = if from_file { sealed(14 * MIB, true, Some(3)) } else { new.clone() };
        let run = if from_file {
            let path = file(&fixture.path("sealed"), &stream);
            run(fixture.command("uploader", &["--replace", NAME, &path]), b"")
        } else {
            fixture.push(&["--replace"], &stream)
        };
        assert_eq!((run.status, &run.json()["changed"]), (0, &true.into()), "{}", run.stderr);
        assert!(fixture.published() == stream);
    }
}

#[test]
fn low_role_is_refused_before_any_request() {
    let fixture = PushFixture::new();
    let path = file(&fixture.path("sealed"), &sealed(100, true, None));
    let refused = run(fixture.command("operator", &[NAME, &path]), b"");
    assert_eq!(refused.status, 77);
    let text = "role Operator may not upload; needs ResourceUploader or ApiAdmin";
    assert!(refused.stderr.contains(text), "{}", refused.stderr);
    assert!(fixture.server().requests().is_empty());
}

#[test]
fn incomplete_or_invalid_stream_is_not_published() {
    let fixture = PushFixture::new();
    let stream = sealed(12 * MIB, true, Some(1));
    let longer = [&stream[..], b"x"].concat();
    for (bytes, status, text) in [
        (&stream[..stream.len() - 1], 65, "truncated"),
        (&stream[..MIB], 65, "truncated"),
        (&longer, 65, "after the end"),
        (b"plain text", 65, "not a sealed stream"),
        (b"", 65, "empty"),
    ] {
        let run = fixture.push(&["--part", "5M"], bytes);
        assert_eq!(run.status, status, "{}", run.stderr);
        assert!(run.stderr.contains(text), "{}", run.stderr);
    }
    let run = fixture.push(&["--release", "2"], &stream);
    assert!(run.status == 65 && run.stderr.contains("release 1, not 2"), "{}", run.stderr);
    assert!(!fixture.object(NAME).exists() && !fixture.resource(NAME).exists());
    // Each started upload was cancelled.
    assert_eq!(fixture.count("DELETE", ".big"), 2);
}

/// The header contains no length and there is no run directory: a truncated stream looks
/// complete, unless it is cut inside an authentication tag.
#[test]
fn unverified_end_of_stream_is_reported() {
    let fixture = PushFixture::new();
    let (open, declared) = (sealed(12 * MIB, false, None), sealed(12 * MIB, true, None));
    let unknown = "\"step\":\"complete\",\"detail\":{\"upstream\":\"unknown\"}";
    for (stream, told) in [(&open[..], true), (&open[..11 * MIB], true), (&declared, false)] {
        let run = fixture.push(&["--replace"], stream);
        assert!(run.status == 0 && run.stderr.contains(unknown) == told, "{}", run.stderr);
    }
    let (header, segment) = (loader_seal::Header::read(&mut &open[..]).unwrap().as_bytes().len(), MIB);
    let cut = fixture.push(&["--replace"], &open[..header + 11 * segment + 7]);
    assert!(cut.status == 65 && cut.stderr.contains("\"truncated\""), "{}", cut.stderr);
    assert!(fixture.published() == declared);
}

#[test]
fn read_only_keys_are_refused() {
    let fixture = PushFixture::new();
    let cdn = fixture.server().cdn().clone().without_uploader();
    fixture.secret("uploader-cdn.json", serde_json::to_vec(&cdn).unwrap());
    let run = fixture.push(&[], &sealed(100, true, None));
    assert!(run.status == 78 && run.stderr.contains("az-cdn-creds --uploader"), "{}", run.stderr);
}

/// S3 answers like this to keys that may not list a bucket.
#[test]
fn keys_without_list_permission_can_publish() {
    let fixture = PushFixture::proxied();
    let stream = sealed(12 * MIB, true, None);
    for (status, words) in [(0, "ready"), (77, "s3:ListBucket")] {
        fixture.faults().set("403,on=cdn,method=HEAD,times=1".parse().unwrap());
        let run = fixture.push(&[], &stream);
        assert!(run.status == status && run.stderr.contains(words), "{}", run.stderr);
        assert!(fixture.published() == stream);
    }
}

#[test]
fn later_run_resumes_an_interrupted_push() {
    let fixture = PushFixture::new();
    let state = fixture.path("state");
    let args = ["--state-dir", state.to_str().unwrap(), "--part", "5M", "--jobs", "1"];
    let stream = sealed(30 * MIB, true, None);
    // The stream is truncated; the sent parts stay on the store.
    let cut = fixture.push(&args, &stream[..20 * MIB]);
    assert_eq!(cut.status, 65, "{}", cut.stderr);
    assert!(cut.stderr.contains("truncated") || cut.stderr.contains("nothing was published"), "{}", cut.stderr);
    let puts = fixture.count("PUT", ".big");
    let again = fixture.push(&args, &stream);
    assert_eq!(again.status, 0, "{}", again.stderr);
    assert!(again.stderr.contains("resumed"), "{}", again.stderr);
    assert!(fixture.published() == stream);
    assert!(fixture.count("PUT", ".big") - puts < 5, "{} after {puts}", fixture.count("PUT", ".big"));
    assert!(!state.join(format!("{NAME}.upload")).exists());
}

#[test]
fn next_push_completes_an_interrupted_one() {
    let fixture = PushFixture::proxied();
    let streams = [sealed(12 * MIB, true, Some(1)), sealed(12 * MIB, true, Some(2))];
    assert_eq!(fixture.push(&[], &streams[0]).status, 0);
    let break_off = || {
        fixture.faults().set("503,on=api,method=POST".parse().unwrap());
        let mut command = fixture.command("uploader", &["--replace"]);
        command.env("AZ_RETRIES", "0");
        let half = fixture.push_with(command, &streams[1]);
        assert_eq!(half.status, 75, "{}", half.stderr);
        fixture.faults().set(Faults::default());
    };
    for stream in &streams {
        break_off();
        let piped = fixture.push(&[], stream);
        assert!(piped.status == 73 && piped.stderr.contains("a push was interrupted"), "{}", piped.stderr);
        let path = file(&fixture.path("sealed"), stream);
        let run = run(fixture.command("uploader", &[NAME, &path]), b"");
        assert_eq!((run.status, &run.json()["changed"]), (0, &true.into()), "{}", run.stderr);
        assert!(fixture.published() == *stream);
    }
}

/// The first push has sent its big part and is sending its small part when the second publishes
/// both of its parts.
#[test]
fn replaced_push_is_reported_after_concurrent_pushes() {
    let fixture = PushFixture::proxied();
    let streams = [sealed(12 * MIB, true, Some(1)), sealed(12 * MIB, true, Some(2))];
    fixture.faults().set("stall-upload@0,on=api,method=POST,times=1".parse().unwrap());
    let first = std::thread::scope(|scope| {
        let first = scope.spawn(|| fixture.push(&["--replace"], &streams[0]));
        fixture.faults().wait_stalled(1);
        let second = fixture.push(&["--replace"], &streams[1]);
        assert!(second.status == 0 && fixture.published() == streams[1], "{}", second.stderr);
        fixture.faults().release();
        first.join().unwrap()
    });
    assert_eq!(first.status, 65, "{}", first.stderr);
    let words =
        "\"code\":\"changed\",\"exit\":65,\"message\":\"models/v2/yolo.onnx: its big part is that of another push";
    assert!(first.stderr.contains(words), "{}", first.stderr);
    let again = fixture.push(&["--replace"], &streams[0]);
    assert!(again.status == 0 && fixture.published() == streams[0], "{}", again.stderr);
}

/// The same for a small part alone.
#[test]
fn a_small_part_that_lost_its_big_part_is_told() {
    let fixture = PushFixture::proxied();
    let streams = [sealed(12 * MIB, true, None), sealed(12 * MIB, true, None)];
    assert_eq!(fixture.push(&[], &streams[0]).status, 0);
    let small = std::fs::read(fixture.resource(NAME)).unwrap();
    std::fs::write(fixture.resource(NAME), b"other").unwrap();
    fixture.faults().set("stall-upload@0,on=api,method=POST,times=1".parse().unwrap());
    let small = std::thread::scope(|scope| {
        let lost = scope.spawn(|| fixture.push(&["--small"], &small));
        fixture.faults().wait_stalled(1);
        assert_eq!(fixture.push(&["--replace"], &streams[1]).status, 0);
        fixture.faults().release();
        lost.join().unwrap()
    });
    assert!(small.status == 65 && small.stderr.contains("another push"), "{}", small.stderr);
}

#[test]
fn missing_big_part_is_sent_again() {
    let fixture = PushFixture::new();
    let streams = [sealed(12 * MIB, true, Some(1)), sealed(12 * MIB, true, Some(2))];
    assert_eq!(fixture.push(&[], &streams[0]).status, 0);
    std::fs::remove_file(fixture.object(NAME)).unwrap();
    for (stream, status, words) in [
        (&streams[1], 73, "another release is published, and its big part is not on the CDN"),
        (&streams[0], 0, "\"state\":\"ready\""),
    ] {
        let path = file(&fixture.path("sealed"), stream);
        let run = run(fixture.command("uploader", &[NAME, &path]), b"");
        assert!(run.status == status && run.stderr.contains(words), "{}", run.stderr);
    }
    assert!(fixture.published() == streams[0]);
}

#[test]
fn name_of_a_directory_is_reported() {
    let fixture = PushFixture::new();
    let stream = sealed(MIB, true, None);
    assert_eq!(fixture.push(&[], &stream).status, 0);
    let path = file(&fixture.path("sealed"), &stream);
    let run = run(fixture.command("uploader", &["models/v2", &path]), b"");
    assert!(run.status == 73 && run.stderr.contains("HTTP 409 for models/v2"), "{}", run.stderr);
}

#[test]
fn push_does_not_wait_for_another_of_the_same_name() {
    let fixture = PushFixture::new();
    let state = fixture.path("state/models/v2");
    std::fs::create_dir_all(&state).unwrap();
    let journal = std::fs::File::create(state.join("yolo.onnx.upload")).unwrap();
    journal.lock().unwrap();
    let args = ["--state-dir", fixture.path("state").to_str().unwrap()].map(str::to_owned);
    let run = fixture.push(&args.each_ref().map(String::as_str), &sealed(MIB, true, None));
    let message = format!("another process pushes the same name: process {} (", std::process::id());
    assert!(run.status == 75 && run.stderr.contains(&message), "{}", run.stderr);
}

#[test]
fn expired_token_is_renewed_if_credentials_are_given() {
    let fixture = PushFixture::new();
    let stream = sealed(5 * MIB, true, None);
    fixture.secret("uploader.jwt", fixture.server().token("uploader@example.com", -60).unwrap());
    let refused = fixture.push(&[], &stream);
    assert!(refused.status == 77 && refused.stderr.contains("expired"), "{}", refused.stderr);
    assert!(!fixture.object(NAME).exists());
    let run = fixture.push(&["--credentials-file", fixture.path("uploader.json").to_str().unwrap()], &stream);
    assert!(run.status == 0 && fixture.published() == stream, "{}", run.stderr);
    assert_eq!(fixture.count("POST", "/login"), 1);
}
