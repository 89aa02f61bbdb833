//! Implementation of az-split.

use crate::cli::Cli;
use loader_model::{PartReceipt, PartsReceipt};
use loader_seal::fragment::{Fragment, SetCard, split};
use loader_seal::parts::split_parts;
use loader_seal::rekey::HeaderJournal;
use loader_seal::{Digest, Error, Key};
use loader_stage::{Content, ErrorCode, Failure, OrFail, Output, Stage};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

const SHAMIR_HINT: &str = "--scheme shamir --threshold K --shares N makes N fragments, and any K are sufficient";

const ONLY_COPY: &str = "may be the only copy of a fragment";

pub(crate) fn run(cli: &Cli, stage: &Stage) -> anyhow::Result<()> {
    match (&cli.parts, &cli.output_dir) {
        (Some(name), _) => split_file(cli, stage, name),
        (None, Some(dir)) => write_fragment_files(cli, stage, dir),
        (None, None) => write_fragment_lines(cli, stage),
    }
}

fn write_fragment_lines(cli: &Cli, stage: &Stage) -> anyhow::Result<()> {
    let mut output = match &cli.output.output {
        Some(path) if path.as_os_str() != "-" => {
            create_file(cli, path, Content::Secret, ONLY_COPY, "choose another file")?
        }
        _ => stage.output(&cli.output, Content::Secret)?,
    };
    let mut card = create_card_file(cli, cli.output.output.as_deref())?;
    let fragments = split_key(cli, stage)?;
    write_card(&mut card, &fragments)?;
    for fragment in &fragments {
        output.put(&line(fragment))?;
    }
    Ok(Output::commit_all([output].into_iter().chain(card))?)
}

fn write_fragment_files(cli: &Cli, stage: &Stage, dir: &Path) -> anyhow::Result<()> {
    let n = cli.shares;
    let mut files = Vec::with_capacity(usize::from(n) + 1);
    let paths: Vec<_> = (1..=n).map(|i| dir.join(format!("fragment-{i}-of-{n}.frag"))).collect();
    for path in &paths {
        files.push(create_file(cli, path, Content::Secret, ONLY_COPY, "choose another directory")?);
    }
    let mut card = create_card_file(cli, paths.iter().map(PathBuf::as_path))?;
    let fragments = split_key(cli, stage)?;
    write_card(&mut card, &fragments)?;
    for (file, fragment) in files.iter_mut().zip(&fragments) {
        file.put(&line(fragment))?;
    }
    files.extend(card);
    Ok(Output::commit_all(files)?)
}

/// Creates an output file for `path`.
///
/// # Errors
/// `cannot_create` if `path` exists, unless --force is given. The message contains `why`
/// existing files are not replaced, and the hint contains the alternative, `instead`.
fn create_file(cli: &Cli, path: &Path, content: Content, why: &str, instead: &str) -> Result<Output, Failure> {
    if cli.output.force {
        return Output::named_file(path, content);
    }
    let file = Output::new_file(path)?;
    if path.symlink_metadata().is_ok() {
        let why = format_args!("{}: exists, and {why}", path.display());
        let hint = format!("{instead}, or replace it with --force");
        return Err(Failure::new(ErrorCode::CannotCreate, why).hint(hint));
    }
    Ok(file)
}

/// Creates the output file for the set card, if there is one.
///
/// # Errors
/// `usage` if the path is one of `others`, which the card would replace; the errors of
/// [`create_file`].
fn create_card_file<'p>(cli: &Cli, others: impl IntoIterator<Item = &'p Path>) -> Result<Option<Output>, Failure> {
    let Some(path) = &cli.set_card else { return Ok(None) };
    if others.into_iter().any(|other| is_same(path, other)) {
        let why = format_args!("{}: given both for the set card and for fragments", path.display());
        return Err(Failure::new(ErrorCode::Usage, why));
    }
    create_file(cli, path, Content::Text, "may be the card of a set in use", "choose another file").map(Some)
}

fn write_card(card: &mut Option<Output>, fragments: &[Fragment]) -> Result<(), Failure> {
    match (card, SetCard::from_fragments(fragments)) {
        (Some(file), Some(card)) => file.put(&card.to_line()),
        _ => Ok(()),
    }
}

fn split_key(cli: &Cli, stage: &Stage) -> Result<Vec<Fragment>, Failure> {
    let threshold = cli.threshold.unwrap_or(cli.shares);
    if threshold > cli.shares {
        let why = format_args!("--threshold {threshold} is greater than --shares {}", cli.shares);
        return Err(Failure::new(ErrorCode::Usage, why).hint(SHAMIR_HINT.to_owned()));
    }
    let key = if cli.new_key {
        stage.lock_memory();
        Key::generate().or_fail()?
    } else {
        let text = stage.secret_text(cli.key.source().or_stdin())?;
        Key::parse(&text).or_fail_at("the key")?
    };
    stage.begin();
    match split(&key, cli.scheme, threshold, cli.shares) {
        Err(error @ Error::Malformed { .. }) => Err(Failure::new(ErrorCode::Usage, error).hint(SHAMIR_HINT.to_owned())),
        outcome => outcome.or_fail(),
    }
}

fn line(fragment: &Fragment) -> Zeroizing<Vec<u8>> {
    Zeroizing::new([fragment.to_text().as_bytes(), b"\n"].concat())
}

fn split_file(cli: &Cli, stage: &Stage, name: &Path) -> anyhow::Result<()> {
    let (small, big) = (with_suffix(name, ".small"), with_suffix(name, ".big"));
    if let Some(path) = cli.output.output.as_ref().filter(|path| is_same(path, &small) || is_same(path, &big)) {
        let why = format_args!("{}: given both for the receipt and for a part", path.display());
        return Err(Failure::new(ErrorCode::Usage, why).into());
    }
    let mut receipt_output = stage.output(&cli.output, Content::Text)?;
    let mut input = stage.input(&cli.input)?;
    if let Some(hint) = HeaderJournal::recovery_hint(input.path()) {
        let why = format_args!("{}: {}", input.name(), HeaderJournal::INTERRUPTED);
        return Err(Failure::new(ErrorCode::Malformed, why).hint(hint).into());
    }
    let mut small = Output::file(&small, Content::Binary)?;
    let mut big = Output::file(&big, Content::Binary)?;
    stage.begin();
    if let Some(len) = input.known_len() {
        stage.progress().set_total(len);
    }
    let counted = stage.progress().count(&mut input);
    let digest = match split_parts(counted, small.as_file(), &mut big) {
        Err(Error::Write(error)) => Err(Failure::io(format_args!("{}.small or .big", name.display()), &error)),
        Err(error) if error.is_empty_input() && !input.is_seekable() => {
            Err(Failure::no_input("sealed stream", input.name()))
        }
        outcome => outcome.or_fail_at(input.name()),
    }?;
    Output::commit_all([big, small])?;
    let part = |digest: Digest| PartReceipt { size: digest.len, sha256: digest.hex() };
    let receipt = PartsReceipt { parts: 1, name: cli.name.clone(), small: part(digest.small), big: part(digest.big) };
    receipt_output.put(&receipt.to_line())?;
    Ok(receipt_output.commit()?)
}

/// Returns true if both paths have the same name in the same directory.
fn is_same(one: &Path, other: &Path) -> bool {
    let parent = |path: &Path| Path::new(".").join(path).parent().and_then(|dir| dir.canonicalize().ok());
    one.file_name() == other.file_name() && parent(one) == parent(other)
}

fn with_suffix(name: &Path, suffix: &str) -> std::path::PathBuf {
    let mut path = name.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}
