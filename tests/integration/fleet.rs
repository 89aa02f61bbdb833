//! `examples/fleet`: the Ansible role, the Kubernetes manifest, the ssh lines and the
//! alerts, each run with its own tool.

mod ssh;

use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tests::site::{Site, has_engine};
use tests::{Finished, bash, package_dir, run, say};

fn fleet(name: &str) -> PathBuf {
    package_dir().join("../examples/fleet").join(name).canonicalize().unwrap()
}

/// Returns the path of a program in the tests' Python environment. If it is missing, prints
/// that and returns `None`.
fn python_tool(name: &str) -> Option<PathBuf> {
    let python = std::env::var_os("AZ_TEST_PYTHON")
        .map_or_else(|| package_dir().join("../target/venv/bin/python"), PathBuf::from);
    let tool = python.with_file_name(name);
    if tool.is_file() {
        return Some(tool);
    }
    say(&format!("skipped: {name} is not there; scripts/test installs it"));
    None
}

fn at_site(site: &Site, script: &str) -> String {
    let mut command = bash(script);
    site.configure(&mut command);
    command.current_dir(site.root()).env("AZ_EVENTS", "off");
    let finished = run(command, b"");
    assert_eq!(finished.status, 0, "{script}: {}", finished.stderr);
    finished.text()
}

/// Runs the lines of "At boot" in `examples/README.md` below a temporary directory, and
/// returns that directory.
fn at_boot(site: &Site) -> PathBuf {
    let page = fs::read_to_string(package_dir().join("../examples/README.md")).unwrap();
    let lines = page.split("## At boot").nth(1).unwrap().split("```").nth(1).unwrap().strip_prefix("sh\n").unwrap();
    let root = site.path("root");
    let lines = ["usr", "etc", "opt"].iter().fold(lines.to_owned(), |lines, name| {
        lines.replace(&format!(" /{name}/"), &format!(" {}/{name}/", root.display()))
    });
    let lines = lines.replace("https://api.example.com", site.server().api_url());
    for name in ["scripts", "examples"] {
        std::os::unix::fs::symlink(package_dir().join("..").join(name).canonicalize().unwrap(), site.path(name))
            .unwrap();
    }
    for name in ["usr/bin", "etc/systemd/system"] {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    at_site(site, &format!("set -e; umask 022; systemctl() {{ :; }}\n{lines}"));
    root
}

const HOSTS: [&str; 3] = ["edge-1", "edge-2", "edge-3"];
/// Device with a simulated systemd and another archive path.
const SYSTEMD: &str = HOSTS[1];

/// Returns the path of the sealed archive on the device.
fn archive(host: &str) -> &'static str {
    if host == SYSTEMD { "/opt/other/app 1%.enc" } else { "/opt/azaion/images.enc" }
}

/// Devices simulated on this machine, each below its own directory.
struct Devices<'s> {
    site: &'s Site,
    ansible: PathBuf,
    /// True if one device loads into the engine of this machine.
    engine: bool,
}

/// Result of a playbook on one device.
struct Recap {
    changed: u64,
    failed: u64,
}

impl<'s> Devices<'s> {
    fn new(site: &'s Site, ansible: PathBuf) -> Self {
        // A release in the layout of scripts/dist.d/package.
        at_site(
            site,
            r#"mkdir -p rel/loader/{bin,lib/systemd/system,share/doc/azaion-loader} && for name in login fetch join decrypt load status inspect doctor cdn-creds rekey; do
                strip -o rel/loader/bin/az-$name "$(command -v az-$name)" || cp "$(command -v az-$name)" rel/loader/bin/
            done"#,
        );
        for name in ["az-unlock.service", "az-unlock.timer"] {
            let unit = fs::read_to_string(package_dir().join("../examples/systemd").join(name)).unwrap();
            let place = site.path("rel/loader/lib/systemd/system").join(name);
            fs::write(place, unit.replace("/usr/bin/", "/usr/local/bin/")).unwrap();
        }
        fs::copy(package_dir().join("../scripts/unlock"), site.path("rel/loader/bin/az-unlock")).unwrap();
        at_site(site, "tar -C rel -cf release.tar loader && rm -r rel");
        at_site(
            site,
            "umask 077; openssl genpkey -algorithm ed25519 -out publisher.key; openssl pkey -in publisher.key -pubout -out publisher.pem
            az-encrypt --segment 4K --key-file key --sign-key-file publisher.key --release 1 -o images.enc images.tar",
        );
        for host in HOSTS {
            for dir in ["usr/local", "etc/systemd/system", "run", "var/cache", "opt"] {
                fs::create_dir_all(site.path("devices").join(host).join(dir)).unwrap();
            }
            fs::create_dir_all(site.path("credentials")).unwrap();
            fs::create_dir_all(site.path("fragments")).unwrap();
            fs::copy(site.path("credentials.json"), site.path(&format!("credentials/{host}.json"))).unwrap();
            fs::copy(site.path("device.frag"), site.path(&format!("fragments/{host}.frag"))).unwrap();
        }
        let devices = Self { site, ansible, engine: has_engine() };
        let systemctl = include_str!("fleet/systemctl").replace("ROOT", devices.root(SYSTEMD).to_str().unwrap());
        tests::write_program(&site.path("bin/systemctl"), systemctl);
        devices.inventory(site.server().api_url());
        devices
    }

    fn root(&self, host: &str) -> PathBuf {
        self.site.path("devices").join(host)
    }

    fn inventory(&self, api: &str) {
        let (site, of) = (self.site, |name: &str| self.site.path(name).to_str().unwrap().to_owned());
        let images = |host: &str| self.root(host).join("opt/azaion").to_str().unwrap().to_owned();
        let host = |host: &str| match self.engine && host == HOSTS[0] {
            true => json!({}),
            false => json!({
                "az_loader_systemd": host == SYSTEMD,
                "az_loader_archive_path": archive(host),
                "az_loader_sink": format!("tar -x -C {}", images(host)),
                "az_loader_present": format!("test -e {}/manifest.json", images(host)),
            }),
        };
        let inventory = json!({ "devices": {
            "hosts": HOSTS.iter().map(|name| ((*name).to_owned(), host(name))).collect::<serde_json::Map<_, _>>(),
            "vars": {
                "ansible_connection": "local",
                "ansible_python_interpreter": self.ansible.with_file_name("python"),
                "az_loader_root": of("devices/{{ inventory_hostname }}"),
                "az_loader_systemd": false,
                "az_loader_release": of("release.tar"),
                "az_loader_archive": of("images.enc"),
                "az_loader_credentials": of("credentials/{{ inventory_hostname }}.json"),
                "az_loader_fragment": of("fragments/{{ inventory_hostname }}.frag"),
                "az_loader_publisher_keys": of("publisher.pem"),
                "az_loader_collected": of("collected"),
                "az_loader_config": { "api_url": api, "hwid_file": site.path("hwid"), "retries": 0 },
                "az_loader_models": ["models/yolo.onnx"],
            },
        }});
        site.secret("inventory.json", inventory.to_string());
    }

    fn play(&self, book: &str, args: &[&str]) -> Finished {
        let mut command = Command::new(&self.ansible);
        command.args(["-i", self.site.path("inventory.json").to_str().unwrap()]).args(args).arg(book);
        // All hosts at the same time: this keyword of a play cannot use inventory variables.
        command.args(["-e", "az_loader_serial=3"]);
        command.current_dir(fleet("ansible")).env_clear().env("HOME", self.site.root());
        command.env("PATH", format!("{}:/usr/bin:/bin", self.site.path("bin").display()));
        command.env("LC_ALL", "C.UTF-8").env("ANSIBLE_CONFIG", fleet("ansible/ansible.cfg"));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        run(command, b"")
    }

    /// Runs the playbook `book` on `hosts` and returns the result for each.
    #[track_caller]
    fn recap(&self, book: &str, hosts: &[&str], args: &[&str], status: i32) -> (Vec<Recap>, String) {
        let played = self.play(book, &[&["--limit", &hosts.join(",")], args].concat());
        let text = played.text();
        assert_eq!(played.status, status, "{text}{}", played.stderr);
        let number = |line: &str, name: &str| -> u64 {
            let value = line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            value.unwrap().parse().unwrap()
        };
        let of = |host: &&str| {
            let line = text.lines().rfind(|line| line.starts_with(*host) && line.contains("changed="));
            let line = line.unwrap_or_else(|| panic!("{host} was not played: {text}{}", played.stderr));
            Recap { changed: number(line, "changed"), failed: number(line, "failed") }
        };
        (hosts.iter().map(of).collect(), text)
    }

    fn model_is(&self, host: &str, key: &str, plain: &str) -> bool {
        let sealed = self.root(host).join("opt/azaion/models/models/yolo.onnx");
        at_site(self.site, &format!("az-decrypt --key-file {key} {} | cmp - {plain} && echo same", sealed.display()))
            == "same\n"
    }
}

fn snapshot(dir: &Path) -> String {
    let mut command = bash("find . -type f -exec sha256sum {} + | sort; find . -type d | sort");
    command.current_dir(dir);
    run(command, b"").text()
}

#[test]
fn ansible_lint_reports_nothing() {
    let Some(lint) = python_tool("ansible-lint") else { return };
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(&lint);
    command.args(["--offline", "-q", "--profile", "production", "site.yml", "rotate.yml", "roles"]);
    command.current_dir(fleet("ansible")).env_clear().env("HOME", home.path()).env("LC_ALL", "C.UTF-8");
    command.env("PATH", format!("{}:/usr/bin:/bin", lint.parent().unwrap().display()));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let finished = run(command, b"");
    assert_eq!((finished.status, finished.text().as_str()), (0, ""), "{}", finished.stderr);
}

#[test]
fn the_role_installs_unlocks_updates_and_rotates() {
    let Some(ansible) = python_tool("ansible-playbook") else { return };
    let site = Site::start();
    let devices = Devices::new(&site, ansible);

    // --check reports changes without making them.
    let before = snapshot(&site.path("devices"));
    let (recap, _) = devices.recap("site.yml", &HOSTS[..2], &["--check"], 0);
    assert!(recap.iter().all(|host| host.changed > 3 && host.failed == 0));
    fs::remove_file(devices.root(SYSTEMD).join("systemctl.log")).unwrap();
    assert_eq!(snapshot(&site.path("devices")), before);

    let (recap, _) = devices.recap("site.yml", &HOSTS, &[], 0);
    assert!(recap.iter().all(|host| host.changed > 3));
    for host in HOSTS {
        let root = devices.root(host);
        let state: Value =
            serde_json::from_slice(&fs::read(site.path(&format!("collected/{host}.json"))).unwrap()).unwrap();
        assert_eq!(state["state"], "ready", "{state}");
        assert!(state["verdict"].as_str().unwrap().contains("signed by"), "{state}");
        assert!(devices.model_is(host, "key", "model"), "{host}: other bytes");
        let config = fs::read_to_string(root.join("etc/azaion/config.yaml")).unwrap();
        let line = format!("credentials_file: {}/etc/azaion/credentials.json\n", root.display());
        assert!(config.contains(&line), "no filter finds its credentials by hand: {config}");
        for file in ["credentials.json", "device.frag"] {
            assert_eq!(fs::metadata(root.join("etc/azaion").join(file)).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(root.join("opt/azaion/manifest.json").is_file(), !(devices.engine && host == HOSTS[0]));
        let unit = fs::read_to_string(root.join("usr/local/lib/systemd/system/az-unlock.service")).unwrap();
        let program = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/")?.split(' ').next());
        assert!(root.join(program.unwrap()).is_file(), "{program:?} is not where the unit looks for it");
        let left: Vec<_> =
            fs::read_dir(root.join("run/azaion")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("models.")), "{left:?}");
    }
    if devices.engine {
        for tag in site.tags() {
            let removed = Command::new("docker").args(["image", "inspect", tag]).output().unwrap();
            assert!(removed.status.success(), "{tag} was not there");
        }
    }
    let asked = fs::read_to_string(devices.root(SYSTEMD).join("systemctl.log")).unwrap();
    let asked: Vec<_> = asked.lines().filter(|line| !line.starts_with("show") && !line.starts_with("is-")).collect();
    assert_eq!(
        asked,
        [
            "daemon-reload",
            "enable az-unlock.service",
            "enable az-unlock.timer",
            "start az-unlock.timer",
            "start az-unlock.service"
        ]
    );
    let (recap, text) = devices.recap("site.yml", &HOSTS, &[], 0);
    assert!(recap.iter().all(|host| host.changed == 0), "the second run changes something: {text}");
    failed_unlock(&devices);

    // Another release of the model, and a device whose login is refused.
    at_site(
        &site,
        "head -c 5000 model > model-2 && az-encrypt --key-file key model-2 | az-split --parts two --name models/yolo.onnx > receipt",
    );
    let resource = [fs::read(site.path("receipt")).unwrap(), fs::read(site.path("two.small")).unwrap()].concat();
    fs::copy(site.path("two.big"), site.server().objects_dir().join("models/yolo.onnx.big")).unwrap();
    fs::write(site.server().resources_dir().join("models/yolo.onnx"), resource).unwrap();
    fs::copy(site.path("wrong.json"), site.path("credentials/edge-2.json")).unwrap();
    let (recap, text) = devices.recap("site.yml", &HOSTS[..2], &[], 2);
    assert!(recap[1].failed == 1 && text.contains("login refused for operator@example.com"), "{text}");
    assert_eq!((recap[0].changed, recap[0].failed), (1, 0), "{text}");
    assert!(devices.model_is(HOSTS[0], "key", "model-2"), "not the new release");
    fs::copy(site.path("credentials.json"), site.path("credentials/edge-2.json")).unwrap();
    fs::copy(site.path("credentials.json"), devices.root("edge-2").join("etc/azaion/credentials.json")).unwrap();

    rotate(&devices);
    if devices.engine {
        let removed = Command::new("docker").args(["image", "rm"]).args(site.tags()).output().unwrap();
        assert!(removed.status.success(), "{removed:?}");
    }
}

/// A device that passes az-doctor but whose unlock fails: its state is collected too.
fn failed_unlock(devices: &Devices<'_>) {
    for host in [SYSTEMD, HOSTS[2]] {
        let root = devices.root(host);
        let sealed = PathBuf::from(format!("{}{}", root.display(), archive(host)));
        let whole = fs::read(&sealed).unwrap();
        let mut damaged = whole.clone();
        damaged[whole.len() / 2] ^= 1;
        fs::write(&sealed, damaged).unwrap();
        fs::remove_file(root.join("opt/azaion/manifest.json")).unwrap();
        let (recap, text) = devices.recap("site.yml", &[host], &[], 2);
        assert!(recap[0].failed == 1 && text.contains("Collect what az-status said"), "{text}");
        let state: Value =
            serde_json::from_slice(&fs::read(devices.site.path(&format!("collected/{host}.json"))).unwrap()).unwrap();
        assert_eq!((&state["state"], &state["exit"]), (&json!("error"), &json!(65)), "{state}");
        fs::write(&sealed, whole).unwrap();
        devices.recap("site.yml", &[host], &[], 0);
    }
}

#[test]
fn the_lines_of_at_boot_install_the_files_of_the_unit() {
    let site = Site::start();
    let root = at_boot(&site);
    let unit = fs::read_to_string(root.join("etc/systemd/system/az-unlock.service")).unwrap();
    let setting = |name: &str| -> Vec<_> { unit.lines().filter_map(|line| line.strip_prefix(name)).collect() };
    let mut paths = setting("ConditionPathExists=/");
    paths.extend(setting("LoadCredential=").iter().map(|line| line.split_once(":/").unwrap().1));
    paths.extend(setting("ExecStart=/").iter().map(|line| line.split(' ').next().unwrap()));
    assert_eq!(paths.len(), 4, "{unit}");
    for path in paths {
        assert!(root.join(path).is_file(), "/{path} is not there");
    }
}

/// The example inventory uses existing settings and the file names of this release.
#[test]
fn the_example_inventory_matches_the_role_and_the_release() {
    let inventory = fs::read_to_string(fleet("ansible/inventory.example.yml")).unwrap();
    let defaults = fs::read_to_string(fleet("ansible/roles/az_loader/defaults/main.yml")).unwrap();
    let settings: Vec<_> = inventory
        .lines()
        .filter_map(|line| line.trim().split_once(':').filter(|(name, _)| name.starts_with("az_")))
        .collect();
    assert!(settings.len() >= 3, "{inventory}");
    for (name, value) in settings {
        assert!(defaults.lines().any(|line| line.starts_with(&format!("{name}:"))), "{name} is no setting");
        if name == "az_loader_release" {
            let tarball = format!("release/azaion-loader-{}-aarch64-linux-musl.tar.gz", env!("CARGO_PKG_VERSION"));
            assert_eq!(value.trim(), tarball);
        }
    }
}

/// Rotates a key: adds the new key, switches the server, drops the old key.
fn rotate(devices: &Devices<'_>) {
    let site = devices.site;
    let id = |file: &str| {
        let line = format!("az-encrypt --key-file {file} < /dev/null | az-inspect");
        let header: Value = serde_json::from_str(&at_site(site, &line)).unwrap();
        header["key_slots"][0].as_str().unwrap().to_owned()
    };
    at_site(site, "mkdir new && az-split --new-key --output-dir new && az-join new/*.frag -o new.key");
    let (old, new) = (id("key"), id("new.key"));
    let add =
        json!({ "az_loader_new_key_id": new, "az_loader_new_key": fs::read_to_string(site.path("new.key")).unwrap() });
    site.secret("add.json", add.to_string());
    let add = format!("@{}", site.path("add.json").display());
    let (recap, text) = devices.recap("rotate.yml", &HOSTS, &["-e", &add], 0);
    assert!(recap.iter().all(|host| host.changed == 1), "{text}");
    assert!(!text.contains("AZ-SECRET-KEY-1"), "{text}");
    let (recap, _) = devices.recap("rotate.yml", &HOSTS, &["-e", &add], 0);
    assert!(recap.iter().all(|host| host.changed == 0), "it was added twice");

    let server = site.server_with(&fs::read_to_string(site.path("new/fragment-1-of-2.frag")).unwrap());
    for host in HOSTS {
        fs::copy(site.path("new/fragment-2-of-2.frag"), site.path(&format!("fragments/{host}.frag"))).unwrap();
        let config = devices.root(host).join("etc/azaion/config.yaml");
        let text = fs::read_to_string(&config).unwrap();
        fs::write(config, text.replace(site.server().api_url(), server.api_url())).unwrap();
    }
    let drop = format!("az_loader_drop_key_id={old}");
    let (recap, text) = devices.recap("rotate.yml", &HOSTS, &["-e", &drop], 0);
    assert!(recap.iter().all(|host| host.changed == 2), "{text}");
    for host in HOSTS {
        let archive = format!("{}{}", devices.root(host).display(), archive(host));
        let slots = at_site(site, &format!("az-inspect --key-file new.key '{archive}'"));
        assert!(slots.contains(&new) && !slots.contains(&old), "{slots}");
    }
}

#[test]
fn the_manifest_is_valid_and_its_command_unlocks() {
    let Some(validate) = python_tool("kubernetes-validate") else { return };
    let manifest = fleet("kubernetes/az-unlock.yaml");
    let secret = fleet("kubernetes/az-unlock.secret.example.yaml");
    let output = Command::new(&validate).arg("--strict").args([&manifest, &secret]).output().unwrap();
    let words = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && words.matches(" passed ").count() == 4, "{words}");
    let text = fs::read_to_string(&manifest).unwrap();
    assert!(!text.contains("kind: Secret"), "applying the manifest again would put an example over the credentials");
    // An invalid manifest is refused.
    let site = Site::start();
    fs::write(site.path("wrong.yaml"), text.replace("imagePullPolicy", "imagePullPolice")).unwrap();
    assert!(!Command::new(&validate).arg("--strict").arg(site.path("wrong.yaml")).output().unwrap().status.success());

    // Runs the container's command with its environment, without its long pauses.
    let script = "import yaml, json, sys; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))[-1]))";
    let output = Command::new(validate.with_file_name("python")).args(["-c", script]).arg(&manifest).output().unwrap();
    let set: Value = serde_json::from_slice(&output.stdout).unwrap();
    let container = &set["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["command"], json!(["/bin/bash", "-c"]));
    let args = container["args"][0].as_str().unwrap();
    assert!(args.contains("/run/azaion/status.json"));
    let args = args.replace("/run/azaion/status.json", site.path("status.json").to_str().unwrap());
    let unlock = package_dir().join("../scripts/unlock");
    let mut command = bash(&format!("az-unlock() {{ {} \"$@\"; }}; sleep() {{ :; }}; {args}", unlock.display()));
    site.configure(&mut command);
    for variable in container["env"].as_array().unwrap() {
        command.env(variable["name"].as_str().unwrap(), variable["value"].as_str().unwrap());
    }
    // Files from the volumes.
    command.env("AZ_CREDENTIALS_FILE", site.path("credentials.json")).env("AZ_FRAGMENT_FILE", site.path("device.frag"));
    command.env("AZ_ARCHIVE", site.path("images.enc")).env("RUNTIME_DIRECTORY", site.path("run"));
    command.env("SINK", "tar t");
    let finished = run(command, b"");
    assert_eq!(finished.status, 0, "{}", finished.stderr);
    assert!(finished.text().contains("manifest.json"), "{}", finished.text());
}

#[test]
fn the_alerts_fire_and_the_metrics_are_well_formed() {
    if Command::new("promtool").arg("--version").output().is_err() {
        say("skipped: promtool is not installed");
        return;
    }
    let mut test = Command::new("promtool");
    test.args(["test", "rules", "az-unlock.test.yml"]).current_dir(fleet("prometheus"));
    let output = test.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let site = Site::start();
    let metrics = at_site(
        &site,
        "az-status --prometheus metrics -- az-login --credentials-file wrong.json >/dev/null; promtool check metrics < metrics && cat metrics",
    );
    assert!(metrics.contains("az_unlock_exit_code 77"), "{metrics}");
}
