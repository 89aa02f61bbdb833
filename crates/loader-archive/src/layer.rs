//! A layer as it passes: its digests, its compression, and whether it is a tar
//! archive that engines can unpack.

use crate::Error;
use crate::compression::{Compression, Decompressor};
use crate::names::shown;
use crate::tar::{Flaw, Member, Parser, Rules, Visitor, is_file};
use sha2::{Digest, Sha256};
use std::io::{self, Write};

/// What a layer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LayerFacts {
    /// SHA-256 of the bytes as stored.
    pub(crate) digest: [u8; 32],
    /// SHA-256 of the uncompressed bytes.
    pub(crate) diff_id: [u8; 32],
    /// Compression of the stored bytes.
    pub(crate) compression: Option<Compression>,
}

/// Checks a layer that is pushed into it.
pub(crate) struct LayerCheck {
    digest: Sha256,
    content: Content,
    compression: Option<Compression>,
    /// The first error; later bytes are only hashed, because the layer may be of an
    /// image that is not loaded.
    flaw: Option<String>,
}

enum Content {
    Plain(Box<TarCheck>),
    Compressed(Box<Decompressor<Uncompressed>>),
    /// After an error.
    Ignored,
}

/// The uncompressed bytes of a compressed layer.
struct Uncompressed {
    diff_id: Sha256,
    tar: TarCheck,
}

impl Write for Uncompressed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.diff_id.update(bytes);
        self.tar.push(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl LayerCheck {
    /// Checks a layer with this compression.
    pub(crate) fn new(compression: Option<Compression>) -> Self {
        let content = match compression {
            None => Ok(Some(Content::Plain(Box::default()))),
            Some(compression) => {
                let output = Uncompressed { diff_id: Sha256::new(), tar: TarCheck::default() };
                Decompressor::new(compression, output).map(|new| new.map(|new| Content::Compressed(Box::new(new))))
            }
        };
        let mut check = Self { digest: Sha256::new(), content: Content::Ignored, compression, flaw: None };
        match content {
            Ok(Some(content)) => check.content = content,
            Ok(None) => {
                let program = compression.map_or("", Compression::as_str);
                check.flaw = Some(format!("a layer that is compressed with {program}"));
            }
            Err(error) => check.flaw = Some(error.to_string()),
        }
        check
    }

    /// Takes the next bytes as stored.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
        let outcome = match &mut self.content {
            Content::Plain(tar) => tar.push(bytes),
            Content::Compressed(decompressor) => decompressor.push(bytes).map_err(|error| self.explain(&error)),
            Content::Ignored => Ok(()),
        };
        if let Err(flaw) = outcome {
            self.flaw = Some(flaw);
            self.content = Content::Ignored;
        }
    }

    /// Returns the stored digest, and what the layer is or why it is no layer.
    pub(crate) fn finish(mut self) -> ([u8; 32], Result<LayerFacts, String>) {
        let compression = self.compression;
        let diff_id = match std::mem::replace(&mut self.content, Content::Ignored) {
            Content::Ignored => Err(self.flaw.take().unwrap_or_default()),
            Content::Plain(tar) => tar.finish().map(|()| None),
            Content::Compressed(decompressor) => match decompressor.finish() {
                Ok(output) => output.tar.finish().map(|()| Some(output.diff_id.finalize().into())),
                Err(error) => Err(self.explain(&error)),
            },
        };
        let digest = self.digest.finalize().into();
        (digest, diff_id.map(|diff_id| LayerFacts { digest, diff_id: diff_id.unwrap_or(digest), compression }))
    }

    fn explain(&self, error: &io::Error) -> String {
        let program = self.compression.map_or("", Compression::as_str);
        match error.kind() {
            io::ErrorKind::UnexpectedEof => format!("its {program} data is cut"),
            // An error of the tar inside.
            io::ErrorKind::Other if error.get_ref().is_some_and(|inner| inner.to_string().starts_with("no layer")) => {
                error.to_string()
            }
            _ => format!("its {program} data is damaged: {error}"),
        }
    }
}

/// Follows the members of a layer, as an engine will when it unpacks it.
struct TarCheck {
    parser: Parser,
    members: Members,
}

impl Default for TarCheck {
    fn default() -> Self {
        Self { parser: Parser::new(Rules::Layer), members: Members }
    }
}

impl TarCheck {
    fn push(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.parser.push(bytes, &mut self.members).map_err(|flaw| flaw.0)
    }

    fn finish(self) -> Result<(), String> {
        self.parser.finish().map_err(|flaw| LayerFlaw::from(flaw).0)
    }
}

struct Members;

struct LayerFlaw(String);

impl From<Flaw> for LayerFlaw {
    fn from(flaw: Flaw) -> Self {
        Self(match flaw {
            Flaw::NoTar | Flaw::Empty => "no layer: it is no tar archive".to_owned(),
            Flaw::Header { at, why } => format!("no layer: its header at byte {at} is damaged: {why}"),
            Flaw::Trailing { at } => format!("no layer: it is followed by other bytes at byte {at}"),
            Flaw::Truncated { at, inside } => format!("no layer: it ends at byte {at}, inside {inside}"),
        })
    }
}

impl Visitor for Members {
    type Error = LayerFlaw;

    fn begin(&mut self, member: Member) -> Result<(), LayerFlaw> {
        let name = &member.name;
        let refuse = |why: &str| Err(LayerFlaw(format!("no layer: {}: {why}", shown(name))));
        let link_leaves = || member.kind == b'1' && leaves_root(&member.link);
        match member.kind {
            kind if is_file(kind) && name.ends_with(b"/") && member.size > 0 => refuse("a directory with content"),
            // Engines refuse to write outside of the layer.
            _ if leaves_root(name) => refuse("it leaves the layer"),
            _ if link_leaves() => refuse("a link that leaves the layer"),
            b'0'..=b'6' | b'\0' | b'S' => Ok(()),
            _ => refuse("a kind of member that engines do not unpack"),
        }
    }

    fn content(&mut self, _: &[u8]) -> Result<(), LayerFlaw> {
        Ok(())
    }

    fn end(&mut self) -> Result<(), LayerFlaw> {
        Ok(())
    }
}

/// Returns true if a path has more `..` than directories before them.
fn leaves_root(path: &[u8]) -> bool {
    let mut depth = 0_i64;
    path.split(|byte| *byte == b'/').any(|part| {
        match part {
            b"" | b"." => {}
            b".." => depth -= 1,
            _ => depth += 1,
        }
        depth < 0
    })
}

/// Turns the reason why a layer is none into an error.
pub(crate) fn layer_error(member: &str, why: &str) -> Error {
    match why.starts_with("a layer that is compressed with") {
        true => Error::Unsupported(format!("{member}: {why}, which is not supported")),
        false => Error::malformed(member, why),
    }
}
