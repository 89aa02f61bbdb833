//! Joining two parts to a sealed file.

use crate::cli::Cli;
use loader_model::{PartReceipt, PartsReceipt};
use loader_seal::parts::join_parts;
use loader_seal::{Digest, Error};
use loader_stage::{Content, ErrorCode, Failure, Input, OrFail, Stage};
use std::io::Read;
use std::path::Path;

pub(crate) fn run(cli: &Cli, stage: &Stage) -> anyhow::Result<()> {
    let [small_path, big_path] = &cli.files[..] else {
        return Err(Failure::new(ErrorCode::Usage, "--parts takes two files: the small part, the big part").into());
    };
    let mut receipts = Vec::new();
    if let Some(path) = &cli.receipt {
        receipts.push(read_receipt(stage, path)?);
    }
    let mut small = stage.input(small_path)?;
    let mut big = stage.input(big_path)?;
    let mut output = stage.output(&cli.output, Content::Binary)?;

    let small_len = small.known_len();
    let head = read_head(&mut small)?;
    let (published, rest) = take_receipt(&head, small.name())?;
    receipts.extend(published);
    let small_len = small_len.map(|len| len - (head.len() - rest.len()) as u64);
    let (small_name, big_name) = (small.name().to_owned(), big.name().to_owned());
    // The sizes are checked before a byte is written, the digests at the end.
    for receipt in &receipts {
        check_len(&small_name, small_len, &receipt.small)?;
        check_len(&big_name, big.known_len(), &receipt.big)?;
    }

    stage.begin();
    if let (Some(small_len), Some(big_len)) = (small_len, big.known_len()) {
        stage.progress().set_total(small_len + big_len);
    }
    let whole = stage.progress().count(&mut output);
    let digest = match join_parts(rest.chain(&mut small), &mut big, whole) {
        Err(Error::Write(error)) => Err(Failure::io(output.name(), &error)),
        Err(error) if error.is_empty_input() && !small.is_seekable() => {
            Err(Failure::no_input("small part", &small_name))
        }
        outcome => outcome.or_fail_at(format_args!("{small_name} and {big_name}")).map_err(add_order_hint),
    }?;
    for receipt in &receipts {
        check_digest(&small_name, &digest.small, &receipt.small)?;
        check_digest(&big_name, &digest.big, &receipt.big)?;
    }
    Ok(output.commit()?)
}

fn read_receipt(stage: &Stage, path: &Path) -> Result<PartsReceipt, Failure> {
    let mut input = stage.input(path)?;
    let line = input.read_all(PartsReceipt::LINE_MAX)?;
    let none = || Failure::new(ErrorCode::Malformed, format_args!("{}: not a receipt of az-split", path.display()));
    take_receipt(&line, input.name())?.0.ok_or_else(none)
}

/// Reads the first bytes of the small part, which start with a receipt if it is published.
fn read_head(small: &mut Input) -> Result<Vec<u8>, Failure> {
    let mut head = Vec::with_capacity(PartsReceipt::LINE_MAX);
    let read = small.by_ref().take(PartsReceipt::LINE_MAX as u64).read_to_end(&mut head);
    read.map_err(|error| Failure::io(small.name(), &error))?;
    Ok(head)
}

fn take_receipt<'h>(head: &'h [u8], name: &str) -> Result<(Option<PartsReceipt>, &'h [u8]), Failure> {
    match PartsReceipt::split_prefix(head) {
        None => Ok((None, head)),
        Some(Ok((receipt, rest))) => Ok((Some(receipt), rest)),
        Some(Err(_)) => Err(Failure::new(ErrorCode::Malformed, format_args!("{name}: the receipt is not valid"))),
    }
}

fn check_len(name: &str, len: Option<u64>, receipt: &PartReceipt) -> Result<(), Failure> {
    match len.filter(|len| *len != receipt.size) {
        None => Ok(()),
        Some(len) => Err(mismatch(format_args!("{name}: has {len} bytes, expected {} by the receipt", receipt.size))),
    }
}

fn check_digest(name: &str, digest: &Digest, receipt: &PartReceipt) -> Result<(), Failure> {
    check_len(name, Some(digest.len), receipt)?;
    if digest.hex() == receipt.sha256 {
        return Ok(());
    }
    Err(mismatch(format_args!("{name}: SHA-256 is {}, expected {} by the receipt", digest.hex(), receipt.sha256)))
}

fn mismatch(message: impl std::fmt::Display) -> Failure {
    Failure::new(ErrorCode::DigestMismatch, message)
        .hint("the part is damaged or from another release: fetch it again".to_owned())
}

fn add_order_hint(failure: Failure) -> Failure {
    let may_be_swapped = failure.code() == ErrorCode::NotSealed;
    failure.hint(may_be_swapped.then(|| "the first file must be the small part".to_owned()))
}
