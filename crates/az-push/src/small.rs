//! A small part with its receipt in place of the one that is published: what a
//! change of keys makes. The big part stays as it is.

use crate::cli::Cli;
use crate::cut::{digest, receipt};
use crate::published::{BigThere, Ours, Published, taken};
use loader_api::Session;
use loader_cdn::{Meta, Store};
use loader_http::Notify;
use loader_model::{PartReceipt, PartsReceipt};
use loader_seal::Header;
use loader_seal::parts::{SMALL_MAX, split_id};
use loader_session::api_failure;
use loader_stage::{ErrorCode, Failure, Input, OrFail, Stage};

/// Longest small part with its receipt in bytes.
const LEN_MAX: usize = PartsReceipt::LINE_MAX + SMALL_MAX as usize + 65536;

/// What is to be published, checked as far as it can be without its key.
pub(crate) struct SmallPart {
    pub(crate) content: Vec<u8>,
    pub(crate) receipt: PartsReceipt,
    pub(crate) release: Option<u64>,
    /// Names the file and the place of the cut.
    cut: String,
}

impl SmallPart {
    /// Reads `input` to its end.
    pub(crate) fn read(cli: &Cli, input: &mut Input) -> Result<Self, Failure> {
        let place = input.name().to_owned();
        let content = input.read_all(LEN_MAX)?.to_vec();
        let malformed = |what| Failure::new(ErrorCode::Malformed, format_args!("{place}: {what}"));
        let (taken, small) = PartsReceipt::take_from(&content)
            .ok_or_else(|| {
                malformed("no receipt in front of a small part")
                    .hint("get it with az-fetch --part published, and change it with az-rekey".to_owned())
            })?
            .map(|(receipt, small)| (receipt, small.to_vec()))
            .map_err(|_| malformed("the receipt cannot be read"))?;
        if receipt(&digest(&small[..])?) != taken.small {
            let why = format_args!("{place}: the small part is not the one of its receipt");
            return Err(Failure::new(ErrorCode::DigestMismatch, why).hint("fetch it again".to_owned()));
        }
        if let Some(other) = taken.name.as_ref().filter(|name| **name != cli.name) {
            let why = format_args!("{place}: its receipt is that of {other}");
            return Err(Failure::new(ErrorCode::DigestMismatch, why));
        }
        let code = |error: &loader_seal::Error| error.code();
        let header = Header::read(&mut &small[..]).or_fail(&place, code)?;
        let release = header.unverified_metadata().or_fail(&place, code)?.release;
        let cut = split_id(&header, small.len() as u64);
        Ok(Self { content, receipt: taken, release, cut })
    }

    /// Puts it in place of what is published, where the CDN has its big part.
    /// Gives what is there of that, what is published now, and whether it changed.
    pub(crate) fn publish(
        &self,
        cli: &Cli,
        stage: &Stage,
        session: &mut Session<'_>,
        store: &Store,
        notify: Notify<'_>,
    ) -> Result<(Option<Meta>, PartReceipt, bool), Failure> {
        let name = &cli.name;
        let there = Published::ask(session, store, name, notify)?;
        let big = &self.receipt.big;
        let other_release = there.release().is_some_and(|release| Some(release) != self.release);
        if big.size > 0 && (other_release || there.compare_big(&self.cut, big.size) == BigThere::Other) {
            return Err(taken(name, "the big part on the CDN is not the one of this small part")
                .hint("fetch the small part of what is published now, and change that".to_owned()));
        }
        let published = receipt(&digest(&self.content[..])?);
        if there.has_small(&published) {
            return Ok((there.big, published, false));
        }
        stage.step("small-part", &[("size", self.receipt.small.size.into())]);
        session
            .call(|client, token| client.put_resource(token, name, &self.content))
            .map_err(|error| api_failure(&error))?;
        let etag = there.big.as_ref().and_then(|meta| meta.etag.as_deref());
        let ours = Ours { small: &published, cut: &self.cut, big_len: big.size, etag };
        Published::ask(session, store, name, notify)?.check(name, &ours)?;
        Ok((there.big, published, true))
    }
}
