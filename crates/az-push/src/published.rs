//! State of a published resource.

use loader_api::{ResourceEntry, Session};
use loader_cdn::{ObjectMeta, ObjectStore, etags_match};
use loader_http::Notify;
use loader_model::{PartReceipt, ResourceName};
use loader_stage::{ErrorCode, Failure, OrFail};

/// Parts of a resource on the API and on the CDN.
pub(crate) struct Published {
    /// Small part with its receipt, as the API lists it.
    pub(crate) small: Option<ResourceEntry>,
    /// Metadata of the big part on the CDN.
    pub(crate) big: Option<ObjectMeta>,
}

/// Result of the comparison of the big part on the CDN with the expected one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BigPartMatch {
    /// Same split id; same size, if the CDN reports one.
    Same,
    /// Same size and no split id.
    SameSize,
    Other,
}

impl Published {
    pub(crate) fn query(
        session: &mut Session<'_>,
        store: &ObjectStore,
        name: &ResourceName,
        notify: Notify<'_>,
    ) -> Result<Self, Failure> {
        let small = list_entry(session, name)?;
        let big = match store.head(name, notify) {
            Ok(meta) => Some(meta),
            Err(loader_cdn::Error::NotFound { .. }) => None,
            // Without permission to list, an absent object is reported as forbidden (S3 API
            // reference, HeadObject). Whether the keys may write is known after the upload.
            Err(loader_cdn::Error::Forbidden { status: 403, .. }) if small.is_none() => None,
            Err(error @ loader_cdn::Error::Forbidden { status: 403, .. }) => {
                let hint = "the keys have no access, or the object is missing and they may not list (s3:ListBucket)";
                return Err(Failure::of(&error).hint(hint.to_owned()));
            }
            Err(error) => return Err(Failure::of(&error)),
        };
        Ok(Self { small, big })
    }

    /// Returns the release number in the metadata of the big part.
    pub(crate) fn release(&self) -> Option<u64> {
        self.big.as_ref().and_then(|meta| meta.release)
    }

    /// Returns true if exactly this small part, preceded by its receipt, is published.
    pub(crate) fn has_small_part(&self, published: &PartReceipt) -> bool {
        self.small.as_ref().is_some_and(|listed| {
            listed.sha256.as_ref().is_some_and(|sha256| sha256.eq_ignore_ascii_case(&published.sha256))
        })
    }

    /// Compares the big part on the CDN with one of `len` bytes and this split id.
    pub(crate) fn compare_big_part(&self, split_id: &str, len: u64) -> BigPartMatch {
        match &self.big {
            Some(meta) if meta.size.is_some_and(|size| size != len) => BigPartMatch::Other,
            Some(ObjectMeta { split_id: Some(stored), .. }) if stored == split_id => BigPartMatch::Same,
            Some(ObjectMeta { split_id: None, size: Some(_), .. }) => BigPartMatch::SameSize,
            _ => BigPartMatch::Other,
        }
    }

    /// Checks that both parts of the release are published, as far as API and CDN reveal it:
    /// another push of the name may have run at the same time.
    pub(crate) fn check(&self, name: &ResourceName, pushed: &PushedRelease<'_>) -> Result<(), Failure> {
        if let Some(sha256) = self.small.as_ref().and_then(|listed| listed.sha256.as_ref())
            && !sha256.eq_ignore_ascii_case(&pushed.small.sha256)
        {
            let what = format_args!("{name}: the API lists sha256 {sha256} after {} was sent", pushed.small.sha256);
            return Err(Failure::new(ErrorCode::DigestMismatch, what));
        }
        let etag = self.big.as_ref().and_then(|meta| meta.etag.as_deref());
        let same = match self.compare_big_part(pushed.split_id, pushed.big_len) {
            BigPartMatch::Same => true,
            BigPartMatch::SameSize => {
                etag.zip(pushed.etag).is_none_or(|(published, pushed)| etags_match(published, pushed))
            }
            BigPartMatch::Other => pushed.big_len == 0,
        };
        if same {
            return Ok(());
        }
        let what = format_args!("{name}: its big part is that of another push, which ran at the same time");
        Err(Failure::new(ErrorCode::Changed, what)
            .hint("run again with --replace, and push each name only once at a time".to_owned()))
    }
}

/// Release that was pushed.
pub(crate) struct PushedRelease<'a> {
    /// Size and digest of what the API sends.
    pub(crate) small: &'a PartReceipt,
    /// Split id of the big part.
    pub(crate) split_id: &'a str,
    /// Size of the big part in bytes.
    pub(crate) big_len: u64,
    /// ETag of the big part.
    pub(crate) etag: Option<&'a str>,
}

/// Returns the entry of `name` in the list of its directory.
fn list_entry(session: &mut Session<'_>, name: &ResourceName) -> Result<Option<ResourceEntry>, Failure> {
    let found = session.call(|client, token| client.list(token, name.folder(), Some(name.file_name())));
    let found = found.or_fail()?;
    Ok(found.into_iter().find(|listed| listed.name == name.file_name()))
}

/// Returns the failure for a name that is used by another release.
pub(crate) fn name_taken(name: &ResourceName, what: &str) -> Failure {
    Failure::new(ErrorCode::CannotCreate, format_args!("{name}: {what}"))
        .hint("replace it with --replace, or use another name".to_owned())
}
