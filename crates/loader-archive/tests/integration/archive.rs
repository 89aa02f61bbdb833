//! Whole archives: the events of the reader, cuts, flips, sealed lists, skipped layers
//! and platforms.

use crate::odd::{END, Oci, describe, file, index_of, layout, named};
use crate::rewritten::{LAYOUTS, check, machine, read, rewrite, rewrite_and_check};
use crate::sample::{SMALL, Sample, sha256};
use crate::{odd, sample};
use loader_archive::{
    Archive, CommitRecord, Error, Expected, Image, LayerNames, Layout, Platform, PlatformChoice, Reference, SkipLayers,
    compare, fits_one_oci_image, select_listed,
};
use loader_model::Coded;

fn verdict(bytes: &[u8]) -> Result<Archive, Error> {
    read(bytes, 4096, SkipLayers::default()).verdict
}

/// The images of an archive with the layouts that the writer has.
fn samples() -> [Vec<u8>; 3] {
    let small = Sample { len: 300, ..SMALL };
    [small.legacy(), small.oci(true), small.oci(false)]
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[test]
fn images_tags_and_layers_are_read() {
    let images = verdict(&SMALL.legacy()).unwrap().images().unwrap();
    assert_eq!(images.len(), 2);
    assert_eq!(images[0].tags, ["app:1.4", "app:latest"]);
    assert_eq!(images[0].platform.as_deref(), Some("linux/amd64"));
    assert_eq!(images[1].layers[0], images[0].layers[0], "through the link");
    for front in [true, false] {
        let images = verdict(&SMALL.oci(front)).unwrap().images().unwrap();
        assert_eq!(images[0].tags, ["app:1.4"]);
        assert!(images[0].manifest.is_some());
        assert_ne!(images[0].layers[1].digest, images[0].layers[1].diff_id);
    }
}

#[test]
fn nothing_that_names_an_image_leaves_before_the_verdict() {
    for bytes in samples() {
        for piece in [1, 7, 511, 512, 513, 100_000] {
            let reading = read(&bytes, piece, SkipLayers::default());
            assert!(reading.verdict.is_ok());
            for name in ["manifest.json", "index.json", "oci-layout", "repositories", "app:1.4", "diff_ids"] {
                assert!(!contains(&reading.layers, name.as_bytes()), "{name} left in pieces of {piece}");
            }
            let whole = read(&bytes, usize::MAX >> 40, SkipLayers::default());
            assert!(reading.layers == whole.layers, "pieces of {piece}");
        }
        rewrite_and_check(&bytes).unwrap();
    }
}

#[test]
fn a_cut_anywhere_is_found() {
    for bytes in samples() {
        let end = bytes.len() - bytes.iter().rev().take_while(|byte| **byte == 0).count();
        let end = end.next_multiple_of(512) + 1024;
        assert!(verdict(&bytes[..end]).is_ok());
        // Every border of a block, and every remainder of a block.
        for cut in (0..end).filter(|cut| cut % 512 < 2 || cut % 13 == 0) {
            assert!(verdict(&bytes[..cut]).is_err(), "cut at {cut} of {end}");
        }
    }
}

#[test]
fn a_flip_anywhere_is_found_or_changes_nothing() {
    for bytes in samples() {
        let images = verdict(&bytes).unwrap().images().unwrap();
        for at in (0..bytes.len()).filter(|at| bytes[*at] != 0 || at % 7 == 0) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            if let Ok(found) = verdict(&flipped).and_then(|archive| archive.images()) {
                let ids = |images: &[Image]| images.iter().map(|image| image.config.clone()).collect::<Vec<_>>();
                assert_eq!(ids(&found), ids(&images), "flip at {at}");
                let tags = |images: &[Image]| images.iter().map(|image| image.tags.clone()).collect::<Vec<_>>();
                // No digest covers the names.
                assert!(tags(&found) == tags(&images) || in_names(&bytes, at), "flip at {at}: {found:?}");
            }
        }
    }
}

/// Returns true if a byte belongs to a document that names images.
fn in_names(bytes: &[u8], at: usize) -> bool {
    let mut tar = tar::Archive::new(bytes);
    tar.entries().unwrap().map(Result::unwrap).any(|entry| {
        let (start, len) = (entry.raw_file_position() as usize, entry.size() as usize);
        let name = entry.path().unwrap().display().to_string();
        ["manifest.json", "index.json", "repositories"].contains(&name.as_str()) && (start..start + len).contains(&at)
            // Its header: a document of another name is none.
            || (start - 512..start).contains(&at) && ["repositories", "manifest.json", "index.json"].contains(&name.as_str())
    })
}

#[test]
fn a_sealed_list_is_compared_as_a_set() {
    let images = verdict(&SMALL.legacy()).unwrap().images().unwrap();
    let json = serde_json::to_vec(&images).unwrap();
    let expected = Expected::from_json(&json).unwrap();
    assert!(compare(&images, &expected.images).is_ok());
    let mut reversed = expected.images.clone();
    reversed.reverse();
    reversed.iter_mut().for_each(|image| image.tags.reverse());
    assert!(compare(&images, &reversed).is_ok());
    let differs = |change: &dyn Fn(&mut Vec<Image>)| {
        let mut other = expected.images.clone();
        change(&mut other);
        matches!(compare(&images, &other), Err(Error::Unexpected(_)))
    };
    let zeros = || Some(format!("sha256:{}", "0".repeat(64)));
    assert!(differs(&|images| images[0].tags[0] = "app:1.5".to_owned()));
    assert!(differs(&|images| drop(images[0].tags.pop())));
    assert!(differs(&|images| images[0].tags.push("evil/app:1".to_owned())));
    assert!(differs(&|images| drop(images.pop())));
    assert!(differs(&|images| images.push(images[0].clone())));
    assert!(differs(&|images| images[0].config = zeros()));
    assert!(differs(&|images| images[0].layers[0].diff_id = zeros()));
    assert!(differs(&|images| images[0].layers[0].digest = zeros()));
    assert!(differs(&|images| drop(images[0].layers.pop())));
    assert!(differs(&|images| images[0].layers.swap(0, 1)));
    assert!(differs(&|images| images[0].platform = Some("linux/arm64".to_owned())));
    let inspected = format!(r#"{{"verified":true,"images":{}}}"#, String::from_utf8(json).unwrap());
    assert_eq!(Expected::from_json(inspected.as_bytes()).unwrap().images, images);
    for bad in ["{}", "[]", "", "null", "{\"images\":{}}"] {
        assert!(Expected::from_json(bad.as_bytes()).is_err(), "{bad:?}");
    }
}

/// The list of the good image only, as a header has it.
fn sealed_good() -> Vec<Image> {
    let mut images = rewrite_and_check(&odd::good().archive()).unwrap();
    images[0].manifest = None;
    images
}

#[test]
fn an_archive_with_more_than_the_sealed_images_is_refused() {
    let sealed = sealed_good();
    let named = |name: &str| odd::cases().into_iter().find(|case| case.name == name).unwrap().bytes;
    for name in ["image in two entries with a tag each", "two images"] {
        let found = verdict(&named(name)).unwrap().images().unwrap();
        assert!(matches!(compare(&found, &sealed), Err(Error::Unexpected(_))), "{name}");
    }
    let found = verdict(&named("tag twice")).unwrap().images().unwrap();
    assert!(compare(&found, &sealed).is_ok());
}

#[test]
fn layers_that_are_present_are_skipped() {
    for bytes in [SMALL.legacy(), SMALL.oci(true)] {
        let images = verdict(&bytes).unwrap().images().unwrap();
        let base = images[0].layers[0].diff_id.clone().unwrap();
        let skip = || SkipLayers::new(&images, |chain| chain == [base.as_str()]);
        let (whole, less) = (read(&bytes, 1000, SkipLayers::default()), read(&bytes, 1000, skip()));
        let archive = less.verdict.unwrap();
        assert_eq!((archive.skipped, less.skipped.len()), (1, 1));
        assert!(archive.skipped_len > 2000);
        assert!(less.layers.len() as u64 + archive.skipped_len <= whole.layers.len() as u64);
        assert!(compare(&archive.images().unwrap(), &images).is_ok());
        let selected = archive.select(&machine(), &[]).unwrap();
        let record = CommitRecord::new(&selected, Layout::Docker, &LayerNames::Digest).unwrap();
        let written = [less.layers, record.bytes].concat();
        assert!(!contains(&written, b"base-app"), "the bytes of the skipped layer");
        assert!(read(&written, 1000, skip()).verdict.is_ok(), "layers that are present may be absent");
        let error = verdict(&written).unwrap().select(&machine(), &[]).map(drop);
        assert!(matches!(error, Err(Error::Missing { .. })), "others may not");
    }
}

#[test]
fn a_skipped_layer_is_needed_in_an_oci_layout() {
    let bytes = SMALL.legacy();
    let images = verdict(&bytes).unwrap().images().unwrap();
    let archive = read(&bytes, 1000, SkipLayers::new(&images, |chain| chain.len() == 1)).verdict.unwrap();
    let selected = archive.select(&machine(), &[]).unwrap();
    assert!(CommitRecord::new(&selected, Layout::Docker, &LayerNames::Digest).is_ok());
    assert!(matches!(CommitRecord::new(&selected, Layout::OciIndexes, &LayerNames::Digest), Err(Error::Unexpected(_))));
}

#[test]
fn a_layer_that_only_has_the_size_of_a_present_one_is_refused() {
    let images = verdict(&SMALL.legacy()).unwrap().images().unwrap();
    let mut claimed = images.clone();
    let other = format!("sha256:{}", "0".repeat(64));
    claimed[0].layers[0].diff_id = Some(other.clone());
    claimed[0].layers[0].digest = None;
    claimed[1].layers.clear();
    let skip = SkipLayers::new(&claimed, |chain| chain == [other.as_str()]);
    let archive = read(&SMALL.legacy(), 1000, skip).verdict.unwrap();
    assert!(matches!(archive.images(), Err(Error::Unexpected(_))));
    assert!(matches!(archive.select(&machine(), &[]), Err(Error::Unexpected(_))));
}

fn platform(text: &str) -> Platform {
    Platform::parse(text).unwrap()
}

/// An index of images for these platforms; the layer of each has its name.
fn multi(platforms: &[&str]) -> Vec<u8> {
    let (mut blobs, mut descriptors) = (Vec::new(), Vec::new());
    for text in platforms {
        let (architecture, variant) = text.split_once('/').unwrap_or((text, ""));
        let mut image = Oci::new(&[sample::layer(text, 50)], architecture);
        let variant = format!(r#""architecture":"{architecture}","variant":"{variant}""#);
        let config = String::from_utf8(image.config).unwrap();
        image.config = config.replace(&format!(r#""architecture":"{architecture}""#), &variant).into_bytes();
        descriptors.push(image.for_platform().replace(&format!(r#""architecture":"{architecture}""#), &variant));
        blobs.extend(image.blobs());
    }
    let inner = index_of(&descriptors);
    blobs.extend(odd::blob(inner.as_bytes()));
    layout(&blobs, &index_of(&[named(&describe("index.v1+json", inner.as_bytes()), "f/x:1")]))
}

#[test]
fn the_platform_is_selected() {
    let bytes = multi(&["amd64", "arm/v6", "arm/v7", "arm64"]);
    assert_eq!(verdict(&bytes).unwrap().images().unwrap().len(), 4);
    let loaded = |choice: &PlatformChoice| -> Result<Vec<String>, Error> {
        let (written, images) = rewrite(&bytes, choice, Layout::Docker)?;
        check(&written, &images, Layout::Docker);
        Ok(images.into_iter().filter_map(|image| image.platform).collect())
    };
    for (wanted, right) in [
        ("linux/amd64", "linux/amd64"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/v6", "linux/arm/v6"),
        ("linux/armv7l", "linux/arm/v7"),
    ] {
        assert_eq!(loaded(&PlatformChoice::Engine(platform(wanted))).unwrap(), [right], "{wanted}");
        assert_eq!(loaded(&PlatformChoice::Only(platform(wanted))).unwrap(), [right], "{wanted}");
    }
    for wanted in ["linux/riscv64", "windows/amd64", "linux/arm/v5"] {
        let error = loaded(&PlatformChoice::Engine(platform(wanted))).unwrap_err();
        assert_eq!(error.code().as_str(), "unsupported");
        let text = error.to_string();
        assert!(text.contains(wanted) && text.contains("f/x:1") && text.contains("linux/arm/v6"), "{text}");
    }
    // One tag would name several images.
    assert!(matches!(loaded(&PlatformChoice::All), Err(Error::Unsupported(why)) if why.contains("one platform")));
    for layout in [Layout::OciManifests, Layout::OciIndexes] {
        let (written, images) = rewrite(&bytes, &PlatformChoice::All, layout).unwrap();
        check(&written, &images, layout);
        assert_eq!(images.len(), 4);
        let (written, images) = rewrite(&bytes, &machine(), layout).unwrap();
        check(&written, &images, layout);
        assert_eq!(images.len(), 1);
        if layout == Layout::OciIndexes {
            let listed = verdict(&bytes).unwrap().images().unwrap();
            assert_eq!(images[0].manifest, listed[0].manifest, "the id of the index survives");
        }
    }
}

#[test]
fn one_image_of_another_architecture_is_loaded_unless_a_platform_was_asked_for() {
    let bytes = Oci::new(&[sample::layer("x", 10)], "arm64").archive();
    assert!(rewrite(&bytes, &machine(), Layout::Docker).is_ok());
    let only = PlatformChoice::Only(platform("linux/amd64"));
    assert!(matches!(rewrite(&bytes, &only, Layout::Docker), Err(Error::Platform { .. })));
}

#[test]
fn a_list_of_platforms_is_narrowed_as_a_load_does() {
    let listed = verdict(&multi(&["amd64", "arm64"])).unwrap().images().unwrap();
    let selected = select_listed(&listed, &platform("linux/arm64"));
    assert_eq!(selected.len(), 1);
    assert_eq!(selected[0].platform.as_deref(), Some("linux/arm64"));
}

#[test]
fn attestations_are_no_images() {
    let image = Oci::new(&[sample::layer("x", 10)], "amd64");
    let statement = br#"{"_type":"https://in-toto.io/Statement/v0.1"}"#;
    let attestation = Oci { config: br#"{"architecture":"unknown","os":"unknown","config":{},"rootfs":{"type":"layers","diff_ids":["sha256:0000000000000000000000000000000000000000000000000000000000000000"]}}"#.to_vec(), layers: vec![statement.to_vec()], architecture: "unknown".into() };
    let annotated = attestation.for_platform().replace(
        r#""os":"linux"}"#,
        r#""os":"unknown"},"annotations":{"vnd.docker.reference.type":"attestation-manifest"}"#,
    );
    let inner = index_of(&[image.for_platform(), annotated]);
    let top = named(&describe("index.v1+json", inner.as_bytes()), "f/x:1");
    let whole = [image.blobs(), attestation.blobs(), odd::blob(inner.as_bytes())].concat();
    let without = [image.blobs(), odd::blob(inner.as_bytes())].concat();
    for blobs in [&whole, &without] {
        let bytes = layout(blobs, &index_of(std::slice::from_ref(&top)));
        let images = rewrite_and_check(&bytes).unwrap();
        assert_eq!(images.len(), 1);
        assert_eq!(images[0].tags, ["f/x:1"]);
    }
    let (written, _) = rewrite(&layout(&whole, &index_of(&[top])), &PlatformChoice::All, Layout::OciIndexes).unwrap();
    assert!(contains(&written, statement), "all platforms come with their attestations");
}

#[test]
fn what_is_for_a_platform_is_an_image_for_it() {
    // Engines choose by the platform; that it is called an attestation hides it from nobody.
    let (good, evil) = (Oci::new(&[sample::layer("x", 10)], "amd64"), Oci::new(&[sample::layer("evil", 10)], "amd64"));
    let annotation = r#""vnd.docker.reference.type":"attestation-manifest""#;
    let hidden = format!(r#"{},"annotations":{{{annotation}}}}}"#, evil.for_platform().strip_suffix('}').unwrap());
    let other_type = evil.manifest().replace("config.v1+json", "other.v1+json");
    let typed = Oci { layers: Vec::new(), config: other_type.into_bytes(), ..evil.clone() };
    let typed_descriptor = describe("manifest.v1+json", &typed.config)
        .replace('}', r#","platform":{"architecture":"amd64","os":"linux"}}"#);
    // Without a platform in the descriptor, engines look into the config.
    let unnamed = hidden.replace(r#","platform":{"architecture":"amd64","os":"linux"}"#, "");
    assert_ne!(unnamed, hidden);
    for (first, more) in [(hidden, Vec::new()), (unnamed, Vec::new()), (typed_descriptor, odd::blob(&typed.config))] {
        let inner = index_of(&[first, good.for_platform()]);
        let blobs = [good.blobs(), evil.blobs(), more, odd::blob(inner.as_bytes())].concat();
        let bytes = layout(&blobs, &index_of(&[named(&describe("index.v1+json", inner.as_bytes()), "f/x:1")]));
        let (_, images) = rewrite(&bytes, &machine(), Layout::OciIndexes).unwrap();
        let id = |image: &Oci| format!("sha256:{}", sha256(&image.config));
        assert_eq!(images[0].config, Some(id(&evil)), "the first that fits, as containerd chooses");
        let listed = verdict(&bytes).unwrap().images().unwrap();
        assert_eq!(
            listed.iter().map(|image| image.config.clone().unwrap()).collect::<Vec<_>>(),
            [id(&evil), id(&good)]
        );
    }
}

#[test]
fn a_media_type_is_that_of_what_it_describes() {
    let image = Oci::new(&[sample::layer("x", 10)], "amd64");
    for wrong in
        ["application/vnd.oci.image.index.v1+json", "text/plain", "", "application/vnd.oci.image.config.v1+json"]
    {
        let right = "\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\"";
        let bytes = image.archive_with(|index| index.replace(right, &format!("\"mediaType\":\"{wrong}\"")));
        rewrite_and_check(&bytes).unwrap();
        // An index keeps its digest, so that its descriptors cannot be corrected.
        let other = Oci::new(&[sample::layer("y", 10)], "arm64");
        let inner = index_of(&[
            image.for_platform().replace(right, &format!("\"mediaType\":\"{wrong}\"")),
            other.for_platform(),
        ]);
        let blobs = [image.blobs(), other.blobs(), odd::blob(inner.as_bytes())].concat();
        let bytes = layout(&blobs, &index_of(&[named(&describe("index.v1+json", inner.as_bytes()), "f/x:1")]));
        let error = rewrite_and_check(&bytes).unwrap_err();
        assert!(matches!(&error, Error::Malformed { why, .. } if why.contains(wrong)), "{error}");
        let arm = PlatformChoice::Only(platform("linux/arm64"));
        assert!(rewrite(&bytes, &arm, Layout::OciIndexes).is_ok(), "the other one is not affected");
    }
}

#[test]
fn documents_that_refer_to_each_other_many_times_are_refused_soon() {
    let image = Oci::new(&[sample::layer("x", 10)], "amd64");
    let mut blobs = image.blobs();
    let mut descriptor = image.for_platform();
    for _ in 0..3 {
        let index = index_of(&vec![descriptor; 1000]);
        blobs.extend(odd::blob(index.as_bytes()));
        descriptor = describe("index.v1+json", index.as_bytes());
    }
    let error = verdict(&layout(&blobs, &index_of(&[named(&descriptor, "f/x:1")]))).unwrap_err();
    assert!(matches!(&error, Error::Unsupported(why) if why.contains("4096")), "{error}");
    // One large config in many entries.
    let large =
        format!(r#"{{"x":"{}",{}"#, "x".repeat(1 << 19), &String::from_utf8(image.config.clone()).unwrap()[1..]);
    let tags: Vec<String> = (0..1000).map(|n| format!("a:{n}")).collect();
    let tags: Vec<[&str; 1]> = tags.iter().map(|tag| [tag.as_str()]).collect();
    let images: Vec<(&str, &[&str], &[&str])> = tags.iter().map(|tag| ("c", &tag[..], &["l"][..])).collect();
    let bytes = |images: &[(&str, &[&str], &[&str])]| {
        let manifest = odd::entries(images);
        [
            file("c", large.as_bytes()),
            file("l", &image.layers[0]),
            file("manifest.json", manifest.as_bytes()),
            END.to_vec(),
        ]
        .concat()
    };
    assert_eq!(rewrite_and_check(&bytes(&images[..5])).unwrap().len(), 1);
    let error = verdict(&bytes(&images)).and_then(|archive| archive.images()).unwrap_err();
    assert!(matches!(&error, Error::Unsupported(why) if why.contains("too often")), "{error}");
    let many: Vec<(&str, &[&str], &[&str])> = vec![("c", &[], &[]); 5000];
    assert!(matches!(verdict(&bytes(&many)), Err(Error::Unsupported(why)) if why.contains("manifest.json")));
}

#[test]
fn an_extra_tag_is_for_one_image() {
    let extra = [Reference::parse("more/app:2").unwrap()];
    let one = verdict(&odd::good().archive()).unwrap();
    for layout in LAYOUTS {
        let record = CommitRecord::new(&one.select(&machine(), &extra).unwrap(), layout, &LayerNames::Digest).unwrap();
        assert_eq!(record.images[0].tags, [odd::TAG, "more/app:2"]);
    }
    let two = verdict(&odd::two_images()).unwrap();
    assert!(matches!(two.select(&machine(), &extra), Err(Error::Unexpected(_))));
}

#[test]
fn podman_gets_an_oci_layout_of_one_named_image_only() {
    let fits = |bytes: &[u8]| fits_one_oci_image(&verdict(bytes).unwrap().select(&machine(), &[]).unwrap());
    assert!(fits(&SMALL.oci(true)));
    assert!(!fits(&SMALL.legacy()));
    assert!(!fits(&odd::good().archive()));
}

#[test]
fn names_and_digests_of_the_input_do_not_matter() {
    // The same model, whatever the members are called and in which order they come.
    let good = odd::good();
    let [config, layer, manifest] = good.members();
    let name = format!("{}.json", sha256(&good.config));
    let renamed = [
        file("z/ein anderer Name", &good.layer),
        file("manifest.json", good.manifest.replace(odd::LAYER, "z/ein anderer Name").replace(&name, "c").as_bytes()),
        file("c", &good.config),
        END.to_vec(),
    ];
    let shuffled = [manifest, layer, config, END.to_vec()];
    for layout in LAYOUTS {
        let first = rewrite(&good.archive(), &machine(), layout).unwrap();
        assert!(rewrite(&renamed.concat(), &machine(), layout).unwrap() == first);
        assert!(rewrite(&shuffled.concat(), &machine(), layout).unwrap() == first);
    }
}
