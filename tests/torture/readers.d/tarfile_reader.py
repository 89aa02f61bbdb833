"""The same comparison as main.go with Python's tarfile, if there is no Go toolchain."""

import gzip
import hashlib
import io
import json
import re
import sys
import tarfile

OWN_NAME = re.compile(r"(manifest\.json|index\.json|oci-layout|layers/[0-9]+|blobs/sha256/[0-9a-f]{64})")
INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def members(data):
    files = {}
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
        for member in tar:
            content = tar.extractfile(member).read()
            fixed = (member.type, member.mode, member.uid, member.gid, member.mtime)
            if fixed != (tarfile.REGTYPE, 0o644, 0, 0, 0) or not OWN_NAME.fullmatch(member.name):
                raise ValueError(f"member {member.name!r}: {fixed}")
            if member.name.startswith("blobs/") and digest(content) != "sha256:" + member.name[-64:]:
                raise ValueError(f"content of {member.name!r}")
            if files.setdefault(member.name, content) != content:
                raise ValueError(f"{member.name!r} twice")
    return files


def check_layers(config, layers):
    ids = json.loads(config)["rootfs"].get("diff_ids") or []
    if len(ids) != len(layers):
        raise ValueError("a config of other layers")
    for expected, layer in zip(ids, layers):
        if layer[:4] == b"\x28\xb5\x2f\xfd" or layer[1:4] == b"*M\x18":
            continue
        plain = gzip.decompress(layer) if layer[:2] == b"\x1f\x8b" else layer
        if digest(plain) != expected:
            raise ValueError("a layer has another diff_id")


def docker(files):
    for entry in json.loads(files["manifest.json"]):
        config, layers = files[entry["Config"]], [files[name] for name in entry["Layers"]]
        check_layers(config, layers)
        yield digest(config), entry["RepoTags"], [digest(layer) for layer in layers]


def below(descriptor, blobs):
    if descriptor["digest"] not in blobs:
        return
    document = json.loads(blobs[descriptor["digest"]])
    if descriptor["mediaType"] in INDEXES:
        for inner in document["manifests"]:
            platform, annotations = inner.get("platform") or {}, inner.get("annotations") or {}
            if inner.get("platform") is not None and platform.get("os", "") in ("unknown", "") and "vnd.docker.reference.type" in annotations:
                continue
            if inner.get("mediaType") not in INDEXES + MANIFESTS:
                continue  # no engine looks at it
            for known, config, layers in below(inner, blobs):
                yield f"{platform['os']}/{platform.get('architecture', '')}" if platform.get("os") else known, config, layers
    elif descriptor["mediaType"] in MANIFESTS:
        config = document["config"]["digest"]
        layers = [layer["digest"] for layer in document.get("layers") or []]
        check_layers(blobs[config], [blobs[layer] for layer in layers])
        text = json.loads(blobs[config])
        yield f"{text.get('os', '')}/{text.get('architecture', '')}", config, layers
    else:
        raise ValueError(f"media type {descriptor['mediaType']!r}")


def oci(files, wanted):
    blobs = {digest(data): data for data in files.values()}
    tops = {}
    for descriptor in json.loads(files["index.json"])["manifests"]:
        tags = tops.setdefault(descriptor["digest"], (descriptor, []))[1]
        if name := descriptor.get("annotations", {}).get("io.containerd.image.name"):
            tags.append(name)
    for descriptor, tags in tops.values():
        images = list(below(descriptor, blobs))
        # Of an index an engine takes the first image for its platform, unless all are wanted.
        images = [image for image in images if wanted and image[0] == wanted][:1] or images
        for _, config, layers in images:
            yield config, tags, layers


def texts(images):
    """A text for each image, and one for each of its tags."""
    return {f"{tag} {config} {layers}" for config, tags, layers in images for tag in ["", *tags]}


def main():
    compared = different = 0
    source = sys.stdin.buffer
    while True:
        frame = json.loads(source.readline())
        if "archives" in frame:
            break
        data = source.read(frame["len"])
        compared += 1
        try:
            files = members(data)
            if ("manifest.json" in files) == ("index.json" in files):
                raise ValueError("documents of two layouts")
            found = docker(files) if frame["layout"] == "docker" else oci(files, frame["platform"])
            found = texts(found)
            expected = texts((image["config"], image["tags"], image["layers"]) for image in frame["images"])
            if found != expected:
                raise ValueError(f"found {found}, the model has {expected}")
        except (KeyError, ValueError, TypeError, EOFError, OSError, tarfile.TarError) as error:
            different += 1
            print(f"archive {frame['number']}: {error!r}")
    print(json.dumps(frame | {"compared": compared, "different": different}))


main()
