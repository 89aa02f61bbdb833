//! Archives of other tools, and odd names.

use super::*;

/// Layouts of the tools in the field.
pub(super) fn field() -> Vec<Case> {
    let (base, top) = (layer("base", 2000), layer("top", 300));
    let plain = config(&[&base, &top]);
    let packed = [gzip(&base), gzip(&top)];
    let arm = String::from_utf8(plain.clone()).unwrap().replace("amd64", "arm64").into_bytes();
    let tar = |members: &[(&str, &[u8])]| {
        let mut tar = Tar::new();
        for (name, bytes) in members {
            tar.file(name, bytes);
        }
        tar.end()
    };
    let docker = |config: &str, tags: &str, layers: &[&str]| {
        let layers: Vec<String> = layers.iter().map(|layer| format!("\"{layer}\"")).collect();
        format!(r#"[{{"Config":"{config}","RepoTags":{tags},"Layers":[{}]}}]"#, layers.join(","))
    };
    let (hex, names) = (config_name(&plain), ["a/layer.tar", "b/layer.tar"]);
    let manifest = |config: &str| docker(config, r#"["f/x:1"]"#, &names);
    let tagged = Loaded(&["f/x:1"]);
    let zipped: Vec<String> = packed.iter().map(|layer| format!("{}.tar.gz", sha256(layer))).collect();
    let zst = [zstd::encode_all(&base[..], 3).unwrap(), zstd::encode_all(&top[..], 3).unwrap()];
    let zst_names: Vec<String> = zst.iter().map(|layer| format!("{}.tar.zst", sha256(layer))).collect();
    let colon = format!("sha256:{}", sha256(&plain));
    let (g0, g1, z0, z1) = (&zipped[0][..], &zipped[1][..], &zst_names[0][..], &zst_names[1][..]);
    let crane = entries(&[(&colon, &["f/c2:1"], &[g0, g1]), (&colon, &["f/c2:latest"], &[g0, g1])]);
    let mut hard = Tar::new();
    hard.file("a/layer.tar", &base);
    let mut hard = hard.end();
    hard.truncate(hard.len() - 1024);
    let twice = config(&[&base, &base]);
    let hard = [
        &hard[..],
        &link(b'1', "b/layer.tar", "a/layer.tar"),
        &file(&config_name(&twice), &twice),
        &link(b'1', "x.json", &config_name(&twice)),
        &file("manifest.json", manifest("x.json").as_bytes()),
        &END,
    ]
    .concat();
    let sparse_layer = |raw: Vec<u8>| {
        [
            &raw[..],
            &file(&hex, &plain),
            &file("b/layer.tar", &top),
            &file("manifest.json", manifest(&hex).as_bytes()),
            &END,
        ]
        .concat()
    };
    let bsd = [
        pax(&[
            (b"GNU.sparse.major", b"1"),
            (b"GNU.sparse.minor", b"0"),
            (b"GNU.sparse.name", b"a/layer.tar"),
            (b"GNU.sparse.realsize", b"3584"),
        ]),
        file("GNUSparseFile.0/layer.tar", &base),
    ]
    .concat();
    let oci = |image: &Oci| image.archive();
    let one = Oci::new(&[base.clone(), top.clone()], "amd64");
    let zipped_oci = Oci::stored(&packed, &plain);
    let bazel_config = config(&[&packed[0], &packed[1]]);
    let no_layers = Oci { layers: Vec::new(), ..Oci::new(&[base.clone(), top.clone()], "amd64") };
    let sha512 = one.archive_with(|index| index.replace("\"digest\":\"sha256:", "\"digest\":\"sha512:"));
    vec![
        case(
            "bazel: gzip layers with the diff_ids of the packed bytes",
            oci(&Oci::stored(&packed, &bazel_config)),
            Refused("digest_mismatch", &["uncompressed", "SHA-256"]),
        ),
        case(
            "OCI manifest without layers",
            oci(&no_layers),
            Refused("malformed", &["f/x:1", "0 layers", "config has 2"]),
        ),
        case(
            "OCI manifest without layers, and manifest.json",
            no_layers.with_docker(),
            Refused("malformed", &["f/x:1", "0 layers", "config has 2"]),
        ),
        case("buildx: two platforms", one.multi(&Oci::new(std::slice::from_ref(&base), "arm64"), true), tagged),
        case(
            "docker save: another platform is missing",
            one.multi(&Oci::new(std::slice::from_ref(&base), "arm64"), false),
            tagged,
        ),
        case(
            "crane: an entry for each tag",
            tar(&[
                (&colon, &plain),
                (g0, &packed[0]),
                (g1, &packed[1]),
                (&colon, &plain),
                ("manifest.json", crane.as_bytes()),
            ]),
            Loaded(&["f/c2:1", "f/c2:latest"]),
        ),
        case(
            "crane: zstd layers",
            tar(&[
                (&colon, &plain),
                (z0, &zst[0]),
                (z1, &zst[1]),
                ("manifest.json", docker(&colon, r#"["f/x:1"]"#, &[z0, z1]).as_bytes()),
            ]),
            tagged,
        ),
        case(
            "jib: config.json",
            tar(&[
                (g0, &packed[0]),
                (g1, &packed[1]),
                ("config.json", &plain),
                ("manifest.json", docker("config.json", r#"["f/x:1"]"#, &[g0, g1]).as_bytes()),
            ]),
            tagged,
        ),
        case(
            "config with a long name",
            tar(&[
                (&format!("image/config/{}", "x".repeat(150)), &plain),
                (names[0], &base),
                (names[1], &top),
                ("manifest.json", manifest(&format!("image/config/{}", "x".repeat(150))).as_bytes()),
            ]),
            tagged,
        ),
        case(
            "podman: plain names, no tag",
            tar(&[
                ("manifest.json", docker(&hex, "null", &["0.tar", "1.tar"]).as_bytes()),
                ("0.tar", &base),
                ("1.tar", &top),
                (&hex, &plain),
            ]),
            Loaded(&[]),
        ),
        case(
            "docker save of an id",
            tar(&[
                ("b/VERSION", b"1.0"),
                ("b/json", b"{}"),
                (names[1], &top),
                (&hex, &plain),
                ("a/VERSION", b"1.0"),
                ("a/json", b"{}"),
                (names[0], &base),
                ("manifest.json", docker(&hex, "null", &names).as_bytes()),
            ]),
            Loaded(&[]),
        ),
        case(
            "OCI layout with two names of an image",
            one.archive_with(|index| index.replace("}]}", &format!("}},{}]}}", one.descriptor("f/x:latest")))),
            Loaded(&["f/x:1", "f/x:latest"]),
        ),
        case("bsdtar: sparse layer", sparse_layer(bsd), Refused("unsupported", &["a/layer.tar", "sparse"])),
        case("sha512 digests", sha512, Refused("unsupported", &["sha512"])),
        case(
            "guix pack: names with a leading slash",
            [
                file(&format!("/{hex}"), &plain),
                file("/a/layer.tar", &base),
                file("/b/layer.tar", &top),
                file("/manifest.json", manifest(&hex).as_bytes()),
                END.to_vec(),
            ]
            .concat(),
            tagged,
        ),
        case("hard links of layers and config", hard, tagged),
        case(
            "another architecture",
            tar(&[
                (names[0], &base),
                (names[1], &top),
                (&config_name(&arm), &arm),
                ("manifest.json", manifest(&config_name(&arm)).as_bytes()),
            ]),
            tagged,
        ),
        case("containerd: gzip layers in an OCI layout", oci(&zipped_oci), tagged),
        case("docker save: both layouts", one.with_docker(), tagged),
    ]
}

/// Tags and lists of names.
pub(super) fn names() -> Vec<Case> {
    let good = good();
    let config = config_name(&good.config);
    let [first, layer, _] = good.members();
    let with = |tags: &[&str]| {
        let manifest = entries(&[(&config, tags, &[LAYER])]);
        [&first[..], &layer, &file("manifest.json", manifest.as_bytes()), &END].concat()
    };
    let no_tag = Refused("malformed", &["manifest.json", "is no tag"]);
    let long = |len: usize| format!("sec/x:{}", "t".repeat(len));
    let mut cases = vec![
        case("tag twice", with(&[TAG, TAG]), GOOD),
        case("tag in a short and in a long form", with(&["app:1", "docker.io/library/app:1"]), Loaded(&["app:1"])),
        case("name without a tag", with(&["sec/x"]), Loaded(&["sec/x:latest"])),
        case("tag of a registry with a port", with(&["localhost:5000/x:1"]), Loaded(&["localhost:5000/x:1"])),
        case(
            "tag of 128 characters",
            with(&[&long(128)]),
            Loaded(Box::leak(Box::new([&*Box::leak(long(128).into_boxed_str())]))),
        ),
        case(
            "image in two entries with a tag each",
            {
                let manifest = entries(&[(&config, &[TAG], &[LAYER]), (&config, &["evil/app:latest"], &[LAYER])]);
                [&first[..], &layer, &file("manifest.json", manifest.as_bytes()), &END].concat()
            },
            Loaded(&[TAG, "evil/app:latest"]),
        ),
        case(
            "repositories with another name",
            good.and(&file("repositories", br#"{"evil/app":{"latest":"a"}}"#)),
            Refused("malformed", &["repositories", "evil/app:latest"]),
        ),
        case("repositories with the same name", good.and(&file("repositories", br#"{"sec/good":{"1":"a"}}"#)), GOOD),
        case(
            "repositories with one name more",
            good.and(&file("repositories", br#"{"sec/good":{"1":"a","2":"a"}}"#)),
            Refused("malformed", &["repositories", "sec/good:2"]),
        ),
        case("empty repositories", good.and(&file("repositories", b"{}")), GOOD),
        case(
            "repositories alone",
            [&first[..], &layer, &file("repositories", br#"{"sec/good":{"1":"a"}}"#), &END].concat(),
            Refused("unsupported", &["before 1.10"]),
        ),
        case(
            "index.json and another repositories",
            [&Oci::new(std::slice::from_ref(&good.layer), "amd64").archive()[..]]
                .concat()
                .strip_suffix(&END)
                .map(|bytes| [bytes, &file("repositories", br#"{"evil/app":{"latest":"a"}}"#), &END].concat())
                .unwrap(),
            Refused("malformed", &["repositories", "evil/app:latest"]),
        ),
    ];
    for tag in [
        "",
        "UPPER/x:1",
        "sec/UPPER:1",
        "sec/x:",
        ":1",
        "sec//x:1",
        "sec/x:-1",
        "sec/x:1 ",
        "a:b:c",
        "sec/x@sha256:00",
        "é:1",
        "<none>:<none>",
        "-x.y/a:1",
    ] {
        cases.push(case(format!("tag {tag:?}"), with(&[tag]), no_tag));
    }
    cases.push(case("tag of 129 characters", with(&[&long(129)]), no_tag));
    cases.push(case("tag that looks like an id", with(&[&"a".repeat(64)]), no_tag));
    let other = crate::sample::layer("good2", 200);
    let other_config = crate::sample::config(&[&other]);
    let two = |tags: [&str; 2]| {
        let manifest =
            entries(&[(&config, &[tags[0]], &[LAYER]), (&config_name(&other_config), &[tags[1]], &["b/layer.tar"])]);
        let more = [
            file(&config_name(&other_config), &other_config),
            file("b/layer.tar", &other),
            file("manifest.json", manifest.as_bytes()),
        ];
        [&first[..], &layer, &more.concat(), &END].concat()
    };
    cases.push(case("tag of two images", two([TAG, TAG]), Refused("malformed", &[TAG, "two images"])));
    cases.push(case(
        "tag of two images, in two forms",
        two(["app", "docker.io/library/app:latest"]),
        Refused("malformed", &["app:latest", "two images"]),
    ));
    for os in ["windows", "freebsd", "Windows"] {
        let text = String::from_utf8(good.config.clone()).unwrap().replace("linux", os).into_bytes();
        let manifest = entries(&[(&config_name(&text), &[TAG], &[LAYER])]);
        let bytes =
            [&file(&config_name(&text), &text)[..], &layer, &file("manifest.json", manifest.as_bytes()), &END].concat();
        cases.push(case(format!("image for {os}"), bytes, Refused("unsupported", &[TAG, "operating system"])));
    }
    cases
}
