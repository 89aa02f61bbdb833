//! The client against an API that follows the protocol, and against APIs that do not.
#![allow(clippy::unwrap_used)]

use loader_api::{ApiConfig, ApiPaths, Client, Error, Session, Token};
use loader_http::{Http, HttpConfig, Retry};
use loader_model::{Coded, Credentials, ErrorCode};
use loader_testkit::read_request;
use std::io::Write;
use std::net::TcpListener;
use std::thread::JoinHandle;
use std::time::Duration;

// nameid 1, unique_name a@b, role Operator; EXPIRED has exp 2023-11-14T22:13:20Z.
const EXPIRED: &str =
    "e30.eyJuYW1laWQiOiIxIiwidW5pcXVlX25hbWUiOiJhQGIiLCJyb2xlIjoiT3BlcmF0b3IiLCJleHAiOjE3MDAwMDAwMDB9.c2ln";
const FRESH: &str = "e30.eyJuYW1laWQiOiIxIiwidW5pcXVlX25hbWUiOiJhQGIiLCJyb2xlIjoiT3BlcmF0b3IifQ.c2ln";

fn serve(responses: Vec<(u16, &'static str)>) -> (ApiConfig, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base_url = format!("http://{}/v1/", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        responses
            .into_iter()
            .map(|(status, body)| {
                let (mut stream, _) = listener.accept().unwrap();
                let request = read_request(&mut stream);
                let len = body.len();
                write!(stream, "HTTP/1.1 {status} X\r\nContent-Type: text/plain\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n{body}").unwrap();
                request
            })
            .collect()
    });
    (ApiConfig { base_url, paths: ApiPaths::default() }, server)
}

fn client(config: ApiConfig) -> Client<'static> {
    let retry = Retry { first_wait: Duration::from_millis(1), longest_retry_after: Duration::ZERO, ..Retry::default() };
    Client::new(config, Http::new(HttpConfig { retry, ..HttpConfig::default() }).unwrap(), &|_| {}).unwrap()
}

fn credentials() -> Credentials {
    Credentials::from_json(br#"{"email":"a@b","password":"hunter2\""}"#).unwrap()
}

#[test]
fn login_returns_the_token() {
    let (config, server) = serve(vec![(200, r#"{"token":"e30.e30.c2ln"}"#)]);
    assert_eq!(client(config).login(&credentials()).unwrap().as_str(), "e30.e30.c2ln");
    let request = server.join().unwrap().remove(0);
    assert!(request.starts_with("POST /v1/login HTTP/1.1\r\n"), "{request}");
    assert!(request.ends_with(r#"{"email":"a@b","password":"hunter2\""}"#), "{request}");
}

#[test]
fn a_refused_login_names_only_the_email() {
    for (status, code, text) in [
        (401, ErrorCode::NotPermitted, "login refused for a@b"),
        (409, ErrorCode::NotPermitted, "account locked: a@b"),
        (403, ErrorCode::NotPermitted, "account locked: a@b"),
    ] {
        let (config, _server) = serve(vec![(status, "no")]);
        let error = client(config).login(&credentials()).unwrap_err();
        assert_eq!((error.code(), error.to_string().as_str()), (code, text));
    }
}

#[test]
fn a_body_that_may_contain_a_secret_is_not_quoted() {
    let secret = r#"{"refresh_token":"opaque-refresh","token":"e30.e30.c2ln"}"#;
    let echo = r#"{"title":"bad","you_sent":{"password":"hunter2\u0022"}}"#;
    for (status, body, expected) in [
        (201, secret, "may be secret"),
        (206, secret, "may be secret"),
        (400, echo, "may repeat the request"),
        (400, "<p>hunter2&quot;</p>", "may repeat the request"),
        (400, "<p>Bad Gateway</p>", "<p>Bad Gateway</p>"),
    ] {
        let (config, _server) = serve(vec![(status, body)]);
        let error = client(config).login(&credentials()).unwrap_err();
        assert_eq!(error.code(), ErrorCode::Protocol);
        let text = error.to_string();
        assert!(text.contains(expected) && !text.contains("opaque") && !text.contains("hunter2"), "{text}");
    }
}

#[test]
fn login_retries_429_and_gives_up_after_five_attempts() {
    let (config, server) = serve(vec![(429, ""), (200, r#"{"token":"e30.e30.c2ln"}"#)]);
    client(config).login(&credentials()).unwrap();
    assert_eq!(server.join().unwrap().len(), 2);
    let (config, _server) = serve(vec![(429, ""); 5]);
    let error = client(config).login(&credentials()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::Temporary);
    assert!(error.to_string().ends_with(": HTTP 429, too many requests, after 5 attempts"), "{error}");
}

#[test]
fn an_unexpected_response_is_quoted_without_secrets() {
    let (config, _server) = serve(vec![(418, "short\x1b and stout")]);
    let error = client(config).login(&credentials()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::Protocol);
    assert_eq!(error.to_string(), "login: HTTP 418, text/plain: short\\u{1b} and stout");
    for echo in [r#"you said hunter2""#, r#"{"password":"hunter2\""}"#] {
        let (config, _server) = serve(vec![(400, echo)]);
        let error = client(config).login(&credentials()).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
    let (config, _server) = serve(vec![(200, r#"{"token":"not a token"}"#)]);
    assert_eq!(client(config).login(&credentials()).unwrap_err().to_string(), "login: HTTP 200 without a usable token");
}

#[test]
fn a_resource_request_contains_directory_name_and_hardware() {
    let (config, server) = serve(vec![(200, "sealed"), (200, "sealed")]);
    let (client, token) = (client(config), Token::parse(FRESH).unwrap());
    let hardware = "ab".repeat(32);
    assert_eq!(
        &client.get_resource(&token, &"models/v2/yolo".parse().unwrap(), &hardware, "pw").unwrap()[..],
        b"sealed"
    );
    client.get_resource(&token, &"cdn.yaml".parse().unwrap(), &hardware, "pw").unwrap();
    let requests = server.join().unwrap();
    assert!(requests[0].starts_with("POST /v1/resources/get/models/v2 HTTP/1.1\r\n"), "{}", requests[0]);
    assert!(requests[0].contains(&format!("Bearer {FRESH}\r\n")));
    assert!(requests[0].ends_with(&format!(r#"{{"fileName":"yolo","hardware":"{hardware}","password":"pw"}}"#)));
    assert!(requests[1].starts_with("POST /v1/resources/get HTTP/1.1\r\n"), "{}", requests[1]);
}

#[test]
fn a_refusal_names_the_resource_and_the_reason() {
    for (status, token, code, text) in [
        (401, EXPIRED, ErrorCode::NotPermitted, "HTTP 401, token expired at 2023-11-14T22:13:20Z"),
        (401, FRESH, ErrorCode::NotPermitted, "HTTP 401, the server does not accept this token"),
        (403, FRESH, ErrorCode::NotPermitted, "HTTP 403, role Operator may not read key-fragment"),
        (404, FRESH, ErrorCode::NotFound, "key-fragment: not on the server"),
        (302, FRESH, ErrorCode::Protocol, "key-fragment: HTTP 302, redirects are not followed, text/plain, empty body"),
    ] {
        let (config, _server) = serve(vec![(status, "")]);
        let error = client(config).key_fragment(&Token::parse(token).unwrap()).unwrap_err();
        assert_eq!((error.code(), error.to_string().as_str()), (code, text));
    }
}

#[test]
fn other_refusals_quote_the_message_of_the_server() {
    let role = r#"{"error":"role","message":"role X may not"}"#;
    let password = r#"{"error":"password_mismatch","message":"the password is not the user's"}"#;
    let leak = r#"{"error":"e","message":"pw is wrong"}"#;
    let hardware = r#"{"error":"hardware_mismatch","message":"bound to other hardware"}"#;
    for (status, body, code, text) in [
        (403, role, ErrorCode::NotPermitted, "HTTP 403, role Operator may not read m/a"),
        (403, password, ErrorCode::NotPermitted, "HTTP 403 for m/a: the password is not the user's"),
        (403, leak, ErrorCode::NotPermitted, "HTTP 403, role Operator may not read m/a"),
        (409, hardware, ErrorCode::WrongDevice, "HTTP 409 for m/a: bound to other hardware"),
    ] {
        let (config, _server) = serve(vec![(status, body)]);
        let token = Token::parse(FRESH).unwrap();
        let error = client(config).get_resource(&token, &"m/a".parse().unwrap(), "00", "pw").unwrap_err();
        assert_eq!((error.code(), error.to_string().as_str()), (code, text));
    }
}

#[test]
fn a_conflicting_upload_is_refused() {
    let folder = r#"{"error":"is_a_folder","message":"m/a: is a folder"}"#;
    for (body, text) in
        [(folder, "HTTP 409 for m/a: m/a: is a folder"), ("", "HTTP 409 for m/a: another resource is in the way")]
    {
        let (config, _server) = serve(vec![(409, body)]);
        let token = Token::parse(FRESH).unwrap();
        let error = client(config).put_resource(&token, &"m/a".parse().unwrap(), b"x").unwrap_err();
        assert_eq!((error.code(), error.to_string().as_str()), (ErrorCode::CannotCreate, text));
    }
}

#[test]
fn a_session_logs_in_again_at_most_once_per_call() {
    let login = (200, r#"{"token":"e30.e30.c2ln"}"#);
    let (config, server) =
        serve(vec![(401, ""), login, (200, "f"), (401, ""), login, (200, "g"), (401, ""), login, (401, "")]);
    let mut session = Session::new(client(config), Token::parse(EXPIRED).unwrap(), Some(credentials()));
    assert_eq!(&session.call(|client, token| client.key_fragment(token)).unwrap()[..], b"f");
    assert_eq!(session.token().as_str(), "e30.e30.c2ln");
    assert_eq!(&session.call(|client, token| client.key_fragment(token)).unwrap()[..], b"g");
    let error = session.call(|client, token| client.key_fragment(token)).unwrap_err();
    assert!(matches!(error, Error::Unauthorized(_)));
    assert_eq!(server.join().unwrap().len(), 9);
}

#[test]
fn a_list_is_parsed() {
    let (config, server) = serve(vec![(200, r#"[{"name":"a","size":3,"sha256":"00","more":1}]"#), (200, "nonsense")]);
    let (client, token) = (client(config), Token::parse(FRESH).unwrap());
    let list = client.list(&token, "models", Some("a b&c")).unwrap();
    assert_eq!((list[0].name.as_str(), list[0].size), ("a", Some(3)));
    assert_eq!(client.list(&token, "models", None).unwrap_err().code(), ErrorCode::Protocol);
    assert!(server.join().unwrap()[0].starts_with("GET /v1/resources/list/models?search=a%20b%26c HTTP/1.1"));
}
