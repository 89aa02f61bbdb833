//! Unlocking many devices over ssh.

use super::{at_boot, at_site, fleet};
use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command};
use tests::site::Site;
use tests::{bash, folder, path_variable, run, say};

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
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let dir = site.folder().display();
    // The setup of "At boot" in the README, with other paths.
    let root = at_boot(site);
    let unlock = fs::read_to_string(root.join("usr/bin/az-unlock")).unwrap();
    let unlock = ["/etc/azaion", "/opt/azaion"]
        .iter()
        .fold(unlock, |text, place| text.replace(place, &format!("{}{place}", root.display())));
    fs::write(root.join("usr/bin/az-unlock"), unlock.replace("sink=(az-load)", "sink=(tar t)")).unwrap();
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
    fs::write(site.file("device"), device).unwrap();
    fs::set_permissions(site.file("device"), Permissions::from_mode(0o755)).unwrap();
    let config = format!(
        "ListenAddress 127.0.0.1:{port}\nHostKey {dir}/host_key\nAuthorizedKeysFile {dir}/authorized\nPidFile none\n\
         StrictModes no\nUsePAM no\nPasswordAuthentication no\nAcceptEnv DEVICE\nForceCommand {dir}/device\n"
    );
    fs::write(site.file("sshd_config"), config).unwrap();
    // sshd needs its privilege separation directory, which its service normally creates.
    let _ = fs::create_dir_all("/run/sshd");
    let child = Command::new(sshd)
        .args(["-D", "-e", "-f"])
        .arg(site.file("sshd_config"))
        .stderr(fs::File::create(site.file("sshd.log")).unwrap())
        .spawn()
        .unwrap();
    let mut running = Sshd(child);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        let log = fs::read_to_string(site.file("sshd.log")).unwrap();
        assert!(running.0.try_wait().unwrap().is_none(), "sshd has ended: {log}");
        std::thread::yield_now();
    }
    let mut client = String::new();
    for name in ["edge-1", "edge-2", "edge-3", "edge-4", "edge-4-a"] {
        let port = if name == "edge-4" { 1 } else { port };
        client.push_str(&format!("Host {name}\n  Port {port}\n  SetEnv DEVICE={name}\n"));
    }
    client.push_str(&format!(
        "Host *\n  HostName 127.0.0.1\n  IdentityFile {dir}/user_key\n  IdentitiesOnly yes\n\
         StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n  LogLevel ERROR\n"
    ));
    fs::write(site.file("ssh_config"), client).unwrap();
    Some(running)
}

#[test]
fn many_devices_over_ssh_with_a_retry_of_temporary_failures() {
    let site = Site::start();
    let Some(_sshd) = ssh_devices(&site) else {
        say("skipped: sshd or parallel is not installed");
        return;
    };
    fs::write(site.file("hosts"), "# the site\nedge-3\nedge-1\n\nedge-2  # a shelf\nedge-4\nedge-4-a\n").unwrap();
    let mut command = bash(r#"exec "$0" hosts said"#);
    command.arg(fleet("ssh/fleet.sh")).current_dir(site.folder());
    command.env("SSH_CONFIG", site.file("ssh_config")).env("PAUSES", "0");
    let finished = run(command, b"");
    let text = finished.text();
    let log = fs::read_to_string(site.file("sshd.log")).unwrap();
    assert_eq!(finished.status, 1, "{text}{}{log}", finished.stderr);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "3 of 5 devices are well", "{text}{log}");
    assert!(lines[1].starts_with("edge-2: 77, FAILED in az-login"), "{text}");
    assert!(lines[2].starts_with("edge-4: 255, ssh: connect to host") && lines.len() == 3, "{text}");
    for bad in ["-oProxyCommand=touch${IFS}made", "../edge-1", "edge-1;touch${IFS}made"] {
        fs::write(site.file("bad"), format!("edge-1\n{bad}\n")).unwrap();
        let mut command = bash(r#"exec "$0" bad said-2"#);
        command.arg(fleet("ssh/fleet.sh")).current_dir(site.folder()).env("SSH_CONFIG", site.file("ssh_config"));
        let refused = run(command, b"");
        assert_eq!(refused.status, 2, "{bad}: {}", refused.stderr);
        assert!(refused.stderr.contains("not the name of a device") && !site.file("made").exists(), "{bad}");
    }
    let said = |name: &str| fs::read_to_string(site.file("said").join(name)).unwrap();
    assert!(said("edge-1.txt").contains("manifest.json") && said("edge-3.txt").contains("manifest.json"));
}

#[test]
fn the_documented_ssh_lines_work() {
    let site = Site::start();
    let Some(_sshd) = ssh_devices(&site) else {
        say("skipped: sshd or parallel is not installed");
        return;
    };
    let readme = fs::read_to_string(folder().join("../examples/README.md")).unwrap();
    let lines: Vec<_> = readme.lines().filter(|line| line.starts_with("parallel ")).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    fs::write(site.file("hosts"), "edge-1\nedge-2\nedge-4\n").unwrap();
    // The user's settings are in a file that ssh does not read by default.
    let ssh = bash("command -v ssh");
    let ssh = run(ssh, b"").text();
    let settings = site.file("ssh_config");
    fs::create_dir(site.file("user")).unwrap();
    fs::write(site.file("user/ssh"), format!("#!/bin/sh\nexec {} -F {} \"$@\"\n", ssh.trim(), settings.display()))
        .unwrap();
    fs::set_permissions(site.file("user/ssh"), Permissions::from_mode(0o755)).unwrap();
    let said = |line: &str| {
        let mut command = bash(&format!("PATH={}:$PATH; {line}", site.file("user").display()));
        command.current_dir(site.folder()).env("HOME", site.folder());
        run(command, b"")
    };

    let unlocked = said(lines[0]);
    assert_eq!(unlocked.status, 2, "the number of devices that failed: {}{}", unlocked.text(), unlocked.stderr);
    assert!(unlocked.text().contains("edge-1\tmanifest.json"), "{}", unlocked.text());
    assert!(unlocked.stderr.contains("edge-2\tFAILED in az-login"), "{}", unlocked.stderr);
    let log = fs::read_to_string(site.file("log")).unwrap();
    let mut ended: Vec<_> = log.lines().skip(1).map(|line| line.split('\t').nth(6).unwrap()).collect();
    ended.sort_unstable();
    assert_eq!(ended, ["0", "255", "77"], "{log}");

    let looked = said(lines[1]);
    let verdicts = looked.text();
    let told = |line: &str| line.split_whitespace().next()?.parse::<u32>().ok();
    assert_eq!(verdicts.lines().filter_map(told).sum::<u32>(), 2, "{verdicts}{}", looked.stderr);
    assert!(verdicts.contains("fail"), "{verdicts}");
}
