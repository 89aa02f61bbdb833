//! Unlocking many devices over ssh.

use super::{at_boot, at_site, fleet};
use loader_testkit::wait_until;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command};
use tests::site::Site;
use tests::{bash, package_dir, path_variable, run, say};

/// sshd on a free port, killed on drop.
struct Sshd(Child);

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts devices that share one sshd on loopback. The host name selects the environment
/// of a device.
fn ssh_devices(site: &Site) -> Option<Sshd> {
    let sshd = ["/usr/sbin/sshd", "/usr/bin/sshd"].iter().find(|path| Path::new(path).is_file())?;
    if Command::new("parallel").arg("--version").output().is_err() {
        return None;
    }
    at_site(
        site,
        "ssh-keygen -q -t ed25519 -N '' -f host_key && ssh-keygen -q -t ed25519 -N '' -f user_key && cp user_key.pub authorized",
    );
    let dir = site.root().display();
    // The setup of "At boot" in the README, with other paths.
    let root = at_boot(site);
    let unlock = fs::read_to_string(root.join("usr/bin/az-unlock")).unwrap();
    let unlock = ["/etc/azaion", "/opt/azaion"]
        .iter()
        .fold(unlock, |text, place| text.replace(place, &format!("{}{place}", root.display())));
    tests::write_program(&root.join("usr/bin/az-unlock"), unlock.replace("sink=(az-load)", "sink=(tar t)"));
    let device = format!(
        r#"#!/bin/bash
        cd {dir}; root={}; more=()
        case $DEVICE in
            edge-2) more=(AZ_CREDENTIALS_FILE=wrong.json) ;;
            edge-3) mkdir first 2>/dev/null && more=(AZ_API_URL=http://127.0.0.1:1) ;;
        esac
        words=${{SSH_ORIGINAL_COMMAND//\/etc\/azaion/$root/etc/azaion}} words=${{words//\/opt\/azaion/$root/opt/azaion}}
        exec env -i PATH=$root/usr/bin:'{}' HOME={dir} XDG_CONFIG_HOME=$root/etc AZ_EVENTS=off AZ_RETRIES=0 AZ_HWID_FILE=hwid \
            RUNTIME_DIRECTORY=run-$DEVICE STATE_DIRECTORY=state-$DEVICE "${{more[@]}}" bash -c "$words"
        "#,
        root.display(),
        path_variable(),
    );
    tests::write_program(&site.path("device"), device);
    // sshd needs its privilege separation directory, which its service normally creates.
    let _ = fs::create_dir_all("/run/sshd");
    let (running, port) = start(site, sshd);
    let mut client = String::new();
    for name in ["edge-1", "edge-2", "edge-3", "edge-4", "edge-4-a"] {
        let port = if name == "edge-4" { 1 } else { port };
        client.push_str(&format!("Host {name}\n  Port {port}\n  SetEnv DEVICE={name}\n"));
    }
    client.push_str(&format!(
        "Host *\n  HostName 127.0.0.1\n  IdentityFile {dir}/user_key\n  IdentitiesOnly yes\n\
         StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n  LogLevel ERROR\n"
    ));
    fs::write(site.path("ssh_config"), client).unwrap();
    Some(running)
}

/// Starts sshd on a free port. Another process may take the port before sshd does; then
/// another port is tried.
fn start(site: &Site, sshd: &str) -> (Sshd, u16) {
    let dir = site.root().display();
    for _ in 0..10 {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {dir}/host_key\nAuthorizedKeysFile {dir}/authorized\nPidFile none\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication no\nAcceptEnv DEVICE\nForceCommand {dir}/device\n"
        );
        fs::write(site.path("sshd_config"), config).unwrap();
        let log = fs::File::create(site.path("sshd.log")).unwrap();
        let mut command = Command::new(sshd);
        command.args(["-D", "-e", "-f"]).arg(site.path("sshd_config")).stderr(log);
        let mut running = Sshd(command.spawn().unwrap());
        let said = |words: &str| fs::read_to_string(site.path("sshd.log")).unwrap().contains(words);
        wait_until("sshd listens or has ended", || {
            said("Server listening on") || running.0.try_wait().unwrap().is_some()
        });
        if said("Server listening on") {
            return (running, port);
        }
        assert!(said("Address already in use"), "{}", fs::read_to_string(site.path("sshd.log")).unwrap());
    }
    panic!("no port was free")
}

#[test]
fn many_devices_over_ssh_with_a_retry_of_temporary_failures() {
    let site = Site::start();
    let Some(_sshd) = ssh_devices(&site) else {
        say("skipped: sshd or parallel is not installed");
        return;
    };
    fs::write(site.path("hosts"), "# the site\nedge-3\nedge-1\n\nedge-2  # a shelf\nedge-4\nedge-4-a\n").unwrap();
    let mut command = bash(r#"exec "$0" hosts said"#);
    command.arg(fleet("ssh/fleet.sh")).current_dir(site.root());
    command.env("SSH_CONFIG", site.path("ssh_config")).env("PAUSES", "0");
    let finished = run(command, b"");
    let text = finished.text();
    let log = fs::read_to_string(site.path("sshd.log")).unwrap();
    assert_eq!(finished.status, 1, "{text}{}{log}", finished.stderr);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "3 of 5 devices are well", "{text}{log}");
    assert!(lines[1].starts_with("edge-2: 77, FAILED in az-login"), "{text}");
    assert!(lines[2].starts_with("edge-4: 255, ssh: connect to host") && lines.len() == 3, "{text}");
    for bad in ["-oProxyCommand=touch${IFS}made", "../edge-1", "edge-1;touch${IFS}made"] {
        fs::write(site.path("bad"), format!("edge-1\n{bad}\n")).unwrap();
        let mut command = bash(r#"exec "$0" bad said-2"#);
        command.arg(fleet("ssh/fleet.sh")).current_dir(site.root()).env("SSH_CONFIG", site.path("ssh_config"));
        let refused = run(command, b"");
        assert_eq!(refused.status, 2, "{bad}: {}", refused.stderr);
        assert!(refused.stderr.contains("not the name of a device") && !site.path("made").exists(), "{bad}");
    }
    let said = |name: &str| fs::read_to_string(site.path("said").join(name)).unwrap();
    assert!(said("edge-1.txt").contains("manifest.json") && said("edge-3.txt").contains("manifest.json"));
}

#[test]
fn the_documented_ssh_lines_work() {
    let site = Site::start();
    let Some(_sshd) = ssh_devices(&site) else {
        say("skipped: sshd or parallel is not installed");
        return;
    };
    let readme = fs::read_to_string(package_dir().join("../examples/README.md")).unwrap();
    let lines: Vec<_> = readme.lines().filter(|line| line.starts_with("parallel ")).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    fs::write(site.path("hosts"), "edge-1\nedge-2\nedge-4\n").unwrap();
    // The user's settings are in a file that ssh does not read by default.
    let ssh = bash("command -v ssh");
    let ssh = run(ssh, b"").text();
    let settings = site.path("ssh_config");
    let wrapper = format!("#!/bin/sh\nexec {} -F {} \"$@\"\n", ssh.trim(), settings.display());
    tests::write_program(&site.path("user/ssh"), wrapper);
    let said = |line: &str| {
        let mut command = bash(&format!("PATH={}:$PATH; {line}", site.path("user").display()));
        command.current_dir(site.root()).env("HOME", site.root());
        run(command, b"")
    };

    let unlocked = said(lines[0]);
    assert_eq!(unlocked.status, 2, "the number of devices that failed: {}{}", unlocked.text(), unlocked.stderr);
    assert!(unlocked.text().contains("edge-1\tmanifest.json"), "{}", unlocked.text());
    assert!(unlocked.stderr.contains("edge-2\tFAILED in az-login"), "{}", unlocked.stderr);
    let log = fs::read_to_string(site.path("log")).unwrap();
    let mut ended: Vec<_> = log.lines().skip(1).map(|line| line.split('\t').nth(6).unwrap()).collect();
    ended.sort_unstable();
    assert_eq!(ended, ["0", "255", "77"], "{log}");

    let looked = said(lines[1]);
    let verdicts = looked.text();
    let told = |line: &str| line.split_whitespace().next()?.parse::<u32>().ok();
    assert_eq!(verdicts.lines().filter_map(told).sum::<u32>(), 2, "{verdicts}{}", looked.stderr);
    assert!(verdicts.contains("fail"), "{verdicts}");
}
