//! Fragments to a key.

use crate::cli::Cli;
use loader_seal::fragment::{CardError, Fragment, SetCard, join};
use loader_seal::{Error, Key};
use loader_stage::{Content, ErrorCode, Failure, OrFail, SecretSource, Stage};
use std::path::Path;
use zeroize::Zeroizing;

/// Fragments that a hint lists before it only counts them.
const LISTED: usize = 5;

pub(crate) fn run(cli: &Cli, stage: &Stage) -> anyhow::Result<()> {
    let mut output = stage.output(&cli.output, Content::Secret)?;
    let key = if cli.raw_sha256 { raw(cli, stage)? } else { joined(cli, stage)? };
    output.put(&Zeroizing::new([key.to_text().as_bytes(), b"\n"].concat()))?;
    Ok(output.commit()?)
}

fn raw(cli: &Cli, stage: &Stage) -> Result<Key, Failure> {
    let [path] = cli.inputs()[..] else {
        return Err(Failure::new(ErrorCode::Usage, "--raw-sha256 takes one file"));
    };
    let fragment = read(stage, fragment_at(path).binary())?;
    stage.begin();
    Ok(Key::from_raw_fragment(&fragment))
}

fn joined(cli: &Cli, stage: &Stage) -> Result<Key, Failure> {
    // Room for the largest set, so that no growing leaves a share behind.
    let mut fragments = Vec::with_capacity(255);
    let mut sources = Vec::new();
    for path in cli.inputs() {
        let name = if path.as_os_str() == "-" { "standard input".to_owned() } else { path.display().to_string() };
        let bytes = read(stage, fragment_at(path))?;
        let text = str::from_utf8(&bytes).map_err(|_| {
            Failure::new(ErrorCode::Malformed, format_args!("{name}: not text"))
                .hint("a fragment without a text form needs --raw-sha256".to_owned())
        })?;
        let found = Fragment::parse_all(text).or_fail(&name, |error| ErrorCode::from_name(error.code()))?;
        sources.extend(found.iter().map(|_| name.clone()));
        fragments.extend(found.iter().cloned());
    }
    let card = cli.set_card.as_deref().map(|path| read_card(stage, path)).transpose()?;
    stage.begin();
    if let Some(card) = card {
        for (fragment, source) in fragments.iter().zip(&sources) {
            let checked = card.check(fragment).or_fail(source, card_code);
            checked.map_err(|failure| failure.hint(listing(&fragments, &sources)))?;
        }
    }
    let key = join(&fragments).map_err(Error::from);
    key.or_fail("", |error| ErrorCode::from_name(error.code()))
        .map_err(|failure| failure.hint(listing(&fragments, &sources)))
}

fn read_card(stage: &Stage, path: &Path) -> Result<SetCard, Failure> {
    let mut input = stage.input(path)?;
    let json = input.read_text(SetCard::LEN_MAX)?;
    SetCard::from_json(&json).or_fail(input.name(), card_code)
}

fn card_code(error: &CardError) -> ErrorCode {
    ErrorCode::from_name(error.code())
}

fn fragment_at(path: &Path) -> SecretSource<'_> {
    SecretSource::new("fragment", Some(path), None)
}

fn read(stage: &Stage, from: SecretSource<'_>) -> Result<Zeroizing<Vec<u8>>, Failure> {
    Ok(stage.secret(from)?.unwrap_or_default())
}

/// What was given, as far as it is public.
fn listing(fragments: &[Fragment], sources: &[String]) -> String {
    let describe = |(fragment, source): (&Fragment, &String)| {
        format!("{} of {} of set {} in {source}", fragment.index(), fragment.shares(), fragment.set())
    };
    let mut listed: Vec<_> = fragments.iter().zip(sources).take(LISTED).map(describe).collect();
    if fragments.len() > LISTED {
        listed.push(format!("{} more", fragments.len() - LISTED));
    }
    // The key id is public, and two sets of one key are what cutting it again leaves.
    let (first, rest) = (&fragments[0], &fragments[1..]);
    let is_stale = rest.iter().all(|other| other.key_id() == first.key_id())
        && rest.iter().any(|other| other.set() != first.set());
    let stale = if is_stale { "the key was cut again: take all fragments of one set; " } else { "" };
    format!("{stale}given: {}", listed.join(", "))
}
