//! `--platform`, `--all-platforms`, `--tag`, `--expect-images`, and the archive that a
//! program receives.

use crate::engines::{Engine, Ran, az_load, docker, run, sealed, unique};
use crate::layouts::{Image, buildx, legacy};
use crate::sample::{Sample, layer};
use std::collections::BTreeSet;
use std::io::Read;

/// The architecture of this machine, in the words of Go, and another one.
fn architectures() -> (&'static str, &'static str) {
    match std::env::consts::ARCH {
        "aarch64" => ("arm64", "amd64"),
        _ => ("amd64", "arm64"),
    }
}

fn load(engine: &Engine, bytes: &[u8], options: &[&str]) -> Ran {
    engine.load(bytes, |command| command.args(options))
}

#[test]
fn the_platform_of_the_engine_or_another_one() {
    let Some(engine) = docker() else { return };
    let (own, other) = architectures();
    let tag = format!("{}:1", unique("platform"));
    let archive = buildx(Some(&tag), &unique("seed"), &[other, own]);
    let layers = |engine: &Engine| engine.layers(&tag);

    let ran = load(&engine, &archive, &[]);
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    assert!(
        ran.stderr.contains(&format!(r#""step":"platforms","detail":{{"image":"{tag}","skipped":"linux/{other}"}}"#))
    );
    assert!(!ran.stderr.contains("other-platform"), "{}", ran.stderr);
    let of_own = layers(&engine);
    engine.remove(&tag);

    let ran = load(&engine, &archive, &["--platform", &format!("linux/{other}")]);
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("\"other-platform\""), "{}", ran.stderr);
    if !engine.uses_containerd() {
        // Of an index that store shows the layers for its own platform.
        assert_ne!(layers(&engine), of_own);
    }
    engine.remove(&tag);

    let ran = load(&engine, &archive, &["--platform", "linux/riscv64"]);
    assert_eq!(ran.exit, Some(65), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("no image for linux/riscv64") && ran.stderr.contains("--platform") && !engine.has(&tag)
    );

    let ran = load(&engine, &archive, &["--all-platforms"]);
    match engine.uses_containerd() {
        true => assert_eq!(ran.exit, Some(0), "{}", ran.stderr),
        false => {
            assert_eq!(ran.exit, Some(78), "{}", ran.stderr);
            assert!(ran.stderr.contains("keeps one platform of an image") && !engine.has(&tag));
        }
    }
    engine.remove(&tag);
}

#[test]
fn an_image_for_another_architecture_is_loaded_with_a_warning() {
    let Some(engine) = docker() else { return };
    let (own, other) = architectures();
    let tag = format!("{}:1", unique("other"));
    let image = || Image::new(&[&tag], &[&layer(&tag, 2000)]).for_architecture(other);
    let ran = load(&engine, &legacy(&[image()]), &[]);
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    let step = format!(
        r#""step":"other-platform","detail":{{"engine":"linux/{own}","image":"{tag}","platform":"linux/{other}"}}"#
    );
    assert!(ran.stderr.contains(&step) && engine.has(&tag), "{}", ran.stderr);
    engine.remove(&tag);

    let ran = load(&engine, &legacy(&[image()]), &["--platform", &format!("linux/{own}")]);
    assert_eq!(ran.exit, Some(65), "asked for by name: {}", ran.stderr);
    assert!(!engine.has(&tag));
}

#[test]
fn tags_on_the_command_line() {
    let Some(engine) = docker() else { return };
    let (one, two, own) = (unique("one"), unique("two"), format!("{}:1", unique("own")));
    let image = |tags: &[&str]| Image::new(tags, &[&layer(&own, 2000)]);
    let (id, name, tag) = (image(&[]).id(), format!("{one}:2"), format!("registry.example:5000/team/{two}"));

    for tags in [&[][..], &[own.as_str()]] {
        let ran = load(&engine, &legacy(&[image(tags)]), &["--tag", &name, "--tag", &tag]);
        assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
        assert!(ran.stdout.contains(&name) && ran.stdout.contains(&format!("{tag}:latest")), "{}", ran.stdout);
        assert!(engine.has(&name) && engine.has(&format!("{tag}:latest")));
        assert_eq!(engine.has(&own), !tags.is_empty());
        for tag in [&name, &format!("{tag}:latest"), &own] {
            engine.remove(tag);
        }
    }

    // Without any name it is loaded by its id, if the engine can do that.
    let ran = load(&engine, &legacy(&[image(&[])]), &[]);
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains(r#""tags":[]"#), "{}", ran.stdout);
    if !engine.uses_containerd() {
        assert!(ran.stdout.contains(&id) && engine.has(&id), "{}", ran.stdout);
    }
    let id = ran.stdout.split("sha256:").nth(1).unwrap()[..64].to_owned();
    engine.remove(&id);

    let second = Image::new(&[&format!("{two}:1")], &[&layer(&two, 2000)]);
    let ran = load(&engine, &legacy(&[image(&[&own]), second]), &["--tag", &name]);
    assert_eq!(ran.exit, Some(65), "{}", ran.stderr);
    assert!(ran.stderr.contains("the archive has 2 images; a tag is for one"), "{}", ran.stderr);
    assert!(!engine.has(&one) && !engine.has(&two) && !engine.has(&own));

    let ran = load(&engine, &legacy(&[image(&[&own])]), &["--tag", "Upper:1"]);
    assert_eq!(ran.exit, Some(2), "{}", ran.stderr);
}

/// The list of `--expect-images` and the archive are equal as sets.
#[test]
fn images_are_expected_as_sets() {
    let Some(engine) = docker() else { return };
    let (one, two) = (format!("{}:1", unique("one")), format!("{}:1", unique("two")));
    let first = |tags: &[&str]| Image::new(tags, &[&layer(&one, 2000)]);
    let second = || Image::new(&[&two], &[&layer(&two, 2000)]);
    let also = format!("{}:1", unique("also"));
    let list = tempfile::NamedTempFile::new().unwrap();
    let load = |expected: &[Image], found: &[Image]| {
        std::fs::write(list.path(), sealed(&legacy(expected))).unwrap();
        engine.load(&legacy(found), |command| command.arg("--expect-images").arg(list.path()))
    };
    for (what, expected, found, message) in [
        ("an image too many", vec![first(&[&one])], vec![first(&[&one]), second()], "in the archive, but not sealed"),
        (
            "an image too few",
            vec![first(&[&one]), second()],
            vec![first(&[&one])],
            "not in the archive with the id that was sealed",
        ),
        ("a tag too many", vec![first(&[&one])], vec![first(&[&one, &also])], "sealed were"),
        ("a tag too few", vec![first(&[&one, &also])], vec![first(&[&one])], "sealed were"),
    ] {
        let ran = load(&expected, &found);
        assert_eq!(ran.exit, Some(65), "{what}: {}", ran.stderr);
        assert!(ran.stderr.contains(message), "{what}: {}", ran.stderr);
        assert!([&one, &two, &also].iter().all(|tag| !engine.has(tag)), "{what}");
    }
    // Neither order nor the number of entries matters.
    let ran = load(&[first(&[&one, &also]), second()], &[second(), first(&[&also]), first(&[&one])]);
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    for tag in [&one, &two, &also] {
        engine.remove(tag);
    }
}

/// Members of the archive that az-load writes to a program.
fn written(bytes: &[u8]) -> (BTreeSet<String>, Vec<u8>) {
    let out = tempfile::NamedTempFile::new().unwrap();
    let mut command = az_load();
    command.arg("--command").arg(format!("dd status=none of={}", out.path().display()));
    let ran = run(command, bytes);
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    let mut archive = tar::Archive::new(std::fs::File::open(out.path()).unwrap());
    let mut manifest = Vec::new();
    let mut names = BTreeSet::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        if name == "manifest.json" {
            entry.read_to_end(&mut manifest).unwrap();
        }
        names.insert(name);
    }
    (names, manifest)
}

/// The containerd image store goes on with a transfer of the same name that was broken
/// off, whatever archive it was of.
#[test]
fn no_two_archives_have_a_name_of_a_layer_in_common() {
    let bytes = Sample { one: "one", two: "two", len: 3000 }.legacy();
    let layers = || -> BTreeSet<String> {
        let (names, manifest) = written(&bytes);
        let entries: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        let named = entries.as_array().unwrap().iter().flat_map(|entry| entry["Layers"].as_array().unwrap().clone());
        let named: BTreeSet<String> = named.map(|name| name.as_str().unwrap().to_owned()).collect();
        assert!(named.len() == 3 && named.is_subset(&names), "{named:?} {names:?}");
        named
    };
    assert!(layers().is_disjoint(&layers()));
}

/// Nothing of the input's own lists and names is in the archive that is sent.
#[test]
fn a_program_receives_the_model() {
    let (own, other) = architectures();
    let (names, manifest) = written(&buildx(Some("app:1"), "seed", &[other, own]));
    assert_eq!(names.len(), 4, "two layers, one config, manifest.json: {names:?}");
    let manifest = String::from_utf8(manifest).unwrap();
    assert!(manifest.contains(r#""RepoTags":["docker.io/library/app:1"]"#), "{manifest}");
    assert!(manifest.matches("\"Config\"").count() == 1, "{manifest}");
}
