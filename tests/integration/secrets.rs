//! Permissions of secret files and of replaced files.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tests::{EventLines, Finished, bash, file_names, filter, run, say, set_mode, whole, write_secret};

/// A user other than the one that runs the tests.
const OTHER: u32 = 12345;

/// Creates a directory with mode 0755, in which other users can reach a secret.
fn open_dir() -> TempDir {
    let dir = TempDir::new().unwrap();
    set_mode(dir.path(), 0o755);
    dir
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        say("skipped: only root can create files of another user");
    }
    is_root
}

fn sh(dir: &Path, script: &str) -> Finished {
    let mut command = bash(script);
    command.current_dir(dir);
    run(command, b"")
}

fn refused(finished: &Finished, status: i32, parts: &[&str]) {
    assert_eq!((finished.status, finished.stdout.len()), (status, 0), "{}", finished.stderr);
    for part in parts {
        assert!(finished.stderr.contains(part), "{part}: {}", finished.stderr);
    }
}

#[test]
fn a_secret_is_not_written_to_a_file_that_others_may_have_opened() {
    let dir = open_dir();
    let written = |script: &str| {
        let _ = fs::remove_file(dir.path().join("out"));
        let finished = sh(dir.path(), script);
        (fs::read(dir.path().join("out")).unwrap(), finished)
    };
    for before in ["umask 022", "umask 077; touch out; chmod 640 out", "umask 077; touch out; chmod 604 out"] {
        for line in ["az-split --new-key", "echo raw | az-join --raw-sha256"] {
            for to in ["> out", ">> out", "1<> out"] {
                let (out, finished) = written(&format!("{before}; {line} {to}"));
                refused(&finished, 78, &["another user may have opened", "use -o FILE, or run umask 077"]);
                assert_eq!(out, b"", "{before}; {line} {to}");
            }
        }
    }
    // The file was removed or has no name: it may have been opened by others.
    let removed = sh(dir.path(), "umask 022; exec 5<> gone; rm gone; az-split --new-key >&5; wc -c < /dev/fd/5");
    assert!(removed.stderr.contains("another user may have opened"), "{}", removed.stderr);
    assert_eq!(removed.text().trim(), "0");

    for line in ["umask 077; az-split --new-key > out", "umask 022; az-split --new-key --insecure-perms > out"] {
        let (out, finished) = written(line);
        assert_eq!((finished.status, mode(&dir.path().join("out"))), (0, 0o600), "{line}: {}", finished.stderr);
        assert!(out.starts_with(b"AZ-FRAG-1"));
    }
    for (line, status) in [("az-split --new-key | cat", 0), ("az-split --new-key > /dev/null", 0)] {
        assert_eq!(sh(dir.path(), &format!("umask 022; {line}")).status, status, "{line}");
    }
    // Sealed bytes are not secret.
    write_secret(&dir.path().join("key"), &whole().key);
    let sealed = sh(dir.path(), "umask 022; az-encrypt --key-file key key > sealed");
    assert_eq!((sealed.status, mode(&dir.path().join("sealed"))), (0, 0o644), "{}", sealed.stderr);
}

#[test]
fn a_private_directory_protects_a_redirected_file() {
    let dir = open_dir();
    let inner = dir.path().join("closed/inner");
    fs::create_dir_all(&inner).unwrap();
    for (outer, expected) in [(0o700, 0), (0o711, 78), (0o755, 78), (0o710, 78), (0o701, 78), (0o744, 0)] {
        set_mode(&dir.path().join("closed"), outer);
        let finished = sh(&inner, "umask 022; az-split --new-key > out; status=$?; chmod 600 out; exit $status");
        assert_eq!(finished.status, expected, "{outer:o}: {}", finished.stderr);
        fs::remove_file(inner.join("out")).unwrap();
    }
}

#[test]
fn a_private_directory_does_not_protect_a_file_with_another_name() {
    let dir = open_dir();
    let closed = dir.path().join("closed");
    fs::create_dir(&closed).unwrap();
    set_mode(&closed, 0o700);
    let finished = sh(dir.path(), "umask 022; touch out; ln out closed/out; az-split --new-key > closed/out");
    refused(&finished, 78, &["another user may have opened"]);
    let finished = sh(dir.path(), "rm out; az-split --new-key > closed/out");
    assert_eq!(finished.status, 0, "{}", finished.stderr);
}

#[test]
fn a_fifo_that_others_can_read_is_refused_for_a_secret() {
    let dir = open_dir();
    let script = |mode| {
        format!("mkfifo -m {mode} fifo; exec 5<> fifo; timeout 20 az-split --new-key > fifo; s=$?; rm fifo; exit $s")
    };
    refused(&sh(dir.path(), &script("644")), 78, &["another user may have opened"]);
    assert_eq!(sh(dir.path(), &script("600")).status, 0);
    // The same for reading.
    for (mode, args, expected) in [("644", "", 78), ("600", "", 0), ("644", "--insecure-perms", 0)] {
        let script = format!(
            "mkfifo -m {mode} fifo; echo raw > fifo & az-join --raw-sha256 {args} fifo; s=$?; rm fifo; exit $s"
        );
        let finished = sh(dir.path(), &script);
        assert_eq!(finished.status, expected, "{mode}: {}", finished.stderr);
        assert_eq!(finished.stderr.contains("fifo: the fragment can be read by group or others"), expected == 78);
    }
}

/// Reads the secret at `path` as a key file.
fn reads(path: &Path, args: &[&str]) -> Finished {
    let mut command = filter("az-inspect");
    command.arg("--key-file").arg(path).args(args).arg(whole().path);
    run(command, b"")
}

fn secret_in(dir: &Path) -> PathBuf {
    let path = dir.join("key");
    write_secret(&path, &whole().key);
    path
}

#[test]
fn a_secret_in_a_directory_that_others_can_change_is_refused() {
    let outer = open_dir();
    let dir = outer.path().join("dir");
    fs::create_dir(&dir).unwrap();
    let key = secret_in(&dir);
    for (own, above, expected) in [
        (0o700, 0o755, 0),
        (0o755, 0o755, 0),
        (0o775, 0o755, 78),
        (0o757, 0o755, 78),
        (0o1777, 0o755, 78),
        (0o700, 0o775, 78),
        (0o700, 0o757, 78),
        (0o700, 0o1777, 0),
        (0o777, 0o700, 0),
        (0o777, 0o710, 78),
    ] {
        set_mode(&dir, own);
        set_mode(outer.path(), above);
        let (finished, insisted) = (reads(&key, &[]), reads(&key, &["--insecure-perms"]));
        assert_eq!((finished.status, insisted.status), (expected, 0), "{own:o} {above:o}: {}", finished.stderr);
        if expected == 78 {
            refused(&finished, 78, &["can be replaced by other users", "chmod go-w", "--insecure-perms"]);
        }
        // For a symlink, both its own directory and the directory of its target are checked.
        let (elsewhere, link) = (open_dir(), dir.join("link"));
        symlink(&key, elsewhere.path().join("link")).unwrap();
        assert_eq!(reads(&elsewhere.path().join("link"), &[]).status, expected, "{own:o} {above:o}");
        symlink(secret_in(elsewhere.path()), &link).unwrap();
        assert_eq!(reads(&link, &[]).status, expected, "{own:o} {above:o}");
        fs::remove_file(&link).unwrap();
        let redirected = sh(&dir, &format!("az-inspect --key-file - {} < key", whole().path.display()));
        assert_eq!(redirected.status, expected, "{own:o} {above:o}: {}", redirected.stderr);
    }
}

#[test]
fn a_secret_or_a_directory_of_another_user_is_refused() {
    if !is_root() {
        return;
    }
    let dir = open_dir();
    let key = secret_in(dir.path());
    chown(&key, Some(OTHER), None).unwrap();
    refused(&reads(&key, &[]), 78, &["key: the key belongs to another user", "--insecure-perms"]);
    chown(&key, Some(0), None).unwrap();
    assert_eq!(reads(&key, &[]).status, 0);
    chown(dir.path(), Some(OTHER), None).unwrap();
    refused(&reads(&key, &[]), 78, &["can be replaced by other users"]);
    // Another user may read root's files if root permits it: the owner is trusted, and the
    // kernel checks the mode.
    let file = dir.path().join("out");
    fs::write(&file, "").unwrap();
    set_mode(&file, 0o600);
    chown(&file, Some(OTHER), None).unwrap();
    set_mode(dir.path(), 0o755);
    refused(&sh(dir.path(), "az-split --new-key > out"), 78, &["another user may have opened"]);
    // The owner can remove the file while it is checked.
    let read_removed = |owner| {
        chown(secret_in(dir.path()), Some(owner), None).unwrap();
        sh(dir.path(), &format!("exec 5< key; rm key; az-inspect --key-fd 5 {}", whole().path.display()))
    };
    refused(&read_removed(OTHER), 78, &["file descriptor 5: the key belongs to another user"]);
    assert_eq!(read_removed(0).status, 0);
}

#[test]
fn devices_that_others_can_read_are_refused_for_a_secret() {
    refused(&reads(Path::new("/dev/zero"), &[]), 78, &["/dev/zero: the key can be read by group or others"]);
    refused(&reads(Path::new("/dev/null"), &[]), 65, &["no_input"]);
    let dir = open_dir();
    refused(&sh(dir.path(), "az-split --new-key > /dev/urandom"), 78, &["other users can read from the device"]);
    for (device, expected) in [("/dev/null", 0), ("/dev/zero", 0), ("/dev/full", 74)] {
        let finished = sh(dir.path(), &format!("az-split --new-key > {device}"));
        assert_eq!(finished.status, expected, "{device}: {}", finished.stderr);
    }
}

#[test]
fn only_files_in_the_credentials_directory_may_show_an_acl_as_group_bits() {
    let (dir, credentials) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let outside = secret_in(dir.path());
    let inside = secret_in(credentials.path());
    set_mode(&outside, 0o640);
    set_mode(&inside, 0o440);
    symlink(&outside, credentials.path().join("link")).unwrap();
    let reads = |path: &Path, directory: &Path| {
        let mut command = filter("az-inspect");
        command.env("CREDENTIALS_DIRECTORY", directory).arg("--key-file").arg(path).arg(whole().path);
        run(command, b"").status
    };
    let through = |way: &str| credentials.path().join(way).join(dir.path().file_name().unwrap()).join("key");
    assert_eq!(reads(&inside, credentials.path()), 0);
    assert_eq!(reads(&through(".."), credentials.path()), 78);
    assert_eq!(reads(&credentials.path().join("link"), credentials.path()), 78);
    assert_eq!(reads(&inside, &credentials.path().join("../none")), 78);
    set_mode(&inside, 0o444);
    assert_eq!(reads(&inside, credentials.path()), 78, "others are no access control list");
}

/// Runs az-inspect with `-o out` in `dir`. Its output is not secret.
fn inspects_to(dir: &Path, out: &str) -> Finished {
    let mut command = filter("az-inspect");
    command.current_dir(dir).args(["-o", out]).arg(whole().path);
    run(command, b"")
}

fn splits_to(dir: &Path, out: &str) -> Finished {
    let mut command = filter("az-split");
    command.current_dir(dir).args(["--new-key", "--force", "-o", out]);
    run(command, b"")
}

#[test]
fn a_file_that_is_replaced_keeps_its_mode_unless_it_is_secret() {
    let dir = open_dir();
    let out = dir.path().join("out");
    assert_eq!((inspects_to(dir.path(), "out").status, mode(&out)), (0, 0o600), "a new file");
    for kept in [0o640, 0o644, 0o604, 0o400, 0o755] {
        set_mode(&out, kept);
        let before = fs::metadata(&out).unwrap().ino();
        assert_eq!((inspects_to(dir.path(), "out").status, mode(&out)), (0, kept));
        assert_ne!(fs::metadata(&out).unwrap().ino(), before, "replaced, not written into");
    }
    set_mode(&out, 0o4755);
    assert_eq!((inspects_to(dir.path(), "out").status, mode(&out)), (0, 0o755));
    assert_eq!((splits_to(dir.path(), "out").status, mode(&out)), (0, 0o600));
    assert_eq!(file_names(dir.path()), ["out"]);
}

#[test]
fn a_file_that_is_replaced_keeps_its_owner_unless_it_is_secret() {
    if !is_root() {
        return;
    }
    let dir = open_dir();
    let out = dir.path().join("out");
    let owner =
        || fs::metadata(&out).map(|metadata| (metadata.uid(), metadata.gid(), metadata.mode() & 0o777)).unwrap();
    let put = || {
        let _ = fs::remove_file(&out);
        fs::write(&out, "old").unwrap();
        set_mode(&out, 0o640);
        chown(&out, Some(OTHER), Some(OTHER + 1)).unwrap();
    };
    put();
    assert_eq!((inspects_to(dir.path(), "out").status, owner()), (0, (OTHER, OTHER + 1, 0o640)));
    assert_eq!((splits_to(dir.path(), "out").status, owner()), (0, (0, 0, 0o600)));
    // In a shared directory another user may have created the file to become its owner.
    set_mode(dir.path(), 0o1777);
    put();
    assert_eq!((inspects_to(dir.path(), "out").status, owner()), (0, (0, 0, 0o600)));
}

#[test]
fn a_file_that_is_replaced_keeps_its_access_control_list() {
    const ACL: &str = "system.posix_acl_access";
    let dir = open_dir();
    let out = dir.path().join("out");
    fs::write(&out, "old").unwrap();
    // Owner rw, user OTHER r, group none, mask r, others none (acl(5), linux/posix_acl_xattr.h).
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in
        [(1_u16, 6_u16, u32::MAX), (2, 4, OTHER), (4, 0, u32::MAX), (16, 4, u32::MAX), (32, 0, u32::MAX)]
    {
        list.extend([&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat());
    }
    if rustix::fs::setxattr(&out, ACL, &list, rustix::fs::XattrFlags::empty()).is_err() {
        say("skipped: the filesystem has no access control lists");
        return;
    }
    let kept = || {
        let mut found = [0; 256];
        rustix::fs::getxattr(&out, ACL, &mut found).map(|len| found[..len].to_vec()).ok()
    };
    assert_eq!((inspects_to(dir.path(), "out").status, mode(&out), kept()), (0, 0o640, Some(list)));
    assert_eq!((splits_to(dir.path(), "out").status, mode(&out), kept()), (0, 0o600, None));
}

#[test]
fn a_named_link_is_followed_and_its_target_replaced() {
    let dir = open_dir();
    let elsewhere = dir.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let (target, link) = (elsewhere.join("target"), dir.path().join("link"));
    fs::write(&target, "the old one").unwrap();
    set_mode(&target, 0o640);
    symlink("second", &link).unwrap();
    symlink("elsewhere/target", dir.path().join("second")).unwrap();
    let kept = || {
        let links = [link.clone(), dir.path().join("second")].map(|link| fs::read_link(link).unwrap());
        (links == [PathBuf::from("second"), "elsewhere/target".into()], file_names(&elsewhere), mode(&target))
    };
    let alone = vec!["target".to_owned()];
    assert_eq!((inspects_to(dir.path(), "link").status, kept()), (0, (true, alone.clone(), 0o640)));
    assert!(fs::read(&target).unwrap().starts_with(b"{"));
    assert_eq!((splits_to(dir.path(), "link").status, kept()), (0, (true, alone.clone(), 0o600)));
    // A failure keeps the old file. A link to a missing file creates that file.
    assert_eq!(sh(dir.path(), "head -c 5000 /dev/zero | az-inspect -o link").status, 65);
    assert!(fs::read(&target).unwrap().starts_with(b"AZ-FRAG-1"));
    fs::remove_file(&target).unwrap();
    assert_eq!((inspects_to(dir.path(), "link").status, kept()), (0, (true, alone, 0o600)));

    symlink("loop", dir.path().join("loop")).unwrap();
    refused(&inspects_to(dir.path(), "loop"), 73, &["loop: "]);
    symlink("none/out", dir.path().join("dangling")).unwrap();
    refused(&inspects_to(dir.path(), "dangling"), 73, &["none/out: "]);
}

#[test]
fn a_link_of_another_user_is_not_followed() {
    if !is_root() {
        return;
    }
    let dir = open_dir();
    fs::write(dir.path().join("target"), "not mine").unwrap();
    symlink("target", dir.path().join("link")).unwrap();
    std::os::unix::fs::lchown(dir.path().join("link"), Some(OTHER), None).unwrap();
    refused(&inspects_to(dir.path(), "link"), 73, &["is a symbolic link of another user"]);
    assert_eq!(fs::read(dir.path().join("target")).unwrap(), b"not mine");
}

/// File names chosen by a filter may already exist in a directory of others.
#[test]
fn a_link_with_the_name_of_a_part_is_replaced() {
    let dir = open_dir();
    fs::write(dir.path().join("target"), "not mine").unwrap();
    symlink("target", dir.path().join("part.small")).unwrap();
    let split = sh(dir.path(), &format!("az-split --parts part {}", whole().path.display()));
    assert_eq!(split.status, 0, "{}", split.stderr);
    assert_eq!(fs::read(dir.path().join("target")).unwrap(), b"not mine");
    assert!(fs::symlink_metadata(dir.path().join("part.small")).unwrap().is_file());
}

/// Returns text in the encodings of Windows editors.
fn encoded(text: &str) -> [(&'static str, Vec<u8>); 5] {
    let utf_16 = |mark: &str, order: fn(u16) -> [u8; 2]| -> Vec<u8> {
        format!("{mark}{text}").encode_utf16().flat_map(order).collect()
    };
    [
        ("UTF-8 with a byte order mark", format!("\u{feff}{text}").into_bytes()),
        ("UTF-16 text", utf_16("\u{feff}", u16::to_le_bytes)),
        ("UTF-16 text", utf_16("\u{feff}", u16::to_be_bytes)),
        ("UTF-16 text", utf_16("", u16::to_le_bytes)),
        ("UTF-32 text", format!("\u{feff}{text}").chars().flat_map(|c| u32::from(c).to_le_bytes()).collect()),
    ]
}

#[test]
fn text_in_another_encoding_is_reported() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    let fragments = run(filter_with("az-split", &["--new-key"]), b"").text();
    let lines = [
        ("az-join file", fragments.as_str()),
        ("az-join - < file", &fragments),
        ("az-join - --set-card file < good", "{\"set\":1}"),
        ("az-encrypt --key-file file good", &whole().key),
        ("az-whoami < file", "e30.e30.e30"),
        ("az-login --api-url http://127.0.0.1:1 --credentials-file file", "{\"email\":\"a@b\",\"password\":\"c\"}"),
        ("az-hwid --hwid-file file", &"a1".repeat(32)),
        ("az-hwid --card file", "{\"hwid_card\":1}"),
    ];
    write_secret(&dir.path().join("good"), fragments.trim_end());
    for (line, text) in lines {
        for (name, bytes) in encoded(text) {
            fs::write(&file, bytes).unwrap();
            set_mode(&file, 0o600);
            let finished = sh(dir.path(), line);
            assert_eq!((finished.status, finished.code().as_str()), (65, "malformed"), "{line}: {}", finished.stderr);
            let message = format!(": is {name}");
            assert!(finished.stderr.contains(&message), "{line}: {message}: {}", finished.stderr);
            assert!(finished.stderr.contains("save it as UTF-8 without a byte order mark"), "{}", finished.stderr);
        }
    }
    // A raw fragment may be any bytes.
    fs::write(&file, b"\xff\xfea\0").unwrap();
    assert_eq!(sh(dir.path(), "az-join --raw-sha256 file").status, 0);
}

fn filter_with(name: &str, args: &[&str]) -> std::process::Command {
    let mut command = filter(name);
    command.args(args);
    command
}
