//! The units in `examples/systemd`: systemd accepts them without warnings, and they restart
//! exactly for the exit statuses that the README documents as worth a retry.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;
use tests::{package_dir, say};

fn unit(name: &str) -> PathBuf {
    package_dir().join("../examples/systemd").join(name)
}

/// Returns the numbers in one setting of the service.
fn numbers(setting: &str) -> BTreeSet<u8> {
    let text = fs::read_to_string(unit("az-unlock.service")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(setting)?.strip_prefix('='));
    line.unwrap().split(' ').map(|number| number.parse().unwrap()).collect()
}

#[test]
fn only_temporary_failures_are_restarted() {
    let readme = fs::read_to_string(package_dir().join("../README.md")).unwrap();
    let rows = readme.lines().filter_map(|line| {
        let cells: Vec<_> = line.strip_prefix("| ")?.split('|').map(str::trim).collect();
        Some((cells.first()?.parse::<u8>().ok()?, *cells.get(2)?))
    });
    let never: BTreeSet<_> = rows.filter(|(_, again)| *again == "no").map(|(code, _)| code).collect();
    assert!(never.len() > 8, "the table of exit status was not found");
    // And 243, systemd's status for a missing credential.
    assert_eq!(numbers("RestartPreventExitStatus"), never.into_iter().chain([243]).collect());
}

/// Creates a directory with the units as installed by the README, the drop-in, and
/// az-unlock at the path in the service.
fn installed(drop_in: Option<&str>) -> TempDir {
    let dir = TempDir::new().unwrap();
    let unlock = package_dir().join("../scripts/unlock");
    let service = fs::read_to_string(unit("az-unlock.service")).unwrap();
    let service = service.replace("/usr/bin/az-unlock", unlock.to_str().unwrap());
    fs::write(dir.path().join("az-unlock.service"), service).unwrap();
    fs::copy(unit("az-unlock.timer"), dir.path().join("az-unlock.timer")).unwrap();
    if let Some(name) = drop_in {
        let below = dir.path().join("az-unlock.service.d");
        fs::create_dir(&below).unwrap();
        fs::copy(unit("az-unlock.service.d").join(name), below.join(name)).unwrap();
    }
    dir
}

#[test]
fn systemd_accepts_the_units_with_each_drop_in() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        say("skipped: systemd-analyze is not installed");
        return;
    }
    let mut drop_ins: Vec<_> = fs::read_dir(unit("az-unlock.service.d"))
        .unwrap()
        .map(|entry| Some(entry.unwrap().file_name().into_string().unwrap()))
        .collect();
    assert_eq!(drop_ins.len(), 3);
    drop_ins.push(None);
    for drop_in in drop_ins {
        let dir = installed(drop_in.as_deref());
        let verify = Command::new("systemd-analyze")
            .args(["verify", "--man=no", "az-unlock.service", "az-unlock.timer"])
            .env("SYSTEMD_UNIT_PATH", format!("{}:", dir.path().display()))
            .current_dir(dir.path())
            .output()
            .unwrap();
        let words = String::from_utf8_lossy(&verify.stderr);
        assert!(verify.status.success() && !words.contains("az-unlock"), "{drop_in:?}: {words}");

        let security = Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager", "./az-unlock.service"])
            .current_dir(dir.path())
            .output()
            .unwrap();
        let words = String::from_utf8_lossy(&security.stdout);
        let figure =
            words.lines().find_map(|line| line.split("exposure level for az-unlock.service: ").nth(1)).unwrap();
        let readme = fs::read_to_string(package_dir().join("../examples/README.md")).unwrap();
        let quoted = format!("rates it {} (", figure.split(' ').next().unwrap());
        assert!(readme.contains(&quoted), "{drop_in:?}: {quoted} is not in examples/README.md");
    }
}

#[test]
fn the_stages_may_lock_their_memory_without_a_capability() {
    let text = fs::read_to_string(unit("az-unlock.service")).unwrap();
    let has = |line: &str| text.lines().any(|other| other == line);
    assert!(has("CapabilityBoundingSet=") && has("LimitMEMLOCK=infinity"));
}

#[test]
fn the_service_may_write_the_metrics() {
    let text = fs::read_to_string(unit("az-unlock.service.d/prometheus.conf")).unwrap();
    let setting = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    let (file, writable) = (setting("Environment=AZ_PROMETHEUS="), setting("ReadWritePaths=-"));
    assert_eq!(PathBuf::from(file).parent(), Some(writable.as_ref()));
    let rules = fs::read_to_string(unit("../fleet/prometheus/az-unlock.rules.yml")).unwrap();
    assert!(rules.contains(file), "the rules name another file than {file}");
}

/// Credentials that `systemd-creds` encrypts as described in the drop-in decrypt only with
/// the names in the service.
#[test]
fn encrypted_credentials_decrypt_only_with_their_names() {
    let dir = TempDir::new().unwrap();
    fs::create_dir(dir.path().join("state")).unwrap();
    fs::write(dir.path().join("credentials.json"), "a secret").unwrap();
    let drop_in = fs::read_to_string(unit("az-unlock.service.d/encrypted.conf")).unwrap();
    let line =
        drop_in.lines().find_map(|line| line.strip_prefix("#   ").filter(|line| line.contains("credentials.json")));
    let (seal, place) = line.unwrap().rsplit_once(' ').unwrap();
    let asked = format!("LoadCredentialEncrypted=credentials:{place}");
    assert!(drop_in.lines().any(|line| line == asked), "{asked}");
    let script = format!(
        "mount --bind state /var/lib/systemd && {seal} sealed 2>/dev/null || exit 3
        systemd-creds decrypt --name=credentials sealed - 2>/dev/null
        systemd-creds decrypt --name=fragment sealed - 2>/dev/null && exit 1
        ! grep -q 'a secret' sealed"
    );
    let ran = Command::new("unshare").args(["-rm", "sh", "-c", &script]).current_dir(dir.path()).output().unwrap();
    if ran.status.code() == Some(3) {
        say("skipped: systemd-creds cannot create a key");
        return;
    }
    assert!(ran.status.success() && ran.stdout == b"a secret", "{ran:?}");
}
