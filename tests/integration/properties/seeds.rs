//! Valid inputs of each parser as seeds.

use super::readers::documents::{JWT_SECRET, SECRET, TOKEN};
use super::readers::packed::signed;
use super::readers::patch;
use crate::sample::{SMALL, Tar, gzip};
use loader_model::Description;
use loader_pack::{PackOptions, pack};
use loader_seal::fragment::{Scheme, SetCard, split};
use loader_seal::{FIXED_LEN, Header, Key};
use tests::{Random, vectors};

/// Returns the seeds of the parser `name`.
pub(crate) fn of(name: &str) -> Vec<Vec<u8>> {
    let texts = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    match name {
        "header" => sealed(|header, _, body| [header, &body[..body.len().min(8)]].concat()),
        "tlvs" => sealed(|header, _, _| header[FIXED_LEN..header.len() - 32].to_vec()),
        "stream" => sealed(|_, number, body| [&[number][..], body].concat()),
        "packed" => packed(),
        "patch" => patches(),
        "key_line" => keys(),
        "fragment_line" => fragments(),
        "card" => cards(),
        "jwt" => texts(&[TOKEN, "e30.e30.e30", "eyJhbGciOiJub25lIn0.eyJleHAiOjF9.e30"]),
        "jwt_key" => jwt_keys(),
        "cdn_yaml" => documents(),
        "archive" => archives(),
        "cache_state" => states(),
        "upload_state" => texts(&[concat!(
            "{\"begin\":{\"id\":\"u\",\"part_len\":5242880,\"stream\":\"s\",\"push\":\"p\"}}\n",
            "{\"part\":{\"number\":1,\"size\":3,\"sha256\":\"ba78\",\"etag\":\"\\\"e\\\"\"}}\n",
            "{\"complete\":{\"etag\":\"\\\"e\\\"\"}}\n",
        )]),
        _ => answers(),
    }
}

/// Seeds from the vectors in `sealed.rs`, in the same order.
fn sealed(make: impl Fn(&[u8], u8, &[u8]) -> Vec<u8>) -> Vec<Vec<u8>> {
    let all = vectors();
    let mut seeds = Vec::new();
    for (number, name) in (0..).zip(["ok_s1_8089", "ok_s2_8121", "ok_s1_1", "ok_s2_4041", "ok_s2_0"]) {
        let vector = all.iter().find(|vector| vector.name == name).unwrap();
        let sealed = std::fs::read(&vector.path).unwrap();
        let mut body = &sealed[..];
        let header = Header::read(&mut body).unwrap();
        seeds.push(make(header.as_bytes(), number, body));
    }
    seeds
}

fn packed() -> Vec<Vec<u8>> {
    let pack = |content: &[u8], description: Description| {
        let mut packed = Vec::new();
        pack(&mut &*content, &mut packed, &PackOptions { description, ..PackOptions::default() }).unwrap();
        packed
    };
    let description = Description { name: Some("models/a".to_owned()), release: Some(7), ..Description::default() };
    vec![
        pack(b"", Description::default()),
        pack(b"text text text text text text text text", description.clone()),
        pack(&Random(3).bytes(5000), description),
        signed(),
    ]
}

fn patches() -> Vec<Vec<u8>> {
    let old = patch::old();
    let changed = [&old[..100_000], b"new text", &old[100_000..]].concat();
    let moved: Vec<u8> =
        Random(4).bytes(70_000).iter().zip(old).map(|(step, byte)| byte.wrapping_add(step % 3)).collect();
    [b"", old, &changed, &moved].map(patch::patch_to).into()
}

fn keys() -> Vec<Vec<u8>> {
    let keys = vectors().into_iter().take(4).map(|vector| vector.key);
    let ids = vectors().into_iter().take(2).map(|vector| Key::parse(&vector.key).unwrap().id().to_string());
    keys.chain(ids).map(|line| format!("# a comment\n{line}\n").into_bytes()).collect()
}

fn sets() -> Vec<Vec<loader_seal::Fragment>> {
    let key = Key::from_bytes([7; 32]);
    [(Scheme::Xor, 2, 2), (Scheme::Shamir, 2, 3)].map(|(scheme, k, n)| split(&key, scheme, k, n).unwrap()).to_vec()
}

fn fragments() -> Vec<Vec<u8>> {
    let text = |set: Vec<loader_seal::Fragment>| {
        set.iter().map(|fragment| format!("{}\n", *fragment.to_text())).collect::<String>().into_bytes()
    };
    sets().into_iter().map(text).collect()
}

fn cards() -> Vec<Vec<u8>> {
    sets().iter().map(|set| SetCard::from_fragments(set).unwrap().to_line()).collect()
}

fn jwt_keys() -> Vec<Vec<u8>> {
    let pem = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
    let set = concat!(
        r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","use":"sig","x":"Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE"},"#,
        r#"{"kty":"oct","alg":"HS256","k":"dGhlIHNlY3JldCBvZiB0aGUgcHJvcGVydHkgdGVzdHM"}]}"#
    );
    vec![JWT_SECRET.to_vec(), pem.into(), set.into(), format!("{SECRET}\n{SECRET}\n{SECRET}").into_bytes()]
}

fn documents() -> Vec<Vec<u8>> {
    let cdn = format!("host: https://cdn.test\ndownloader_access_key: AK\ndownloader_access_secret: \"{SECRET}\"\n");
    let more =
        format!("{cdn}uploader_access_key: UK\nuploader_access_secret: '{SECRET}' # x\nbucket: b\npath_style: true\n");
    let (zeros, size) = ("0".repeat(64), 3);
    let receipt = format!(
        "{{\"parts\":1,\"name\":\"models/a.b\",\"small\":{{\"size\":{size},\"sha256\":\"{zeros}\"}},\"big\":{{\"size\":{size},\"sha256\":\"{zeros}\"}}}}\nabc"
    );
    let credentials = format!(r#"{{"email":"a@b","password":"{SECRET}"}}"#);
    [cdn, more, receipt, credentials, "models/v2/yolo.onnx".to_owned()].map(String::into_bytes).to_vec()
}

fn archives() -> Vec<Vec<u8>> {
    let small = crate::sample::Sample { len: 200, ..SMALL };
    let mut long = Tar::new();
    long.file(&"d/".repeat(120), b"").file("manifest.json", b"[]").file("x.json", b"{}").link("l", "x.json");
    let packed = gzip(&small.legacy());
    let odd = crate::odd::cases().into_iter().map(|case| case.bytes).filter(|bytes| bytes.len() <= 20_480);
    odd.chain([small.legacy(), small.oci(true), small.oci(false), packed, long.end()]).collect()
}

fn states() -> Vec<Vec<u8>> {
    let state = concat!(
        r#"{"size":3,"sha256":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","#,
        r#""etag":"\"e\"","synced":2,"boot":""}"#
    );
    [2, 3, 0].map(|len: u8| [&[len][..], state.as_bytes()].concat()).to_vec()
}

/// HTTP responses. The first byte selects the client.
fn answers() -> Vec<Vec<u8>> {
    let answer = |choice: u8, head: &str, body: &str| {
        let text = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
        [&[choice][..], text.as_bytes()].concat()
    };
    let version = r#"{"Version":"28.0.0","Components":[{"Name":"Engine"}],"DriverStatus":[["driver-type","io.containerd.snapshotter.v1"]]}"#;
    let said = "{\"stream\":\"Loaded image: a:1\\n\"}\n{\"errorDetail\":{\"message\":\"no\"},\"error\":\"no\"}\n";
    let range = "206 Partial Content\r\nContent-Range: bytes 2-4/9\r\nETag: \"e\"";
    let error = "<Error><Code>RequestTimeTooSkewed</Code><Message>m</Message></Error>";
    vec![
        answer(0, "200 OK", &format!(r#"{{"token":"{TOKEN}"}}"#)),
        answer(0, "429 Too Many Requests\r\nRetry-After: 1", ""),
        answer(4, "200 OK", r#"[{"name":"a","size":3,"sha256":"00"}]"#),
        answer(8, "200 OK", "sealed"),
        answer(12, "401 Unauthorized", r#"{"error":"token_expired","message":"m"}"#),
        answer(2, "200 OK\r\nETag: \"e\"", "abc"),
        answer(6, range, "abc"),
        answer(10, "403 Forbidden", error),
        answer(6, "307 Temporary Redirect\r\nLocation: /elsewhere", ""),
        answer(3, "200 OK", version),
        answer(3, "200 OK", said),
        b"\x03HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nOK\r\n0\r\n\r\n".to_vec(),
    ]
}
