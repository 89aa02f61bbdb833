//! HTTP responses of the API, the store and the engine.

use loader_api::{ApiConfig, ApiPaths, Client, Token};
use loader_cdn::{ByteRange, GetRequest, ObjectStore};
use loader_engine::{Engine, Host};
use loader_http::{Http, HttpConfig, Retry};
use loader_model::{CdnCredentials, Credentials, ResourceName};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// Token without expiry of an administrator.
const TOKEN: &str = "e30.eyJuYW1laWQiOiIxIiwidW5pcXVlX25hbWUiOiJhQGIiLCJyb2xlIjoiQXBpQWRtaW4ifQ.c2ln";

/// Bytes of a resource that a store may have.
const PIECE: ByteRange = ByteRange { start: 2, end: Some(5) };

/// Maximum wait of the server for a client that has received its response.
const BRIEFLY: Duration = Duration::from_millis(2);

/// A TCP server and a Unix socket server that send `answer` as every response.
struct Servers {
    url: String,
    socket: String,
    answer: Arc<Mutex<Vec<u8>>>,
}

/// Returns the servers of this process. The lock runs inputs one after the other.
fn servers() -> &'static Mutex<Servers> {
    static SERVERS: OnceLock<Mutex<Servers>> = OnceLock::new();
    SERVERS.get_or_init(|| {
        let answer = Arc::new(Mutex::new(Vec::new()));
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", tcp.local_addr().unwrap());
        let socket = std::env::temp_dir().join(format!("az-properties-{}.sock", std::process::id()));
        let unix = UnixListener::bind(&socket).unwrap();
        let (of_tcp, of_unix) = (answer.clone(), answer.clone());
        std::thread::spawn(move || {
            for stream in tcp.incoming().flatten() {
                serve(&stream, &stream, &of_tcp);
                // Reads the rest of the request: closing with unread bytes would reset the connection.
                let _ = stream.shutdown(Shutdown::Write).and_then(|()| stream.set_read_timeout(Some(BRIEFLY)));
                let _ = (&stream).read(&mut [0; 2048]);
            }
        });
        std::thread::spawn(move || {
            for stream in unix.incoming().flatten() {
                serve(&stream, &stream, &of_unix);
            }
        });
        Mutex::new(Servers { url, socket: socket.display().to_string(), answer })
    })
}

/// Reads the header of a request and sends the response, whatever the request was.
fn serve(mut from: impl Read, mut to: impl Write, answer: &Mutex<Vec<u8>>) {
    let (mut head, mut piece) = (Vec::<u8>::new(), [0; 2048]);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match from.read(&mut piece) {
            Ok(0) | Err(_) => return,
            Ok(read) => head.extend(&piece[..read]),
        }
    }
    let _ = to.write_all(&answer.lock().unwrap());
}

fn http() -> &'static Http {
    static HTTP: OnceLock<Http> = OnceLock::new();
    HTTP.get_or_init(|| {
        let retry = Retry { attempts: 1, ..Retry::default() };
        let idle_timeout = Duration::from_secs(2);
        Http::new(HttpConfig { retry, idle_timeout, proxy_from_env: false, ..HttpConfig::default() }).unwrap()
    })
}

/// No response makes a client panic, hang, or accept a truncated body.
pub(super) fn http_answer(input: &[u8]) {
    let Some((choice, bytes)) = input.split_first() else { return };
    let servers = servers().lock().unwrap();
    bytes.clone_into(&mut servers.answer.lock().unwrap());
    match choice % 4 {
        0 | 1 => api(&servers.url, choice / 4),
        2 => store(&servers.url, choice / 4),
        _ => engine(&servers.socket),
    }
}

fn api(url: &str, choice: u8) {
    let config = ApiConfig { base_url: url.to_owned(), paths: ApiPaths::default() };
    let client = Client::new(config, http().clone(), &|_| {}).unwrap();
    let token = Token::parse(TOKEN).unwrap();
    let name: ResourceName = "models/abc".parse().unwrap();
    match choice % 4 {
        0 => {
            let credentials = Credentials::from_json(br#"{"email":"a@b","password":"p"}"#).unwrap();
            if let Ok(token) = client.login(&credentials) {
                Token::parse(&token).unwrap();
            }
        }
        1 => drop(client.list(&token, "models", None)),
        2 => drop(client.get_resource(&token, &name, &"ab".repeat(32), "p")),
        _ => drop(client.key_fragment(&token)),
    }
}

fn store(url: &str, choice: u8) {
    let cdn =
        format!(r#"{{"host":"{url}","downloader_access_key":"A","downloader_access_secret":"S","path_style":true}}"#);
    let cdn: CdnCredentials = loader_model::yaml::from_slice(cdn.as_bytes()).unwrap();
    let store = ObjectStore::new(&cdn, http().clone()).unwrap();
    let name: ResourceName = "models/abc".parse().unwrap();
    if choice.is_multiple_of(3) {
        let _ = store.head(&name, &|_| {});
        return;
    }
    let range = (choice % 3 == 1).then_some(PIECE);
    let Ok(mut part) = store.get_range(&name, &GetRequest { range, if_range: None, size: None, head: false }) else {
        return;
    };
    assert!(part.start + part.len <= part.total);
    let (mut buffer, mut got) = ([0; 4096], 0);
    loop {
        match part.body.read_some(&mut buffer) {
            Ok(0) => break assert_eq!(got, part.len),
            Ok(read) => got += read as u64,
            Err(_) => break,
        }
    }
    assert!(got <= part.len);
}

fn engine(socket: &str) {
    let host = Host::new(Some(&format!("unix://{socket}"))).unwrap();
    let Ok(engine) = Engine::connect(host) else { return };
    let _ = engine.list();
    let _ = engine.chains();
    if let Ok(mut upload) = engine.upload() {
        let _ = upload.send(b"x").and_then(|()| upload.commit(|_| {}));
    }
}
