//! What az-encrypt does.

use crate::cli::Cli;
use crate::images::{self, Recorded, SameReader};
use loader_seal::{Error, Key, Metadata, SealOptions, seal};
use loader_stage::{Content, ErrorCode, Failure, OrFail, SecretSource, Stage};
use std::io;
use std::path::Path;

pub(crate) fn run(cli: &Cli, stage: &Stage) -> anyhow::Result<()> {
    check_room(cli)?;
    let mut input = stage.input(&cli.input)?;
    let keys = keys(cli, stage)?;
    let mut output = stage.output(&cli.output, Content::Binary)?;
    let Recorded { list: images, digest } = images::record(cli, stage, &input)?;
    let archive = images.as_ref().map(|_| images::DOCKER_ARCHIVE.to_owned());
    let options = SealOptions {
        suite: cli.suite,
        segment_log2: cli.segment,
        plaintext_len: input.known_len(),
        metadata: Metadata { content_type: cli.content_type.clone().or(archive), images, ..metadata(cli) },
        threads: loader_stage::thread_count(cli.threads),
        ..SealOptions::default()
    };
    stage.begin();
    if let Some(len) = options.plaintext_len {
        stage.progress().set_total(len);
    }
    let place = input.name().to_owned();
    let mut same = SameReader::new(stage.progress().count(input.polled()), digest);
    let sealed = seal(&mut same, &mut output, &keys, &options);
    sealed.map_err(|error| match error {
        Error::Read(_) if same.is_changed() => {
            Failure::new(ErrorCode::Changed, format_args!("{place}: changed while it was sealed"))
                .hint("seal it again when nobody writes it".to_owned())
        }
        Error::Write(cause) => Failure::io(output.name(), &cause),
        Error::Read(cause) => Failure::io(&place, &cause),
        other => Failure::new(ErrorCode::from_name(other.code()), format_args!("{place}: {other}")),
    })?;
    output.commit()?;
    Ok(())
}

/// What the command line alone puts into the header.
fn metadata(cli: &Cli) -> Metadata {
    Metadata {
        content_type: cli.content_type.clone(),
        name: cli.name.as_ref().map(ToString::to_string),
        release: cli.release,
        images: None,
        comment: cli.comment.clone(),
    }
}

/// Refuses what no header has room for, before a key or the input is read: seals
/// nothing, for keys of zeros, and throws it away.
fn check_room(cli: &Cli) -> Result<(), Failure> {
    let keys: Vec<_> = (0..(cli.key_file.len() + cli.key_fd.len()).max(1)).map(|_| Key::from_bytes([0; 32])).collect();
    let options = SealOptions { metadata: metadata(cli), ..SealOptions::default() };
    match seal(&mut io::empty(), &mut io::sink(), &keys, &options) {
        Err(error @ Error::Malformed { .. }) => Err(Failure::new(ErrorCode::Usage, error)
            .hint("--comment, --content-type, --name and the keys share the 65536 bytes of the header".to_owned())),
        outcome => outcome.map(drop).or_fail("", |error| ErrorCode::from_name(error.code())),
    }
}

fn keys(cli: &Cli, stage: &Stage) -> Result<Vec<Key>, Failure> {
    // A file that only the environment names must not add a key to those of the command line.
    let added = !cli.key_fd.is_empty() && !loader_stage::is_on_command_line("--key-file");
    let named = if added { &[] } else { &cli.key_file[..] };
    let files = named.iter().map(|path| (Some(path.as_path()), None));
    let fds = cli.key_fd.iter().map(|fd| (None, Some(*fd)));
    let mut sources: Vec<(Option<&Path>, Option<u32>)> = files.chain(fds).collect();
    if sources.is_empty() {
        // Lets the stage say how a key is given.
        sources.push((None, None));
    }
    let read = |(file, fd)| {
        let line = stage.secret_text(SecretSource::new("key", file, fd))?;
        Key::parse(&line).or_fail("the key", |e| ErrorCode::from_name(e.code()))
    };
    sources.into_iter().map(read).collect()
}
