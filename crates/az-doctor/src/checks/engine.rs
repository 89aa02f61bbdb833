//! The container engine, and room for the archive in it.

use crate::cli::Name;
use crate::finding::Finding;
use crate::visit::Visit;
use loader_engine::{Room, Store};
use loader_model::printable;
use loader_stage::{ErrorCode, Failure};

pub(crate) fn engine(visit: &Visit<'_>) -> Result<Finding, Failure> {
    let engine = visit.engine()?;
    let (version, store) = (printable(engine.version()), engine.store());
    let named = match store {
        Store::Docker => format!("Docker {version}, its own store"),
        Store::Containerd => format!("Docker {version}, the containerd image store"),
        Store::Podman => format!("podman {version}"),
    };
    Ok(Finding::ok(named).with("store", store.as_str()).with("version", version))
}

pub(crate) fn space(visit: &Visit<'_>) -> Result<Finding, Failure> {
    let engine = match visit.after(Name::Engine, visit.engine())? {
        Ok(engine) => engine,
        Err(skipped) => return Ok(skipped),
    };
    let Some((root, free)) = engine.root().zip(engine.free_space()) else {
        return Ok(Finding::skipped("the engine's folder is on another machine", "look there"));
    };
    let archive = match visit.after(Name::Archive, visit.archive())? {
        Ok(archive) => archive,
        Err(skipped) => return Ok(skipped),
    };
    let root = root.display();
    let Some(len) = archive.and_then(|sealed| sealed.header.plaintext_len()) else {
        let hint = "az-doctor ARCHIVE, or AZ_ARCHIVE, whose header tells its length";
        return Ok(Finding::skipped(
            format_args!("no archive to compare with the {free} bytes free under {root}"),
            hint,
        )
        .with("free", free));
    };
    const FREE: &str = "free some space under the engine's folder: docker system df";
    let what = format!("{root}: {free} bytes free, the archive has {len}");
    let finding = match engine.room(len) {
        Room::TooLittle => return Err(Failure::new(ErrorCode::Io, what).hint(FREE.to_owned())),
        Room::Little => Finding::warn(format_args!("{what}, and unpacks to as much again"), FREE),
        Room::Enough | Room::Unknown => Finding::ok(what),
    };
    Ok(finding.with("free", free).with("needed", len))
}
