//! What is published under a name now.

use loader_api::{Listed, Session};
use loader_cdn::{Meta, Store};
use loader_http::Notify;
use loader_model::{PartReceipt, ResourceName};
use loader_session::api_failure;
use loader_stage::{ErrorCode, Failure};

/// What API and CDN have under a name.
pub(crate) struct Published {
    /// The small part with its receipt, as the API lists it.
    pub(crate) small: Option<Listed>,
    /// The big part, as the CDN tells of it.
    pub(crate) big: Option<Meta>,
}

/// Whether the big part on the CDN is the one that is to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BigThere {
    /// It says that it belongs to this file and this cut.
    Same,
    /// It has the size, and does not say what it goes with.
    SameSize,
    Other,
}

impl Published {
    pub(crate) fn ask(
        session: &mut Session<'_>,
        store: &Store,
        name: &ResourceName,
        notify: Notify<'_>,
    ) -> Result<Self, Failure> {
        let small = listed(session, name)?;
        let big = match store.head(name, notify) {
            Ok(meta) => Some(meta),
            Err(loader_cdn::Error::NotFound { .. }) => None,
            Err(error) => return Err(cdn_failure(&error)),
        };
        Ok(Self { small, big })
    }

    /// The release that the CDN tells of the big part.
    pub(crate) fn release(&self) -> Option<u64> {
        self.big.as_ref().and_then(|meta| meta.release)
    }

    /// True where exactly this small part, with the receipt in front of it, is published.
    pub(crate) fn has_small(&self, published: &PartReceipt) -> bool {
        self.small.as_ref().is_some_and(|listed| {
            listed.sha256.as_ref().is_some_and(|sha256| sha256.eq_ignore_ascii_case(&published.sha256))
        })
    }

    /// What is known of the big part on the CDN beside one of `len` bytes of `cut`.
    pub(crate) fn compare_big(&self, cut: &str, len: u64) -> BigThere {
        match &self.big {
            Some(meta) if meta.size != len => BigThere::Other,
            Some(Meta { cut: Some(there), .. }) if there == cut => BigThere::Same,
            Some(Meta { cut: None, .. }) => BigThere::SameSize,
            _ => BigThere::Other,
        }
    }
}

/// The entry of `name` in the list of its folder.
pub(crate) fn listed(session: &mut Session<'_>, name: &ResourceName) -> Result<Option<Listed>, Failure> {
    let found = session.call(|client, token| client.list(token, name.folder(), Some(name.file_name())));
    let found = found.map_err(|error| api_failure(&error))?;
    Ok(found.into_iter().find(|listed| listed.name == name.file_name()))
}

/// The failure for a name that holds another release.
pub(crate) fn taken(name: &ResourceName, what: &str) -> Failure {
    Failure::new(ErrorCode::CannotCreate, format_args!("{name}: {what}"))
        .hint("put this one in its place with --replace, or choose another name".to_owned())
}

pub(crate) fn cdn_failure(error: &loader_cdn::Error) -> Failure {
    Failure::new(error.code(), error).hint(error.hint())
}
