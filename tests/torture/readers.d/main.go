// Engine-reader reads the archives that odd-archives prints with the tar and JSON readers
// of Go, which every engine uses, and compares what it finds with the model.
//
// An engine opens the first member of a name (podman) or the last one (Docker, containerd),
// and decodes a document strictly (json.Unmarshal) or up to the end of its first value
// (json.Decoder). All of these are compared. Each difference is a line; the last line
// is a JSON object with the counts.
package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"reflect"
	"regexp"
	"sort"
	"strings"
)

type image struct {
	Config   string
	Tags     []string
	Layers   []string
	platform string
}

type frame struct {
	Number             int
	Layout             string
	Platform           string // empty for all
	Images             []image
	Len                int
	Archives, Accepted int
}

// Types with the fields that engines read. A field takes a key in any case.
type descriptor struct {
	MediaType, Digest string
	Size              int64
	Annotations       map[string]string
	Platform          *struct{ Architecture, OS, Variant string }
}
type document struct { // an index has manifests, a manifest has a config and layers
	SchemaVersion     int
	MediaType         string
	Manifests, Layers []descriptor
	Config            *descriptor
}
type dockerEntry struct {
	Config           string
	RepoTags, Layers []string
	Parent           string
	LayerSources     map[string]descriptor
}

type files map[string][]byte

func digest(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }

var ownName = regexp.MustCompile(`^(manifest\.json|index\.json|oci-layout|layers/[0-9]+|blobs/sha256/[0-9a-f]{64})$`)

// Members reads an archive: the first and the last member of each name.
func members(data []byte) (first, last files, err error) {
	first, last = files{}, files{}
	in := bytes.NewReader(data)
	for reader := tar.NewReader(in); ; {
		h, err := reader.Next()
		if err == io.EOF {
			break
		} else if err != nil {
			return nil, nil, err
		}
		content, err := io.ReadAll(reader)
		if err != nil {
			return nil, nil, err
		}
		if h.Typeflag != tar.TypeReg || h.Linkname != "" || path.Clean(h.Name) != h.Name || !ownName.MatchString(h.Name) {
			return nil, nil, fmt.Errorf("member %q of type %q", h.Name, h.Typeflag)
		}
		if h.Mode != 0o644 || h.Uid != 0 || h.Gid != 0 || h.ModTime.Unix() != 0 || h.Uname != "" || h.Gname != "" {
			return nil, nil, fmt.Errorf("header of %q", h.Name)
		}
		if strings.HasPrefix(h.Name, "blobs/") && "sha256:"+path.Base(h.Name) != digest(content) {
			return nil, nil, fmt.Errorf("content of %q", h.Name)
		}
		if _, known := first[h.Name]; !known {
			first[h.Name] = content
		}
		last[h.Name] = content
	}
	if in.Len() != 0 {
		return nil, nil, fmt.Errorf("%d bytes after the end", in.Len())
	}
	return first, last, nil
}

type decoder func([]byte, any) error

func toEnd(data []byte, into any) error { return json.NewDecoder(bytes.NewReader(data)).Decode(into) }

func (f files) decode(name string, decode decoder, into any) error {
	data, known := f[name]
	if !known {
		return fmt.Errorf("%s is missing", name)
	}
	return decode(data, into)
}

func (f files) docker(decode decoder) (found []image, err error) {
	var entries []dockerEntry
	if err := f.decode("manifest.json", decode, &entries); err != nil {
		return nil, err
	}
	for _, entry := range entries {
		if entry.Parent != "" || entry.LayerSources != nil {
			return nil, fmt.Errorf("a parent or layer sources")
		}
		one := image{Tags: entry.RepoTags}
		config, known := f[entry.Config]
		if !known {
			return nil, fmt.Errorf("%s is missing", entry.Config)
		}
		one.Config = digest(config)
		var layers [][]byte
		for _, name := range entry.Layers {
			layer, known := f[name]
			if !known {
				return nil, fmt.Errorf("%s is missing", name)
			}
			layers = append(layers, layer)
			one.Layers = append(one.Layers, digest(layer))
		}
		if err := checkLayers(config, layers); err != nil {
			return nil, err
		}
		found = append(found, one)
	}
	return found, nil
}

func (f files) oci(decode decoder, platform string) (found []image, err error) {
	blobs := files{} // containerd finds a blob by its digest, whatever its name
	for _, data := range f {
		blobs[digest(data)] = data
	}
	var version struct{ ImageLayoutVersion string }
	if err := f.decode("oci-layout", decode, &version); err != nil || version.ImageLayoutVersion != "1.0.0" {
		return nil, fmt.Errorf("oci-layout: %v", err)
	}
	var index document
	if err := f.decode("index.json", decode, &index); err != nil {
		return nil, err
	}
	tags, order := map[string][]string{}, []string{}
	for _, d := range index.Manifests {
		if _, known := tags[d.Digest]; !known {
			order, tags[d.Digest] = append(order, d.Digest), []string{}
		}
		if name := d.Annotations["io.containerd.image.name"]; name != "" {
			tags[d.Digest] = append(tags[d.Digest], name)
		}
		if d.Annotations["vnd.docker.reference.type"] != "" {
			return nil, fmt.Errorf("an attestation")
		}
	}
	for _, top := range order {
		var d descriptor
		for _, one := range index.Manifests {
			if one.Digest == top {
				d = one
			}
		}
		images, err := blobs.below(d, decode, 5)
		if err != nil {
			return nil, err
		}
		if len(images) == 0 {
			return nil, fmt.Errorf("no image below %s", top)
		}
		// Of an index an engine takes the first image for its platform, unless all are wanted.
		for _, one := range images {
			if platform != "" && one.platform == platform {
				images = []image{one}
				break
			}
		}
		for _, one := range images {
			one.Tags = tags[top]
			found = append(found, one)
		}
	}
	return found, nil
}

var known = map[string]bool{
	"application/vnd.oci.image.index.v1+json":                   true,
	"application/vnd.docker.distribution.manifest.list.v2+json": true,
	"application/vnd.oci.image.manifest.v1+json":                true,
	"application/vnd.docker.distribution.manifest.v2+json":      true,
}

// Below returns the images below a descriptor whose manifests are in the archive.
func (f files) below(d descriptor, decode decoder, depth int) (found []image, err error) {
	var doc document
	data, present := f[d.Digest]
	if !present {
		return nil, nil // another platform
	}
	if err := decode(data, &doc); err != nil || depth == 0 {
		return nil, fmt.Errorf("%s: %v", d.Digest, err)
	}
	switch d.MediaType {
	case "application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json":
		for _, inner := range doc.Manifests {
			// An attestation, which comes with all platforms. It has a platform, which nobody has.
			if p := inner.Platform; p != nil && (p.OS == "unknown" || p.OS == "") && inner.Annotations["vnd.docker.reference.type"] != "" {
				continue
			}
			if !known[inner.MediaType] {
				continue // no engine looks at it
			}
			images, err := f.below(inner, decode, depth-1)
			if err != nil {
				return nil, err
			}
			for _, one := range images {
				if p := inner.Platform; p != nil && p.OS != "" {
					one.platform = p.OS + "/" + p.Architecture
				}
				found = append(found, one)
			}
		}
		return found, nil
	case "application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json":
		if doc.Config == nil || doc.Manifests != nil {
			return nil, fmt.Errorf("%s is no manifest", d.Digest)
		}
		one := image{Config: doc.Config.Digest}
		config, known := f[one.Config]
		if !known {
			return nil, fmt.Errorf("config %s is missing", one.Config)
		}
		var layers [][]byte
		for _, layer := range doc.Layers {
			data, known := f[layer.Digest]
			if !known {
				return nil, fmt.Errorf("layer %s is missing", layer.Digest)
			}
			layers = append(layers, data)
			one.Layers = append(one.Layers, layer.Digest)
		}
		var platform struct{ OS, Architecture string }
		if err := json.Unmarshal(config, &platform); err != nil {
			return nil, err
		}
		one.platform = platform.OS + "/" + platform.Architecture
		return []image{one}, checkLayers(config, layers)
	}
	return nil, fmt.Errorf("%s has media type %q", d.Digest, d.MediaType)
}

// CheckLayers compares a config with its layers, and reads each with Go's tar reader. zstd
// is not in Go's library.
func checkLayers(config []byte, layers [][]byte) error {
	var c struct {
		RootFS *struct {
			Type    string
			DiffIDs []string `json:"diff_ids"`
		}
	}
	if err := json.Unmarshal(config, &c); err != nil || c.RootFS == nil || len(c.RootFS.DiffIDs) != len(layers) {
		return fmt.Errorf("a config of other layers: %v", err)
	}
	for n, layer := range layers {
		if bytes.HasPrefix(layer, []byte("\x28\xb5\x2f\xfd")) || len(layer) > 4 && layer[0]>>4 == 5 && string(layer[1:4]) == "*M\x18" {
			continue
		}
		if bytes.HasPrefix(layer, []byte("\x1f\x8b")) {
			in, err := gzip.NewReader(bytes.NewReader(layer))
			if err == nil {
				layer, err = io.ReadAll(in)
			}
			if err != nil {
				return fmt.Errorf("layer %d: %v", n, err)
			}
		}
		if digest(layer) != c.RootFS.DiffIDs[n] {
			return fmt.Errorf("layer %d has another diff_id", n)
		}
		for in := tar.NewReader(bytes.NewReader(layer)); ; {
			_, err := in.Next()
			if err == io.EOF {
				break
			} else if err != nil {
				return fmt.Errorf("layer %d: %v", n, err)
			}
		}
	}
	return nil
}

// Sorted returns a text for each image, and one for each of its tags.
func sorted(images []image) []string {
	all := map[string]bool{}
	for _, one := range images {
		text := fmt.Sprint(one.Config, one.Layers)
		all[text] = true
		for _, tag := range one.Tags {
			all[tag+" "+text] = true
		}
	}
	texts := []string{}
	for text := range all {
		texts = append(texts, text)
	}
	sort.Strings(texts)
	return texts
}

func check(f frame, data []byte) error {
	first, last, err := members(data)
	if err != nil {
		return err
	}
	expected := sorted(f.Images)
	for way, open := range map[string]files{"first": first, "last": last} {
		for name, decode := range map[string]decoder{"whole": json.Unmarshal, "to its end": toEnd} {
			var found []image
			_, docker := open["manifest.json"]
			_, oci := open["index.json"]
			if f.Layout == "docker" && !oci {
				found, err = open.docker(decode)
			} else if f.Layout == "oci" && !docker {
				found, err = open.oci(decode, f.Platform)
			} else {
				err = fmt.Errorf("documents of another layout")
			}
			if err == nil && !reflect.DeepEqual(sorted(found), expected) {
				err = fmt.Errorf("found %v, the model has %v", sorted(found), expected)
			}
			if err != nil {
				return fmt.Errorf("%s member, decoded %s: %w", way, name, err)
			}
		}
	}
	return nil
}

func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	compared, different := 0, 0
	for {
		line, err := in.ReadBytes('\n')
		var f frame
		if err == nil {
			err = json.Unmarshal(line, &f)
		}
		if err != nil {
			fmt.Println("the input ends early:", err)
			os.Exit(1)
		}
		if f.Archives > 0 {
			fmt.Printf("{\"archives\":%d,\"accepted\":%d,\"compared\":%d,\"different\":%d}\n", f.Archives, f.Accepted, compared, different)
			return
		}
		data := make([]byte, f.Len)
		if _, err := io.ReadFull(in, data); err != nil {
			fmt.Println("the input ends early:", err)
			os.Exit(1)
		}
		compared++
		if err := check(f, data); err != nil {
			different++
			fmt.Printf("archive %d: %v\n", f.Number, err)
		}
	}
}
