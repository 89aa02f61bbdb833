//! Command line of az-decrypt.

use loader_release::PolicyArgs;
use loader_stage::{KeyArgs, OutputArgs, StageArgs};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  az-join device.frag server.frag | az-decrypt --key-file - images.enc | docker load
  az-fetch --token-file jwt --cdn-file cdn.json models/yolo.onnx | az-decrypt --key-file key > yolo
  az-decrypt --key-file key --range 0:4096 yolo.onnx.enc | xxd | head";

/// Open a sealed file; every byte is verified before it is written
#[derive(Debug, clap::Parser)]
#[command(version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// Sealed file; - or no FILE is standard input
    #[arg(value_name = "FILE", default_value = "-", hide_default_value = true)]
    pub(crate) input: PathBuf,

    #[command(flatten)]
    pub(crate) key: KeyArgs,

    #[command(flatten)]
    pub(crate) output: OutputArgs,

    /// Write only LENGTH bytes from OFFSET (OFFSET: is up to the end); needs a regular file
    #[arg(long, value_name = "OFFSET:LENGTH", value_parser = parse_range, conflicts_with = "plain_ctr")]
    pub(crate) range: Option<ByteRange>,

    /// Verify the file and write nothing
    #[arg(long, conflicts_with_all = ["range", "plain_ctr", "output"])]
    pub(crate) verify_only: bool,

    /// Verify the whole file before the first byte is written; needs a regular file
    #[arg(long, conflicts_with_all = ["range", "plain_ctr", "verify_only"])]
    pub(crate) verify_first: bool,

    /// Read the plain layout of old archives: AES-256-CTR without authentication
    #[arg(long)]
    pub(crate) plain_ctr: bool,

    /// With --plain-ctr: SHA-256 of the file, verified before the first byte is written
    #[arg(long, value_name = "HEX", requires = "plain_ctr", value_parser = parse_sha256)]
    pub(crate) sha256: Option<[u8; 32]>,

    /// Number of threads [default: number of cores, at most 4, or 2 for packed content]
    #[arg(long, value_name = "N", env = "AZ_THREADS", hide_env = true, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) threads: Option<u16>,

    #[command(flatten)]
    pub(crate) policy: PolicyArgs,

    #[command(flatten)]
    pub(crate) stage: StageArgs,
}

impl AsRef<StageArgs> for Cli {
    fn as_ref(&self) -> &StageArgs {
        &self.stage
    }
}

/// Range of the plaintext, in bytes. Without a length it ends at the end of the plaintext.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ByteRange {
    pub(crate) offset: u64,
    pub(crate) len: Option<u64>,
}

fn parse_range(text: &str) -> Result<ByteRange, String> {
    let parse = |number: &str| number.parse::<u64>().map_err(|_| format!("\"{number}\" is not a number of bytes"));
    let (offset, len) = text.split_once(':').ok_or("expected OFFSET:LENGTH")?;
    let len = if len.is_empty() { None } else { Some(parse(len)?) };
    Ok(ByteRange { offset: parse(offset)?, len })
}

fn parse_sha256(text: &str) -> Result<[u8; 32], String> {
    let mut digest = [0; 32];
    let digits: Vec<_> = text.trim().chars().map_while(|c| c.to_digit(16)).collect();
    if digits.len() != 64 || text.trim().len() != 64 {
        return Err("expected 64 hexadecimal digits".to_owned());
    }
    for (byte, pair) in digest.iter_mut().zip(digits.chunks(2)) {
        *byte = (pair[0] << 4 | pair[1]) as u8;
    }
    Ok(digest)
}
