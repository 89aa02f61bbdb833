//! Fetch of a resource: the small part from the API, the big part from the cache or the CDN.

use crate::big_part::BigPart;
use crate::cli::PartSelection;
use crate::context::{ResourceFetch, RunContext};
use crate::sealed_source::SealedSource;
use loader_cdn::{ExpectedPart, SmallPartContext};
use loader_model::{PartsReceipt, ResourceName};
use loader_seal::Header;
use loader_seal::parts::split_id;
use loader_session::{is_sealed, seal_kind};
use loader_stage::{ErrorCode, Failure, OrFail, Output, Step};
use zeroize::Zeroizing;

/// Maximum number of restarts after the resource was replaced.
const RESTARTS_MAX: u32 = 3;

/// Small part, preceded by its receipt if it has one.
struct Published {
    /// As the API sealed it.
    sealed: Zeroizing<Vec<u8>>,
    opened: Zeroizing<Vec<u8>>,
}

/// What the small part reveals about the big part.
enum BigPartInfo {
    /// There is no big part.
    Absent,
    /// There is a big part of this size. Digest and split id are known if there is a receipt.
    Present { expected: ExpectedPart, split_id: Option<String> },
    /// There may be a big part.
    Unknown,
}

/// Writes the resource `name` to `output`. Nothing is written before both parts are available, and
/// all written bytes are verified if this returns `Ok`.
///
/// If the release is replaced in the meantime, the fetch restarts, unless bytes of the old release
/// have already left the process.
pub(crate) fn fetch(
    run: &RunContext<'_>,
    name: &ResourceName,
    source: &mut SealedSource<'_>,
    output: &mut Output,
) -> Result<(), Failure> {
    ResourceFetch { run, name, user: source.user() }.fetch(source, output)
}

impl ResourceFetch<'_> {
    fn fetch(&self, source: &mut SealedSource<'_>, output: &mut Output) -> Result<(), Failure> {
        let mut published = self.small_part(source)?;
        let mut restarts = 0;
        loop {
            let failure = match self.write(&published, output) {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            let is_replaced = matches!(failure.code(), ErrorCode::Changed | ErrorCode::DigestMismatch);
            if self.run.cli.is_offline() || !is_replaced || restarts == RESTARTS_MAX || !output.restart()? {
                return Err(failure);
            }
            let report_restart = || self.run.stage.step(Step::StartOver, &[("reason", failure.to_string().into())]);
            let next = if failure.code() == ErrorCode::Changed {
                report_restart();
                // A push publishes the small part after the big part.
                std::thread::sleep(self.run.cli.api.http.retry_wait * 2_u32.pow(restarts));
                self.small_part(source)?
            } else {
                let next = self.small_part(source)?;
                if next.opened == published.opened {
                    return Err(failure);
                }
                report_restart();
                next
            };
            self.restart_progress();
            published = next;
            restarts += 1;
        }
    }

    fn write(&self, published: &Published, output: &mut Output) -> Result<(), Failure> {
        let (sealed, published) = (&published.sealed[..], &published.opened[..]);
        let (small, info) = self.parse_small_part(published)?;
        self.run.stage.step(Step::SmallPart, &[("size", small.len().into())]);
        let without_big = self.run.cli.part.is_small();
        let small = match self.run.cli.part {
            PartSelection::Big => &[],
            PartSelection::Published => published,
            PartSelection::Small | PartSelection::Whole => small,
        };
        let context = match info {
            BigPartInfo::Absent => SmallPartContext::NoBigPart,
            _ => SmallPartContext::BigPartElsewhere,
        };
        match info {
            BigPartInfo::Present { expected, split_id } if !without_big => {
                return self.write_with_big_part(&BigPart { small, sealed, expected, split_id }, output);
            }
            BigPartInfo::Unknown if !without_big => self.write_with_unknown_big_part(small, output)?,
            _ => self.write_small(small, small.len() as u64, output)?,
        }
        self.cache_small_part(sealed, &context)
    }

    fn small_part(&self, source: &mut SealedSource<'_>) -> Result<Published, Failure> {
        let fetched = if self.run.cli.is_offline() { None } else { source.small_part(self.name, self.run.device)? };
        let sealed = fetched.map_or_else(|| self.cached_small_part(), Ok)?;
        let opened = self.run.device.open(&self.user, seal_kind(self.name), &sealed, self.name.as_str())?;
        Ok(Published { sealed, opened })
    }

    /// Returns the bytes of the small part without its receipt, and what the receipt, or else the
    /// length in a sealed header, reveals about the big part.
    fn parse_small_part<'p>(&self, published: &'p [u8]) -> Result<(&'p [u8], BigPartInfo), Failure> {
        let label = format!("{}: small part", self.name);
        if let Some(taken) = PartsReceipt::split_prefix(published) {
            let (receipt, small) = taken.map_err(|_| {
                Failure::new(ErrorCode::Malformed, format_args!("{label}: its receipt cannot be parsed"))
            })?;
            if let Some(other) = receipt.name.as_ref().filter(|name| *name != self.name) {
                let what = format_args!("{label}: its receipt is that of {other}");
                return Err(Failure::new(ErrorCode::DigestMismatch, what));
            }
            ExpectedPart::from(&receipt.small)
                .check(small)
                .map_err(|cause| Failure::new(ErrorCode::DigestMismatch, format_args!("{label}: {cause}")))?;
            if receipt.big.size == 0 {
                return Ok((small, BigPartInfo::Absent));
            }
            let split_id = Header::read(&mut &*small).ok().map(|header| split_id(&header, small.len() as u64));
            return Ok((small, BigPartInfo::Present { expected: ExpectedPart::from(&receipt.big), split_id }));
        }
        if !is_sealed(published) {
            return Ok((published, BigPartInfo::Absent));
        }
        let header = Header::read(&mut &*published).or_fail_at(label)?;
        let info = match header.sealed_len().map(|len| len.checked_sub(published.len() as u64)) {
            Some(Some(0) | None) => BigPartInfo::Absent,
            Some(size) => BigPartInfo::Present { expected: ExpectedPart { size, sha256: None }, split_id: None },
            None => BigPartInfo::Unknown,
        };
        Ok((published, info))
    }
}
