//! Joining fragments to a key.

use crate::cli::Cli;
use loader_seal::fragment::{Fragment, SetCard, join};
use loader_seal::{Error, Key};
use loader_stage::{Content, ErrorCode, Failure, OrFail, SecretSource, Stage};
use std::path::Path;
use zeroize::Zeroizing;

/// Maximum number of fragments in a hint; the others are counted.
const LISTED_MAX: usize = 5;

pub(crate) fn run(cli: &Cli, stage: &Stage) -> anyhow::Result<()> {
    let mut output = stage.output(&cli.output, Content::Secret)?;
    let key = if cli.raw_sha256 { hash_raw_fragment(cli, stage)? } else { join_fragments(cli, stage)? };
    output.put(&Zeroizing::new([key.to_text().as_bytes(), b"\n"].concat()))?;
    Ok(output.commit()?)
}

fn hash_raw_fragment(cli: &Cli, stage: &Stage) -> Result<Key, Failure> {
    let [path] = cli.inputs()[..] else {
        return Err(Failure::new(ErrorCode::Usage, "--raw-sha256 takes one file"));
    };
    let fragment = read_secret(stage, fragment_source(path).binary())?;
    stage.begin();
    Ok(Key::from_raw_fragment(&fragment))
}

fn join_fragments(cli: &Cli, stage: &Stage) -> Result<Key, Failure> {
    // Allocated for the largest set: a reallocation would leave unwiped shares in memory.
    let mut fragments = Vec::with_capacity(255);
    let mut sources = Vec::new();
    for path in cli.inputs() {
        let name = if path.as_os_str() == "-" { "standard input".to_owned() } else { path.display().to_string() };
        let bytes = read_secret(stage, fragment_source(path))?;
        let text = str::from_utf8(&bytes).map_err(|_| {
            Failure::new(ErrorCode::Malformed, format_args!("{name}: not text"))
                .hint("use --raw-sha256 for a fragment without text form".to_owned())
        })?;
        let found = Fragment::parse_all(text).or_fail_at(&name)?;
        sources.extend(found.iter().map(|_| name.clone()));
        fragments.extend(found.iter().cloned());
    }
    let card = cli.set_card.as_deref().map(|path| read_card(stage, path)).transpose()?;
    stage.begin();
    if let Some(card) = card {
        for (fragment, source) in fragments.iter().zip(&sources) {
            let checked = card.check(fragment).or_fail_at(source);
            checked.map_err(|failure| failure.hint(describe(&fragments, &sources)))?;
        }
    }
    let key = join(&fragments).map_err(Error::from);
    key.or_fail().map_err(|failure| failure.hint(describe(&fragments, &sources)))
}

fn read_card(stage: &Stage, path: &Path) -> Result<SetCard, Failure> {
    let mut input = stage.input(path)?;
    let json = input.read_text(SetCard::LEN_MAX)?;
    SetCard::from_json(&json).or_fail_at(input.name())
}

fn fragment_source(path: &Path) -> SecretSource<'_> {
    SecretSource::new("fragment", Some(path), None)
}

fn read_secret(stage: &Stage, from: SecretSource<'_>) -> Result<Zeroizing<Vec<u8>>, Failure> {
    Ok(stage.secret(from)?.unwrap_or_default())
}

/// Returns a hint with the public values of the given fragments.
fn describe(fragments: &[Fragment], sources: &[String]) -> String {
    let one = |(fragment, source): (&Fragment, &String)| {
        format!("{} of {} from set {} in {source}", fragment.index(), fragment.shares(), fragment.set_id())
    };
    let mut listed: Vec<_> = fragments.iter().zip(sources).take(LISTED_MAX).map(one).collect();
    if fragments.len() > LISTED_MAX {
        listed.push(format!("{} more", fragments.len() - LISTED_MAX));
    }
    // There are two sets of one key if the key was split again.
    let (first, rest) = (&fragments[0], &fragments[1..]);
    let is_stale = rest.iter().all(|other| other.key_id() == first.key_id())
        && rest.iter().any(|other| other.set_id() != first.set_id());
    let stale = if is_stale { "the key was split again: use fragments of one set; " } else { "" };
    format!("{stale}given: {}", listed.join(", "))
}
