//! The S3 store over real sockets.

use crate::wire::{BIG, BIG_LEN, SigningClient, TestResponse, big, send, start};
use std::time::{Duration, SystemTime};

fn code(response: &TestResponse) -> (u16, String) {
    let text = response.text();
    let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>")).map_or("", |(code, _)| code);
    (response.status, code.to_owned())
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    text.split_once(start).unwrap().1.split_once(end).unwrap().0
}

#[test]
fn an_object_is_read_with_either_key() {
    let server = start();
    for signed in [SigningClient::downloader(&server), SigningClient::uploader(&server)] {
        let response = signed.get(BIG, &[]);
        assert_eq!((response.status, response.body == big()), (200, true), "{}", response.text());
        assert_eq!(response.header("accept-ranges"), "bytes");
        assert_eq!(response.header("content-length"), BIG_LEN.to_string());
        let head = signed.send("HEAD", BIG, "", &[], b"");
        assert_eq!((head.status, head.header("etag")), (200, response.header("etag")));
    }
    assert_eq!(code(&SigningClient::downloader(&server).get("models/none.big", &[])), (404, "NoSuchKey".into()));
    assert_eq!(code(&SigningClient::downloader(&server).get("models", &[])), (404, "NoSuchKey".into()));
}

#[test]
fn a_request_needs_a_valid_and_recent_signature() {
    let server = start();
    let url = format!("{}/azaion/{BIG}", server.s3_url());
    assert_eq!(code(&send("GET", &url, &[], b"")), (403, "AccessDenied".into()));
    let right = SigningClient::downloader(&server);
    let wrong = SigningClient { secret: "0000", ..SigningClient::downloader(&server) };
    assert_eq!(code(&wrong.get(BIG, &[])), (403, "SignatureDoesNotMatch".into()));
    let unknown = SigningClient { key: "NOBODY", ..SigningClient::downloader(&server) };
    assert_eq!(unknown.get(BIG, &[]).status, 403);
    let late = SigningClient { at: SystemTime::now() - Duration::from_secs(3600), ..right };
    assert_eq!(code(&late.get(BIG, &[])), (403, "RequestTimeTooSkewed".into()));
}

#[test]
fn a_presigned_url_reads_until_it_expires() {
    let server = start();
    let signed = SigningClient::downloader(&server);
    let url = signed.presigned(BIG, 60);
    assert_eq!(send("GET", &url, &[], b"").body, big());
    assert_eq!(code(&send("GET", &url.replace("yolo", "mine"), &[], b"")), (403, "SignatureDoesNotMatch".into()));
    let old = SigningClient { at: SystemTime::now() - Duration::from_secs(120), ..signed };
    assert_eq!(send("GET", &old.presigned(BIG, 60), &[], b"").status, 403);
    assert!(server.requests().iter().all(|request| !request.path.contains('?')));
}

#[test]
fn a_range_is_answered_with_206() {
    let server = start();
    let signed = SigningClient::downloader(&server);
    for (range, from, to) in
        [("bytes=0-0", 0, 1), ("bytes=1000-70999", 1000, 71_000), ("bytes=-5", BIG_LEN - 5, BIG_LEN)]
    {
        let response = signed.get(BIG, &[("range", range)]);
        assert_eq!((response.status, &response.body[..]), (206, &big()[from..to]), "{range}");
        assert_eq!(response.header("content-range"), format!("bytes {from}-{}/{BIG_LEN}", to - 1));
        assert_eq!(response.header("accept-ranges"), "bytes");
    }
    let beyond = signed.get(BIG, &[("range", &format!("bytes={BIG_LEN}-"))]);
    assert_eq!((beyond.status, beyond.header("content-range")), (416, format!("bytes */{BIG_LEN}").as_str()));
}

#[test]
fn if_range_with_a_stale_etag_returns_the_whole_object() {
    let server = start();
    let signed = SigningClient::downloader(&server);
    let etag = signed.send("HEAD", BIG, "", &[], b"").header("etag").to_owned();
    let fresh = signed.get(BIG, &[("range", "bytes=10-19"), ("if-range", &etag)]);
    assert_eq!((fresh.status, fresh.body.len()), (206, 10));
    let stale = signed.get(BIG, &[("range", "bytes=10-19"), ("if-range", "\"stale\"")]);
    assert_eq!((stale.status, stale.body == big()), (200, true));
    assert_eq!(stale.header("content-range"), "");
}

#[test]
fn reads_can_be_conditional() {
    let server = start();
    let signed = SigningClient::downloader(&server);
    let etag = signed.send("HEAD", BIG, "", &[], b"").header("etag").to_owned();
    assert_eq!(signed.get(BIG, &[("if-match", &etag)]).status, 200);
    assert_eq!(code(&signed.get(BIG, &[("if-match", "\"other\"")])), (412, "PreconditionFailed".into()));
    let same = signed.get(BIG, &[("if-none-match", &etag)]);
    assert_eq!((same.status, same.header("etag"), same.body.len()), (304, etag.as_str(), 0));
    assert_eq!(signed.get(BIG, &[("if-none-match", "\"other\"")]).status, 200);
    assert_eq!(signed.send("HEAD", BIG, "", &[("if-none-match", &etag)], b"").status, 304);
}

#[test]
fn the_downloader_cannot_write() {
    let server = start();
    let signed = SigningClient::downloader(&server);
    let denied = (403, "AccessDenied".to_owned());
    assert_eq!(code(&signed.send("PUT", BIG, "", &[], b"mine")), denied);
    assert_eq!(code(&signed.send("DELETE", BIG, "", &[], b"")), denied);
    assert_eq!(code(&signed.send("POST", "models/new.big", "uploads=", &[], b"")), denied);
    assert_eq!(std::fs::read(server.objects_dir().join(BIG)).unwrap(), big());
}

#[test]
fn the_downloader_reads_objects_of_the_uploader() {
    let server = start();
    let signed = SigningClient::uploader(&server);
    let put = signed.send("PUT", "models/v2/new.big", "", &[], b"new");
    assert_eq!(put.status, 200, "{}", put.text());
    let read = SigningClient::downloader(&server).get("models/v2/new.big", &[]);
    assert_eq!((read.body.as_slice(), read.header("etag")), (&b"new"[..], put.header("etag")));
    assert_eq!(signed.send("PUT", BIG, "", &[("if-none-match", "*")], b"x").status, 412);
    for climbing in ["../azaion/a.big", "models/../a.big", "/a.big"] {
        assert_ne!(signed.send("PUT", climbing, "", &[], b"x").status, 200, "{climbing}");
    }
}

#[test]
fn a_multipart_upload_can_be_resumed() {
    let server = start();
    let signed = SigningClient::uploader(&server);
    let key = "models/parts.big";
    let begun = signed.send("POST", key, "uploads=", &[], b"").text();
    let id = between(&begun, "<UploadId>", "</UploadId>");
    let parts = [vec![1; 5 << 20], vec![2; 5 << 20], vec![3; 100]];
    let mut etags = [const { String::new() }; 3];
    for number in [3, 1, 2] {
        let response = signed.send("PUT", key, &format!("partNumber={number}&uploadId={id}"), &[], &parts[number - 1]);
        assert_eq!(response.status, 200, "{}", response.text());
        etags[number - 1] = response.header("etag").to_owned();
    }
    let page = signed.send("GET", key, &format!("max-parts=2&uploadId={id}"), &[], b"").text();
    assert_eq!(between(&page, "<IsTruncated>", "</IsTruncated>"), "true");
    assert_eq!(between(&page, "<NextPartNumberMarker>", "</NextPartNumberMarker>"), "2");
    let rest = signed.send("GET", key, &format!("part-number-marker=2&uploadId={id}"), &[], b"").text();
    assert_eq!(between(&rest, "<Size>", "</Size>"), "100");
    assert!(rest.contains(etags[2].trim_matches('"')), "{rest}");
    let open = server.s3_url().to_owned() + "/azaion";
    assert_eq!(send("GET", &format!("{open}?uploads="), &[], b"").status, 403);

    let list = |etags: &[String; 3]| {
        let parts: String =
            (1..4).map(|n| format!("<Part><PartNumber>{n}</PartNumber><ETag>{}</ETag></Part>", etags[n - 1])).collect();
        format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>")
    };
    let mut swapped = etags.clone();
    swapped.swap(0, 1);
    let query = format!("uploadId={id}");
    assert_eq!(code(&signed.send("POST", key, &query, &[], list(&swapped).as_bytes())), (400, "InvalidPart".into()));
    let done = signed.send("POST", key, &query, &[], list(&etags).as_bytes());
    assert_eq!(done.status, 200, "{}", done.text());
    let read = SigningClient::downloader(&server).get(key, &[]);
    assert!(read.body == parts.concat());
    assert!(read.header("etag").ends_with("-3\""));
    assert_eq!(code(&signed.send("GET", key, &query, &[], b"")), (404, "NoSuchUpload".into()));
}

#[test]
fn an_aborted_upload_does_not_exist() {
    let server = start();
    let signed = SigningClient::uploader(&server);
    let begun = signed.send("POST", "a.big", "uploads=", &[], b"").text();
    let id = between(&begun, "<UploadId>", "</UploadId>");
    assert_eq!(signed.send("PUT", "a.big", &format!("partNumber=1&uploadId={id}"), &[], b"x").status, 200);
    assert_eq!(signed.send("DELETE", "a.big", &format!("uploadId={id}"), &[], b"").status, 204);
    let response = signed.send("PUT", "a.big", &format!("partNumber=2&uploadId={id}"), &[], b"x");
    assert_eq!(code(&response), (404, "NoSuchUpload".into()));
}

#[test]
fn two_hundred_clients_are_served_concurrently() {
    let server = start();
    std::thread::scope(|scope| {
        for i in 0..200 {
            let server = &server;
            scope.spawn(move || {
                let (from, to) = (i * 1000, i * 1000 + 99_999);
                let response = SigningClient::downloader(server).get(BIG, &[("range", &format!("bytes={from}-{to}"))]);
                assert_eq!((response.status, response.body == big()[from..=to]), (206, true));
            });
        }
    });
}
