//! The container engine, and the free space for the archive.

use crate::cli::CheckName;
use crate::context::Context;
use crate::finding::Finding;
use loader_engine::{Room, Store};
use loader_model::printable;
use loader_seal::Header;
use loader_stage::{ErrorCode, Failure};

pub(crate) fn engine(context: &Context<'_>) -> Result<Finding, Failure> {
    let engine = context.engine()?;
    let (version, store) = (printable(engine.version()), engine.store());
    let description = match store {
        Store::Docker => format!("Docker {version} with its own image store"),
        Store::Containerd => format!("Docker {version} with the containerd image store"),
        Store::Podman => format!("podman {version}"),
    };
    Ok(Finding::ok(description).with("store", store.as_str()).with("version", version))
}

pub(crate) fn space(context: &Context<'_>) -> Result<Finding, Failure> {
    let engine = match context.require(CheckName::Engine, context.engine())? {
        Ok(engine) => engine,
        Err(skipped) => return Ok(skipped),
    };
    let Some((root, free)) = engine.root().zip(engine.free_space()) else {
        return Ok(Finding::skipped("the directory of the engine is on another machine", "check the free space there"));
    };
    let archive = match context.require(CheckName::Archive, context.archive())? {
        Ok(archive) => archive,
        Err(skipped) => return Ok(skipped),
    };
    let root = root.display();
    let content_len = |header: &Header| {
        header.plaintext_len().or_else(|| header.unverified_metadata().ok().and_then(|metadata| metadata.content_len))
    };
    let Some(len) = archive.and_then(|sealed| content_len(&sealed.header)) else {
        let hint = "pass ARCHIVE, or set AZ_ARCHIVE; its header must contain the length";
        return Ok(Finding::skipped(
            format_args!("no archive to compare with the {free} bytes free under {root}"),
            hint,
        )
        .with("free", free));
    };
    const FREE_SPACE: &str = "free some space in the directory of the engine; docker system df shows the usage";
    let text = format!("{root}: {free} bytes free, the archive has {len}");
    let finding = match engine.room(len) {
        Room::TooLittle => return Err(Failure::new(ErrorCode::Io, text).hint(FREE_SPACE.to_owned())),
        Room::Little => Finding::warn(format_args!("{text}, and unpacking needs about as much again"), FREE_SPACE),
        Room::Enough | Room::Unknown => Finding::ok(text),
    };
    Ok(finding.with("free", free).with("needed", len))
}
