//! What is published under a name now.

use loader_api::{ResourceEntry, Session};
use loader_cdn::{Meta, Store, is_same_etag};
use loader_http::Notify;
use loader_model::{PartReceipt, ResourceName};
use loader_session::{api_failure, cdn_failure};
use loader_stage::{ErrorCode, Failure};

/// What API and CDN have under a name.
pub(crate) struct Published {
    /// The small part with its receipt, as the API lists it.
    pub(crate) small: Option<ResourceEntry>,
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
            // Keys that may not list are told that of what is absent (S3 API reference,
            // HeadObject); whether they may write shows when it is sent.
            Err(loader_cdn::Error::Forbidden { status: 403, .. }) if small.is_none() => None,
            Err(error @ loader_cdn::Error::Forbidden { status: 403, .. }) => {
                let hint = "it is not theirs, or is gone and the keys may not list (s3:ListBucket)";
                return Err(cdn_failure(&error).hint(hint.to_owned()));
            }
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

    /// Refuses to call a release out of which one part is not there, as far as API
    /// and CDN tell: another push of the name may have run at the same time.
    pub(crate) fn check(&self, name: &ResourceName, ours: &Ours<'_>) -> Result<(), Failure> {
        if let Some(sha256) = self.small.as_ref().and_then(|listed| listed.sha256.as_ref())
            && !sha256.eq_ignore_ascii_case(&ours.small.sha256)
        {
            let what = format_args!("{name}: the API lists sha256 {sha256} after {} was sent", ours.small.sha256);
            return Err(Failure::new(ErrorCode::DigestMismatch, what));
        }
        let etag = self.big.as_ref().and_then(|meta| meta.etag.as_deref());
        let same = match self.compare_big(ours.cut, ours.big_len) {
            BigThere::Same => true,
            BigThere::SameSize => etag.zip(ours.etag).is_none_or(|(there, ours)| is_same_etag(there, ours)),
            BigThere::Other => ours.big_len == 0,
        };
        if same {
            return Ok(());
        }
        let what = format_args!("{name}: its big part is that of another push, which ran at the same time");
        Err(Failure::new(ErrorCode::Changed, what)
            .hint("run again with --replace, and one push of a name at a time".to_owned()))
    }
}

/// A release that was put in place.
pub(crate) struct Ours<'a> {
    /// What the API hands out.
    pub(crate) small: &'a PartReceipt,
    /// Names the file and the place of the cut.
    pub(crate) cut: &'a str,
    /// Bytes of the big part.
    pub(crate) big_len: u64,
    /// What the CDN called the version that goes with it.
    pub(crate) etag: Option<&'a str>,
}

/// The entry of `name` in the list of its folder.
fn listed(session: &mut Session<'_>, name: &ResourceName) -> Result<Option<ResourceEntry>, Failure> {
    let found = session.call(|client, token| client.list(token, name.folder(), Some(name.file_name())));
    let found = found.map_err(|error| api_failure(&error))?;
    Ok(found.into_iter().find(|listed| listed.name == name.file_name()))
}

/// The failure for a name that holds another release.
pub(crate) fn taken(name: &ResourceName, what: &str) -> Failure {
    Failure::new(ErrorCode::CannotCreate, format_args!("{name}: {what}"))
        .hint("put this one in its place with --replace, or choose another name".to_owned())
}
