//! Replaces the published small part, as after a change of keys. The big part stays as it is.

use crate::cli::Cli;
use crate::published::{BigPartMatch, Published, PushedRelease, name_taken};
use crate::split::{digest, receipt};
use loader_api::Session;
use loader_cdn::{ObjectMeta, ObjectStore};
use loader_http::Notify;
use loader_model::{PartReceipt, PartsReceipt};
use loader_seal::Header;
use loader_seal::parts::{SMALL_MAX, split_id};
use loader_stage::{ErrorCode, Failure, Input, OrFail, Stage, Step};

/// Maximum length of a small part with its receipt in bytes.
const LEN_MAX: usize = PartsReceipt::LINE_MAX + SMALL_MAX as usize + 65536;

/// Small part to publish, verified as far as possible without its key.
pub(crate) struct SmallPart {
    pub(crate) content: Vec<u8>,
    pub(crate) receipt: PartsReceipt,
    pub(crate) release: Option<u64>,
    /// Split id of the big part.
    split_id: String,
}

impl SmallPart {
    /// Reads `input` to its end and checks it.
    pub(crate) fn read(cli: &Cli, input: &mut Input) -> Result<Self, Failure> {
        let label = input.name().to_owned();
        let content = input.read_all(LEN_MAX)?.to_vec();
        let malformed = |what| Failure::new(ErrorCode::Malformed, format_args!("{label}: {what}"));
        let (taken, small) = PartsReceipt::split_prefix(&content)
            .ok_or_else(|| {
                malformed("no receipt before the small part")
                    .hint("get it with az-fetch --part published, and change it with az-rekey".to_owned())
            })?
            .map(|(receipt, small)| (receipt, small.to_vec()))
            .map_err(|_| malformed("the receipt cannot be read"))?;
        if receipt(&digest(&small[..])?) != taken.small {
            let why = format_args!("{label}: the small part is not the one of its receipt");
            return Err(Failure::new(ErrorCode::DigestMismatch, why).hint("fetch it again".to_owned()));
        }
        if let Some(other) = taken.name.as_ref().filter(|name| **name != cli.name) {
            let why = format_args!("{label}: its receipt is that of {other}");
            return Err(Failure::new(ErrorCode::DigestMismatch, why));
        }
        let header = Header::read(&mut &small[..]).or_fail_at(&label)?;
        let release = header.unverified_metadata().or_fail_at(&label)?.description.release;
        let split_id = split_id(&header, small.len() as u64);
        Ok(Self { content, receipt: taken, release, split_id })
    }

    /// Replaces the published small part if the CDN has its big part. Returns the metadata of the
    /// big part, size and digest of the published small part, and whether it changed.
    pub(crate) fn publish(
        &self,
        cli: &Cli,
        stage: &Stage,
        session: &mut Session<'_>,
        store: &ObjectStore,
        notify: Notify<'_>,
    ) -> Result<(Option<ObjectMeta>, PartReceipt, bool), Failure> {
        let name = &cli.name;
        let current = Published::query(session, store, name, notify)?;
        let big = &self.receipt.big;
        let other_release = current.release().is_some_and(|release| Some(release) != self.release);
        if big.size > 0 && (other_release || current.compare_big_part(&self.split_id, big.size) == BigPartMatch::Other)
        {
            return Err(name_taken(name, "the big part on the CDN is not the one of this small part")
                .hint("fetch the small part that is published now, and change that one".to_owned()));
        }
        let published = receipt(&digest(&self.content[..])?);
        if current.has_small_part(&published) {
            return Ok((current.big, published, false));
        }
        stage.step(Step::SmallPart, &[("size", self.receipt.small.size.into())]);
        session.call(|client, token| client.put_resource(token, name, &self.content)).or_fail()?;
        let etag = current.big.as_ref().and_then(|meta| meta.etag.as_deref());
        let pushed = PushedRelease { small: &published, split_id: &self.split_id, big_len: big.size, etag };
        Published::query(session, store, name, notify)?.check(name, &pushed)?;
        Ok((current.big, published, true))
    }
}
