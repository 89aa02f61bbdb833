//! Engines that answer as the real ones were seen to answer, and worse.

#![allow(clippy::unwrap_used, reason = "a test that cannot prepare its case may panic")]

use loader_archive::{Image, Layer};
use loader_engine::{Engine, Error, Host, Progress, Store};
use loader_testkit::test_dir::TestDir;
use loader_testkit::{read_head, wait_until};
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex};

/// Answers by the start of the path, or of method and path; one after `once ` is given once.
type Answers = Vec<(&'static str, String)>;

/// An engine on a socket of its own. `load` answers the load.
struct Fake {
    host: Host,
    _dir: TestDir,
    body: Arc<Mutex<Vec<u8>>>,
    /// Method and path of each request but `GET` and the load.
    requests: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    fn new(answers: Answers, load: fn(&mut UnixStream, &Mutex<Vec<u8>>)) -> Self {
        let dir = TestDir::new();
        let socket = dir.path("sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let body = Arc::new(Mutex::new(Vec::new()));
        let kept = body.clone();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let recorded = requests.clone();
        let answers = Arc::new(Mutex::new(answers));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, answers, kept) = (stream.unwrap(), answers.clone(), kept.clone());
                let recorded = recorded.clone();
                std::thread::spawn(move || {
                    let head = read_head(&mut stream);
                    if head.starts_with("POST /images/load") {
                        return load(&mut stream, &kept);
                    }
                    let (request, _) = head.split_once(" HTTP/").unwrap();
                    let (method, path) = request.split_once(' ').unwrap();
                    if method != "GET" {
                        recorded.lock().unwrap().push(request.to_owned());
                    }
                    let is_known = |known: &str| path.starts_with(known) || request.starts_with(known);
                    let mut answers = answers.lock().unwrap();
                    let at = answers.iter().position(|(known, _)| is_known(known.trim_start_matches("once ")));
                    let answer = match at {
                        Some(at) if answers[at].0.starts_with("once ") => Some(answers.remove(at)),
                        at => at.map(|at| answers[at].clone()),
                    };
                    drop(answers);
                    let answer = answer.map_or_else(|| with_length("404 Not Found", "{}"), |(_, answer)| answer);
                    let _ = stream.write_all(answer.as_bytes());
                });
            }
        });
        let host = Host::new(Some(&format!("unix://{}", socket.display()))).unwrap();
        Self { host, _dir: dir, body, requests }
    }

    fn engine(&self) -> Engine {
        Engine::connect(self.host.clone()).unwrap()
    }
}

fn with_length(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn chunked(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
}

fn docker(more: Answers) -> Answers {
    let version = r#"{"Version":"28.0.0","Components":[{"Name":"Engine"}]}"#;
    let mut all = vec![("/_ping", with_length("200 OK", "OK")), ("/version", with_length("200 OK", version))];
    all.extend(more);
    all.push(("/info", chunked(r#"{"Driver":"overlay2","DriverStatus":[["Backing Filesystem","extfs"]]}"#)));
    all
}

fn read_to_final_chunk(stream: &mut UnixStream, kept: &Mutex<Vec<u8>>) {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(read) => {
                let mut kept = kept.lock().unwrap();
                kept.extend(&buffer[..read]);
                if kept.ends_with(b"\r\n0\r\n\r\n") {
                    return;
                }
            }
        }
    }
}

#[test]
fn a_load_that_is_dropped_never_ends_its_body() {
    let fake = Fake::new(docker(vec![]), read_to_final_chunk);
    let mut upload = fake.engine().upload().unwrap();
    // More than one chunk, so that it is sent immediately.
    upload.send(&[7; 1_000_000]).unwrap();
    upload.send(b"small").unwrap();
    wait_until("the engine has the first chunk", || fake.body.lock().unwrap().len() >= 1_000_000);
    drop(upload);
    std::thread::sleep(std::time::Duration::from_millis(200));
    let body = fake.body.lock().unwrap();
    assert!(!body.ends_with(b"0\r\n\r\n") && !body.windows(5).any(|bytes| bytes == b"small"));
}

#[test]
fn progress_of_the_engine_is_reported() {
    let fake = Fake::new(docker(vec![]), |stream, kept| {
        read_to_final_chunk(stream, kept);
        let lines = concat!(
            "{\"status\":\"Loading layer\",\"progressDetail\":{\"current\":1,\"total\":2},\"id\":\"aa\"}\r\n",
            "{\"status\":\"Loading layer\",\"progressDetail\":{\"current\":2,\"total\":2},\"id\":\"aa\"}\r\n",
            "{\"stream\":\"Loaded image: app:1\\n\"}\r\n"
        );
        stream.write_all(chunked(lines).as_bytes()).unwrap();
    });
    let mut upload = fake.engine().upload().unwrap();
    upload.send(b"tail").unwrap();
    let mut said = Vec::new();
    upload.commit(|what| said.push(what)).unwrap();
    assert_eq!(said, [Progress::Layer("aa".to_owned()), Progress::Loaded("Loaded image: app:1".to_owned())]);
    assert!(fake.body.lock().unwrap().starts_with(b"4\r\ntail\r\n0\r\n"));
}

fn outcome(load: fn(&mut UnixStream, &Mutex<Vec<u8>>)) -> Error {
    let fake = Fake::new(docker(vec![]), load);
    let mut upload = fake.engine().upload().unwrap();
    let mut sent = Ok(());
    for _ in 0..64 {
        sent = sent.and_then(|()| upload.send(&[7; 100_000]));
    }
    sent.and_then(|()| upload.commit(|_| {})).unwrap_err()
}

#[test]
fn an_error_in_a_response_with_status_200() {
    let error = outcome(|stream, kept| {
        read_to_final_chunk(stream, kept);
        let line = "{\"errorDetail\":{\"message\":\"invalid diffID\"},\"error\":\"invalid diffID\"}\r\n";
        stream.write_all(chunked(line).as_bytes()).unwrap();
    });
    assert!(matches!(error, Error::Refused(text) if text == "invalid diffID"));
}

#[test]
fn a_refusal_whose_connection_stays_open() {
    let error = outcome(|stream, kept| {
        read_to_final_chunk(stream, kept);
        let body = r#"{"cause":"x","message":"payload does not match","response":500}"#;
        stream.write_all(with_length("500 Internal Server Error", body).as_bytes()).unwrap();
        std::thread::park();
    });
    assert!(matches!(error, Error::Refused(text) if text == "payload does not match"));
}

#[test]
fn an_engine_that_hangs_up_early_is_asked_why() {
    let error = outcome(|stream, _| {
        let mut buffer = [0; 4096];
        let _ = stream.read(&mut buffer).unwrap();
        let line = "{\"errorDetail\":{\"message\":\"write /x: no space left on device\"}}\r\n";
        stream.write_all(chunked(line).as_bytes()).unwrap();
    });
    assert!(matches!(error, Error::Full(_)), "{error}");
}

#[test]
fn an_engine_that_dies_is_gone() {
    let error = outcome(|stream, _| drop(stream.read(&mut [0; 4096])));
    assert!(matches!(error, Error::Gone { .. }), "{error}");
    let error = outcome(|stream, kept| {
        read_to_final_chunk(stream, kept);
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    });
    assert!(matches!(error, Error::Gone { .. }), "{error}");
}

fn digest(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

/// The containerd image store identifies an image by its manifest, and reports whether the
/// whole image is in the store.
#[test]
fn the_containerd_store_is_asked_in_its_own_way() {
    let image = Image {
        config: Some(digest('a')),
        manifest: Some(digest('b')),
        tags: vec!["app:1".to_owned()],
        layers: vec![Layer { diff_id: Some(digest('c')), ..Layer::default() }],
        ..Image::default()
    };
    let check = |id: char, layer: char, available: bool, created: String| {
        let list = format!(
            r#"[{{"Id":"{}","RepoTags":["app:1"],"Manifests":[{{"Kind":"image","Available":{available}}},{{"Kind":"attestation","Available":true}}]}}]"#,
            digest(id)
        );
        let inspected =
            format!(r#"{{"Id":"{}","RootFS":{{"Type":"layers","Layers":["{}"]}}}}"#, digest(id), digest(layer));
        let info = r#"{"Driver":"overlayfs","DriverStatus":[["driver-type","io.containerd.snapshotter.v1"]]}"#;
        let answers = vec![
            ("/info", with_length("200 OK", info)),
            ("/images/json?manifests=1", chunked(&list)),
            ("/images/app:1/json", chunked(&inspected)),
            ("/containers/create", created),
            ("/containers/cc", "HTTP/1.1 204 No Content\r\n\r\n".to_owned()),
        ];
        let fake = Fake::new(docker(answers), |_, _| {});
        let engine = fake.engine();
        assert_eq!(engine.store(), Store::Containerd);
        engine.check(&image, &engine.list().unwrap()).unwrap()
    };
    let created = || with_length("201 Created", r#"{"Id":"cc","Warnings":[]}"#);
    assert_eq!(check('b', 'c', true, created()).unwrap().id, digest('b'));
    let why = |id, layer, available| check(id, layer, available, created()).unwrap_err().why;
    assert_eq!(why('a', 'c', true), "another image has this name", "the config is no id there");
    assert_eq!(why('b', 'd', true), "it has other layers");
    assert_eq!(why('b', 'c', false), "listed, but not all of it is there");
    let not_unpacked = r#"{"message":"failed to prepare extraction snapshot: invalid tar header"}"#;
    let absence = check('b', 'c', true, with_length("500 Internal Server Error", not_unpacked));
    let why = absence.unwrap_err().why;
    assert_eq!(why, "it cannot be used: failed to prepare extraction snapshot: invalid tar header");
}

/// Podman completes a short name with `localhost/`; to Docker that is another image.
#[test]
fn a_name_under_localhost_is_the_same_on_podman_alone() {
    let image = Image { config: Some(digest('a')), tags: vec!["app:1".to_owned()], ..Image::default() };
    let check = |component: &str| {
        let version = format!(r#"{{"Version":"5.4.2","Components":[{{"Name":"{component}"}}]}}"#);
        let list = format!(r#"[{{"Id":"{}","RepoTags":["localhost/app:1"]}}]"#, digest('a'));
        let inspected = with_length("200 OK", &format!(r#"{{"Id":"{}"}}"#, digest('a')));
        let answers = vec![
            ("/_ping", with_length("200 OK", "OK")),
            ("/version", with_length("200 OK", &version)),
            ("/info", with_length("200 OK", "{}")),
            ("/images/json", chunked(&list)),
            ("/images/localhost/app:1/json", inspected),
        ];
        let fake = Fake::new(answers, |_, _| {});
        let engine = fake.engine();
        engine.check(&image, &engine.list().unwrap()).unwrap()
    };
    assert!(check("Podman Engine").is_ok());
    assert_eq!(check("Engine").unwrap_err().why, "not listed by the engine");
}

fn podman(version: &str, more: Answers) -> Answers {
    let version = format!(r#"{{"Version":"{version}","Components":[{{"Name":"Podman Engine"}}]}}"#);
    let mut all = vec![("/_ping", with_length("200 OK", "OK")), ("/version", with_length("200 OK", &version))];
    all.extend(more);
    all.push(("/info", with_length("200 OK", "{}")));
    all
}

fn image(config: char, tags: &[&str]) -> Image {
    let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
    Image { config: Some(digest(config)), manifest: Some(digest(config)), tags, ..Image::default() }
}

/// A list of images with their tags, in the words of an engine.
fn list(images: &[(char, &[&str])]) -> String {
    let entry = |(id, tags): &(char, &[&str])| format!(r#"{{"Id":"{}","RepoTags":{tags:?}}}"#, digest(*id));
    chunked(&format!("[{}]", images.iter().map(entry).collect::<Vec<_>>().join(",")))
}

/// New tags and new images are removed, a tag that moved is restored, and tags that could not
/// be restored are returned. Podman responds with an empty line.
#[test]
fn tags_are_restored() {
    let images = [image('b', &["app:1", "app:2"]), image('c', &["web:2"]), image('d', &[]), image('e', &["old:1"])];
    let before = list(&[('a', &["app:1"]), ('e', &["old:1"])]);
    let now = list(&[('b', &["app:1", "app:2"]), ('c', &["web:2"]), ('d', &[]), ('e', &["old:1"]), ('a', &[])]);
    let restore = |is_podman: bool, more: Answers| {
        let engine = |answers| Fake::new(if is_podman { podman("5.4.2", answers) } else { docker(answers) }, |_, _| {});
        let earlier = engine(vec![("/images/json", before.clone())]);
        let mut answers = vec![("/images/json", now.clone())];
        answers.extend(more);
        let later = engine(answers);
        let failed = later.engine().restore(&earlier.engine().list().unwrap(), &images).unwrap();
        let requests = later.requests.lock().unwrap().clone();
        (failed, requests)
    };
    let done = || {
        vec![
            ("POST /images/", with_length("201 Created", "\n")),
            ("DELETE /images/", with_length("200 OK", r#"[{"Untagged":"x"}]"#)),
        ]
    };
    let expected = [
        format!("POST /images/{}/tag?repo=app&tag=1", digest('a')),
        "DELETE /images/app:2".to_owned(),
        "DELETE /images/web:2".to_owned(),
        format!("DELETE /images/{}", digest('b')),
        format!("DELETE /images/{}", digest('c')),
        format!("DELETE /images/{}", digest('d')),
    ];
    for is_podman in [false, true] {
        let (failed, requests) = restore(is_podman, done());
        assert_eq!(failed, [""; 0], "podman: {is_podman}");
        assert_eq!(requests, expected, "podman: {is_podman}");
    }
    let mut refused = vec![
        ("DELETE /images/web:2", with_length("409 Conflict", r#"{"message":"in use"}"#)),
        ("POST /images/", with_length("404 Not Found", r#"{"message":"no such image"}"#)),
    ];
    refused.extend(done());
    assert_eq!(restore(false, refused).0, ["app:1", "web:2"]);
}

/// Docker 26 with the containerd image store deletes an image whose last name moves.
#[test]
fn an_image_that_loses_its_name_is_kept_until_the_end() {
    let kept = |version: &str, driver: &str| {
        let version = format!(r#"{{"Version":"{version}","Components":[{{"Name":"Engine"}}]}}"#);
        let info = format!(r#"{{"DriverStatus":[["driver-type","{driver}"]]}}"#);
        let answers = vec![
            ("/_ping", with_length("200 OK", "OK")),
            ("/version", with_length("200 OK", &version)),
            ("/info", with_length("200 OK", &info)),
            ("/images/json", list(&[('a', &["app:1", "app:2"]), ('c', &["web:2"])])),
            ("POST /images/", with_length("201 Created", "")),
            ("DELETE /images/", with_length("200 OK", "[]")),
        ];
        let fake = Fake::new(answers, |_, _| {});
        let engine = fake.engine();
        let images = [image('b', &["app:1", "app:2"]), image('c', &["web:2"]), image('d', &["new:1"])];
        let kept = engine.keep_replaced(&engine.list().unwrap(), &images).unwrap();
        assert_eq!(engine.release(kept), [""; 0]);
        std::mem::take(&mut *fake.requests.lock().unwrap())
    };
    let containerd = "io.containerd.snapshotter.v1";
    let name = "a".repeat(64);
    assert_eq!(
        kept("26.1.5", containerd),
        [
            format!("POST /images/{}/tag?repo=az-load-kept&tag={name}", digest('a')),
            format!("DELETE /images/az-load-kept:{name}?force=1"),
        ]
    );
    assert_eq!(kept("28.5.2", containerd), [""; 0]);
    assert_eq!(kept("26.1.5", "overlay2"), [""; 0]);
}

/// Podman 4 cannot list its images while one is removed; a good load would be undone.
#[test]
fn a_list_that_fails_is_asked_for_again() {
    let failure =
        || with_length("500 Internal Server Error", r#"{"cause":"x","message":"image not known","response":500}"#);
    let list = |failures: usize| {
        let mut answers: Answers = (0..failures).map(|_| ("once /images/json", failure())).collect();
        answers.push(("/images/json", list(&[('a', &["app:1"])])));
        let fake = Fake::new(podman("4.3.1", answers), |_, _| {});
        fake.engine().list().map(drop)
    };
    list(2).unwrap();
    assert!(matches!(list(10), Err(Error::Status { status: 500, .. })));
}

/// The containerd image store reports a layer that it cannot unpack as text of a load that
/// succeeded.
#[test]
fn an_unpacking_error_in_a_response_with_status_200() {
    fn unpacking(why: &str) -> String {
        let text = format!("Error unpacking image app:1: apply layer error for \\\"app:1\\\": {why}\\n");
        chunked(&format!("{{\"stream\":\"{text}\"}}\r\n{{\"stream\":\"Loaded image: app:1\\n\"}}\r\n"))
    }
    let error = outcome(|stream, kept| {
        read_to_final_chunk(stream, kept);
        stream.write_all(unpacking("link missing/file l: no such file or directory").as_bytes()).unwrap();
    });
    assert!(matches!(&error, Error::Refused(text) if text.starts_with("Error unpacking image app:1")), "{error}");
    let error = outcome(|stream, kept| {
        read_to_final_chunk(stream, kept);
        stream.write_all(unpacking("write /x: no space left on device").as_bytes()).unwrap();
    });
    assert!(matches!(error, Error::Full(_)), "{error}");
}

#[test]
fn something_else_on_the_socket() {
    let fake = Fake::new(vec![("/_ping", "hello\r\n\r\n".to_owned())], |_, _| {});
    assert!(matches!(Engine::connect(fake.host.clone()), Err(Error::Protocol(_))));
}
