//! Processes that are killed while they write.

use crate::server::{Fleet, HARDWARE};
use loader_testkit::{Random, write_secret};
use std::process::Stdio;
use std::time::Duration;

/// After a kill at any time the directory is whole: the old content or the new one.
#[test]
fn a_killed_command_leaves_the_old_state_or_the_new_one() {
    let fleet = Fleet::with_users();
    fleet.ok(&["key", "rotate"]);
    fleet.ok(&["fragment", "set", "fragment"]);
    for name in ["one", "two"] {
        write_secret(&fleet.path(name), format!("{name}\n"));
    }
    let mut random = Random(1);
    let mut killed = 0;
    for round in 0..60 {
        let name = ["one", "two"][round % 2];
        let args = match round % 3 {
            0 => vec!["user", "passwd", "cam@example.com", "--password-file", name],
            1 => vec!["fragment", "set", name],
            _ => vec!["key", "rotate"],
        };
        let mut child = fleet.command(&args).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(random.below(6000) as u64));
        let _ = child.kill();
        killed += u32::from(child.wait().unwrap().code().is_none());
        assert_eq!(fleet.ok(&["check"]), "", "{args:?}");
    }
    assert!(killed > 5, "{killed}");
    let server = fleet.serve(&[]);
    let passwords = ["cam pw", "one", "two"];
    let token = passwords.iter().find_map(|password| {
        server.login("cam", password).json()["token"].as_str().map(|token| (token.to_owned(), *password))
    });
    let (token, password) = token.unwrap();
    assert_eq!(server.fragment(&token).status, 200);
    assert_eq!(server.get(&token, "", "none", HARDWARE, password).status, 404);
}

#[test]
fn a_killed_server_leaves_whole_resources() {
    let fleet = Fleet::with_users();
    let mut random = Random(2);
    let content = |byte: u8| vec![byte; 200_000];
    for round in 0..10_u8 {
        let mut server = fleet.serve(&[]);
        let token = server.token("ci");
        std::thread::scope(|scope| {
            let (url, token) = (server.url.clone(), &token);
            scope.spawn(move || {
                let head = "--cut\r\nContent-Disposition: form-data; name=\"data\"; filename=\"part\"\r\n\r\n";
                let body = [head.as_bytes(), &content(round), b"\r\n--cut--\r\n"].concat();
                let agent: ureq::Agent = ureq::Agent::config_builder().proxy(None).build().into();
                let request = agent
                    .post(format!("{url}/resources/models"))
                    .header("authorization", format!("Bearer {token}"))
                    .header("content-type", "multipart/form-data; boundary=cut");
                // The server is killed: any result is possible.
                let _ = request.send(&body);
            });
            std::thread::sleep(Duration::from_micros(random.below(15_000) as u64));
            server.child.kill().unwrap();
        });
        server.child.wait().unwrap();
        assert_eq!(fleet.ok(&["check"]), "");
        if let Ok(stored) = std::fs::read(fleet.path("state/resources/models/part")) {
            assert!(stored.len() == 200_000 && stored.iter().all(|byte| *byte == stored[0]));
        }
    }
}
