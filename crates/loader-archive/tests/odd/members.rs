//! Odd members.

use super::*;

/// Members that stand for each other, and ends.
pub(super) fn members() -> Vec<Case> {
    let good = good();
    let evil = evil_manifest(&good);
    let twice = Refused("malformed", &["manifest.json", "twice"]);
    let no_file = Refused("malformed", &["manifest.json", "no file"]);
    let [config, layer, manifest] = good.members();
    let two = two_images();
    let mut cases = vec![
        case("nothing odd", good.archive(), GOOD),
        case("two images", two.clone(), Loaded(&[TAG, "sec/good2:1"])),
        case("manifest.json first", [&manifest[..], &config, &layer, &END].concat(), GOOD),
        case("manifest.json twice, the same", good.and(&manifest), GOOD),
        case("manifest.json twice", good.and(&file("manifest.json", &evil)), twice),
        case("manifest.json and ./manifest.json", good.and(&file("./manifest.json", &evil)), twice),
        case("manifest.json and .//manifest.json", good.and(&file(".//manifest.json", &evil)), twice),
        case("manifest.json and /manifest.json", good.and(&file("/manifest.json", &evil)), twice),
        case("manifest.json and x/../manifest.json", good.and(&file("x/../manifest.json", &evil)), GOOD),
        case("manifest.json and MANIFEST.JSON", good.and(&file("MANIFEST.JSON", &evil)), GOOD),
        case("manifest.json and manifest.json/", good.and(&file("manifest.json/", &evil)), GOOD),
        case(
            "manifest.json as a hard link",
            good.and(&[file("real.json", &evil), link(b'1', "manifest.json", "real.json")].concat()),
            no_file,
        ),
        case(
            "manifest.json as a symbolic link",
            good.and(&[file("real.json", &evil), link(b'2', "manifest.json", "real.json")].concat()),
            no_file,
        ),
        case(
            "manifest.json as a directory",
            good.and(&RawHeader::new(b"manifest.json", 0).kind(b'5').block()),
            no_file,
        ),
        case("manifest.json as a fifo", good.and(&RawHeader::new(b"manifest.json", 0).kind(b'6').block()), no_file),
        case(
            "manifest.json through a symbolic link to .",
            good.and(&[link(b'2', "d", "."), file("d/manifest.json", &evil)].concat()),
            GOOD,
        ),
        case(
            "directory with a size and content",
            good.and(&[RawHeader::new(b"d", 1024).kind(b'5').block(), file("manifest.json", &evil)].concat()),
            twice,
        ),
        case(
            "directory by its slash with content",
            good.and(&member(
                &RawHeader::new(b"d/", 1024).set(257, &[0; 8]).kind(0),
                &padded(&file("manifest.json", &evil))[..1024],
            )),
            GOOD,
        ),
        case(
            "sparse manifest.json",
            good.and(&member(&RawHeader::new(b"manifest.json", 5).set(257, b"ustar  \0").kind(b'S'), b"hello")),
            twice,
        ),
        case(
            "config with other content than its name",
            good.and(&file(&format!("{}.json", "0".repeat(64)), b"{}")),
            Refused("digest_mismatch", &["0000.json", "SHA-256"]),
        ),
        case(
            "blob with other content than its name",
            good.and(&file(&format!("blobs/sha256/{}", "0".repeat(64)), b"x")),
            Refused("digest_mismatch", &["blobs/sha256/0000", "SHA-256"]),
        ),
        case(
            "config that is missing",
            [&layer[..], &manifest, &END].concat(),
            Refused("malformed", &[TAG, ".json is not in the archive"]),
        ),
        case(
            "layer that is missing",
            [&config[..], &manifest, &END].concat(),
            Refused("malformed", &[TAG, LAYER, "not in the archive"]),
        ),
        case(
            "manifest.json that is missing",
            [&config[..], &layer, &END].concat(),
            Refused("malformed", &["manifest.json"]),
        ),
        case(
            "one block of zeros at the end",
            [&good.members().concat()[..], &[0; 512]].concat(),
            Refused("truncated", &["two blocks of zeros"]),
        ),
        case("no block of zeros at the end", good.members().concat(), Refused("truncated", &["two blocks of zeros"])),
        case(
            "one block of zeros between members",
            [&config[..], &layer, &manifest, &[0; 512], &file("x", b"x"), &END].concat(),
            Refused("corrupt", &["block of zeros"]),
        ),
        case("padding after the end", [&good.archive()[..], &[0; 9000]].concat(), GOOD),
        case("second archive after the end", [good.archive(), two.clone()].concat(), Refused("trailing", &[])),
        case(
            "second archive far after the end",
            [&good.archive()[..], &[0; 10240], &two].concat(),
            Refused("trailing", &[]),
        ),
        case("one byte after the end", [&good.archive()[..], b"x"].concat(), Refused("trailing", &[])),
    ];
    // Links within the archive, as docker save and podman write them for repeated layers.
    let linked = |kind: u8, target: &str, place: &str| {
        let moved = file(place, &good.layer);
        [&config[..], &moved, &link(kind, LAYER, target), &manifest, &END].concat()
    };
    let missing = Refused("malformed", &[TAG, LAYER, "not in the archive"]);
    for (name, kind, target, place, right) in [
        ("layer as a symbolic link", b'2', "../b/layer.tar", "b/layer.tar", GOOD),
        ("layer as an absolute symbolic link", b'2', "/b/layer.tar", "b/layer.tar", GOOD),
        ("layer as a hard link", b'1', "b/layer.tar", "b/layer.tar", GOOD),
        ("layer as a link to itself", b'2', "layer.tar", "b/layer.tar", missing),
        ("layer as a link out of the archive", b'2', "../../b/layer.tar", "b/layer.tar", missing),
        ("layer as a link to nothing", b'1', "c/layer.tar", "b/layer.tar", missing),
    ] {
        cases.push(case(name, linked(kind, target, place), right));
    }
    let chain: Vec<u8> = (0..20).flat_map(|n| link(b'1', &format!("l{n}"), &format!("l{}", n + 1))).collect();
    let long = [&config[..], &chain, &file("l20", &good.layer), &link(b'1', LAYER, "l0"), &manifest, &END].concat();
    cases.push(case("layer through twenty links", long, missing));
    let both = [&config[..], &layer, &link(b'2', LAYER, "x"), &manifest, &END].concat();
    cases.push(case("layer and a link of its name", both, Refused("malformed", &[LAYER, "twice"])));
    let other = file(LAYER, &crate::sample::layer("other", 10));
    let both = [&config[..], &layer, &other, &manifest, &END].concat();
    cases.push(case("layer twice", both, Refused("malformed", &[LAYER, "twice"])));
    let cases_of_directories = [through_directory(&good, "d/../b", "e/b"), through_directory(&good, "d/../b", "b")];
    for (bytes, name) in cases_of_directories
        .into_iter()
        .zip(["layer through a directory link, as the kernel walks", "layer through a directory link, by its text"])
    {
        // A link is resolved by its text; the digest decides whether that was right.
        let right = if name.ends_with("text") { GOOD } else { missing };
        cases.push(case(name, bytes, right));
    }
    let legacy = [
        RawHeader::new(b"x/", 0).kind(b'5').block(),
        file("x/VERSION", b"1.0"),
        file("x/json", br#"{"id":"x"}"#),
        file("x/layer.tar", &crate::sample::layer("x", 10)),
    ];
    cases.push(case(
        "directories of Docker before 1.10 as well",
        [&legacy.concat()[..], &good.archive()].concat(),
        GOOD,
    ));
    cases
}

fn through_directory(good: &Good, target: &str, place: &str) -> Vec<u8> {
    let [config, _, manifest] = good.members();
    let directory = |name: &[u8]| RawHeader::new(name, 0).kind(b'5').block();
    let links =
        [directory(b"e"), directory(b"e/f"), link(b'2', "d", "e/f"), link(b'2', LAYER, &format!("../{target}"))];
    [&config[..], &links.concat(), &file(place, &good.layer), &manifest, &END].concat()
}
