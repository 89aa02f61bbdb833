//! Command line of az-encrypt.

use loader_model::ResourceName;
use loader_pack::LEVELS;
use loader_release::KeyListArgs;
use loader_seal::Suite;
use loader_stage::{OutputArgs, StageArgs};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  docker save app:1.4 | az-encrypt --key-file key > images.enc
  az-encrypt --key-file key --name models/yolo.onnx --release 7 yolo.onnx -o yolo.onnx.enc
  az-encrypt --key-file site-a.key --key-file site-b.key < app.tar > app.enc

If FILE is an archive of images, it is read twice: its images are listed in the header, and an
archive that az-load would refuse is refused (65), unless --force is given. A pipe is not checked.";

/// Seal a file or a stream: only the holders of a key can open it, and every change is detected
#[derive(Debug, clap::Parser)]
#[command(version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// Plaintext; - or no FILE is standard input
    #[arg(value_name = "FILE", default_value = "-", hide_default_value = true)]
    pub(crate) input: PathBuf,

    #[command(flatten)]
    pub(crate) keys: KeyListArgs,

    #[command(flatten)]
    pub(crate) output: OutputArgs,

    /// Level of compression, 1 to 19: a higher one is slower and makes a smaller file
    #[arg(long, value_name = "N", default_value_t = loader_pack::DEFAULT_LEVEL, value_parser = parse_level)]
    pub(crate) level: i32,

    /// Seal the plaintext as it is, without compression and without a statement
    #[arg(long, conflicts_with = "level")]
    pub(crate) raw: bool,

    /// gcm (AES-256-GCM) or ctr-hmac (AES-256-CTR with HMAC)
    #[arg(long, value_name = "NAME", default_value = "gcm", value_parser = parse_suite)]
    pub(crate) suite: Suite,

    /// Segment length: 4K to 16M, a power of two
    #[arg(long, value_name = "SIZE", default_value = "1M", value_parser = parse_segment)]
    pub(crate) segment: u8,

    /// Name of the resource for the header
    #[arg(long, value_name = "FOLDER/NAME")]
    pub(crate) name: Option<ResourceName>,

    /// Number of the release for the header; must increase
    #[arg(long, value_name = "N")]
    pub(crate) release: Option<u64>,

    /// Media type of the plaintext for the header
    #[arg(long, value_name = "TYPE")]
    pub(crate) content_type: Option<String>,

    /// List of images for the header [default: read from FILE]
    #[arg(long, value_name = "PATH")]
    pub(crate) images_file: Option<PathBuf>,

    /// Fail if no list of images can be recorded
    #[arg(long)]
    pub(crate) require_images: bool,

    /// Comment for the header, not encrypted
    #[arg(long, value_name = "TEXT")]
    pub(crate) comment: Option<String>,

    /// Ed25519 private key of the publisher, PEM; - is standard input; repeatable
    #[arg(long, value_name = "PATH", env = "AZ_SIGN_KEY_FILE", conflicts_with = "raw")]
    pub(crate) sign_key_file: Vec<PathBuf>,

    /// Command that signs, split at blanks: message on its standard input, 64 bytes on its output
    #[arg(long, value_name = "COMMAND", conflicts_with = "raw", requires = "sign_public_key_file")]
    pub(crate) sign_command: Option<String>,

    /// Public key of --sign-command, PEM
    #[arg(long, value_name = "PATH", requires = "sign_command")]
    pub(crate) sign_public_key_file: Option<PathBuf>,

    /// Number of threads [default: number of cores, at most 4]
    #[arg(long, value_name = "N", env = "AZ_THREADS", hide_env = true, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) threads: Option<u16>,

    #[command(flatten)]
    pub(crate) stage: StageArgs,
}

impl AsRef<StageArgs> for Cli {
    fn as_ref(&self) -> &StageArgs {
        &self.stage
    }
}

fn parse_level(text: &str) -> Result<i32, String> {
    let level = text.parse().ok().filter(|level| LEVELS.contains(level));
    level.ok_or_else(|| format!("expected a number from {} to {}", LEVELS.start(), LEVELS.end()))
}

fn parse_suite(text: &str) -> Result<Suite, String> {
    match text {
        "gcm" => Ok(Suite::AesGcm),
        "ctr-hmac" => Ok(Suite::AesCtrHmac),
        _ => Err("expected gcm or ctr-hmac".to_owned()),
    }
}

/// Parses a size such as 4096, 64K or 1M. Returns its log2.
fn parse_segment(text: &str) -> Result<u8, String> {
    let (digits, shift) = match text.strip_suffix(['K', 'M']) {
        Some(digits) => (digits, if text.ends_with('K') { 10 } else { 20 }),
        None => (text, 0),
    };
    let size = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    match size {
        Some(size) if size.is_power_of_two() && (1 << 12..=1 << 24).contains(&size) => Ok(size.trailing_zeros() as u8),
        _ => Err("expected a power of two from 4K to 16M".to_owned()),
    }
}
