//! Sources of settings: flags, environment variables, systemd, config files.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;
use tests::{EventLines, bash, events, filter, package_dir, run, whole, write_secret};

#[test]
fn a_setting_comes_from_its_first_source() {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| -> PathBuf { dir.path().join(name) };
    for dir_name in ["systemd", "xdg/azaion", "home/.config/azaion"] {
        fs::create_dir_all(path(dir_name)).unwrap();
    }
    let mut ids = Vec::new();
    for (i, name) in ["flag", "env", "systemd/key", "xdg.key", "home.key"].into_iter().enumerate() {
        let key = loader_seal::Key::from_bytes([i as u8; 32]);
        write_secret(&path(name), key.to_text());
        ids.push(key.id().to_string());
    }
    let config = |dir_name: &str, key: &str| {
        fs::write(path(dir_name).join("azaion/config.yaml"), format!("key_file: {}\n", path(key).display())).unwrap();
    };
    config("xdg", "xdg.key");
    config("home/.config", "home.key");
    // No key opens this sealed file, so the error names the key that was used.
    type Setting = for<'c> fn(&'c mut Command, &dyn Fn(&str) -> PathBuf) -> &'c mut Command;
    let settings: [Setting; 5] = [
        |command, path| command.arg("--key-file").arg(path("flag")),
        |command, path| command.env("AZ_KEY_FILE", path("env")),
        |command, path| command.env("CREDENTIALS_DIRECTORY", path("systemd")),
        |command, path| command.env("XDG_CONFIG_HOME", path("xdg")),
        |command, path| command.env("HOME", path("home")),
    ];
    for first in 0..settings.len() {
        let mut command = filter("az-decrypt");
        command.arg(whole().path);
        for set in &settings[first..] {
            set(&mut command, &path);
        }
        let finished = run(command, b"");
        assert_eq!(finished.status, 79, "{}", finished.stderr);
        assert!(finished.stderr.contains(&format!("held {},", ids[first])), "{first}: {}", finished.stderr);
    }
    let mut command = filter("az-decrypt");
    command.arg(whole().path);
    assert_eq!(run(command, b"").code(), "config", "no key is the default");
}

/// The package installs it, and it contains only comments. Without the comment signs, each line
/// of it is a setting.
#[test]
fn the_config_file_of_the_package_is_valid() {
    let text = fs::read_to_string(package_dir().join("../scripts/dist.d/config.yaml")).unwrap();
    let settings = text.lines().filter_map(|line| line.strip_prefix("# ").filter(|line| line.contains(": /")));
    let settings: String = settings.flat_map(|line| [line, "\n"]).collect();
    assert!(settings.lines().count() > 5, "{settings}");
    for text in [text.as_str(), settings.as_str(), ""] {
        let home = TempDir::new().unwrap();
        fs::create_dir(home.path().join("azaion")).unwrap();
        fs::write(home.path().join("azaion/config.yaml"), text).unwrap();
        let mut command = filter("az-inspect");
        command.env("XDG_CONFIG_HOME", home.path()).arg(whole().path);
        let finished = run(command, b"");
        assert_eq!(finished.status, 0, "{text}: {}", finished.stderr);
    }
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let dir = TempDir::new().unwrap();
    fs::create_dir_all(dir.path().join("azaion")).unwrap();
    write_secret(&dir.path().join("key"), &whole().key);
    let config = format!("key_file: {}\nthreads: 2\n", dir.path().join("key").display());
    fs::write(dir.path().join("azaion/config.yaml"), config).unwrap();
    let variables =
        ["AZ_EVENTS", "AZ_EVENTS_FILE", "AZ_KEY_FILE", "AZ_RUN", "AZ_RUN_DIR", "AZ_THREADS", "SOURCE_DATE_EPOCH"];
    let mut command = filter("az-decrypt");
    command.arg("--verify-only").arg(whole().path).env("XDG_CONFIG_HOME", dir.path());
    command.envs(variables.map(|name| (name, "")));
    let finished = run(command, b"");
    assert_eq!(finished.status, 0, "{}", finished.stderr);

    let mut command = filter("az-login");
    let variables = ["AZ_API_URL", "AZ_CA_FILE", "AZ_CREDENTIALS_FILE", "AZ_INSECURE_HTTP", "AZ_RETRIES"];
    command.envs(variables.map(|name| (name, "")));
    assert_eq!(run(command, b"").code(), "config", "what is missing is the credentials");
    let mut command = filter("az-status");
    command.env("AZ_RUN", "").env("AZ_LOG_DIR", "").env("AZ_STATUS_FILE", "");
    let events =
        "{\"v\":1,\"ts\":\"2023-11-14T22:13:20.000Z\",\"run\":\"test\",\"stage\":\"az-x\",\"state\":\"ready\"}\n";
    let finished = run(command, events.as_bytes());
    assert_eq!(finished.status, 0, "{}", finished.stderr);
}

#[test]
fn the_key_setting_is_ignored_for_splitting_and_inspecting() {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::create_dir_all(path("azaion")).unwrap();
    let other = loader_seal::Key::from_bytes([7; 32]);
    write_secret(&path("key"), other.to_text());
    fs::write(path("azaion/config.yaml"), format!("key_file: {}\n", path("key").display())).unwrap();
    let settings = [("AZ_KEY_FILE", path("key")), ("CREDENTIALS_DIRECTORY", path("")), ("XDG_CONFIG_HOME", path(""))];
    for (name, value) in settings {
        let mut command = bash("az-split | az-join");
        command.env(name, &value);
        let finished = run(command, whole().key.as_bytes());
        assert_eq!((finished.status, finished.text().trim()), (0, whole().key.trim()), "{name}: {}", finished.stderr);
        let mut command = filter("az-inspect");
        command.arg(whole().path).env(name, &value);
        let finished = run(command, b"");
        assert_eq!(finished.status, 0, "{name}: {}", finished.stderr);
        assert!(finished.text().starts_with("{\"verified\":false,"), "{}", finished.text());
    }
    let mut command = filter("az-inspect");
    command.args(["--key-file", "key"]).arg(whole().path).current_dir(dir.path());
    assert_eq!(run(command, b"").status, 79);
}

#[test]
fn event_lines_have_a_run_id_and_a_time() {
    let inspect = |run_name: &str| {
        let mut command = filter("az-inspect");
        command.arg(whole().path).env_remove("SOURCE_DATE_EPOCH").env("AZ_RUN", run_name);
        run(command, b"")
    };
    let finished = inspect("");
    let events = finished.events();
    events::check_run(&events);
    let runs: Vec<_> = events.0.iter().map(|line| line["run"].as_str().unwrap()).collect();
    assert!(runs[0].len() == 8 && runs.iter().all(|run| *run == runs[0]), "{runs:?}");
    assert!(events.0.iter().all(|line| line["pid"].is_u64()));
    assert_eq!(inspect("two words").status, 78);
    assert_eq!(inspect(&"x".repeat(65)).status, 78);
}
