//! A resource: the small part from the API, the big part from the cache or the CDN.

use crate::big::Promised;
use crate::cli::{Cli, Wanted};
use crate::origin::Origin;
use loader_api::RESOURCE_MAX;
use loader_cdn::{Beside, Cache, CacheError, Expected};
use loader_http::Notify;
use loader_model::{CdnCredentials, PartsReceipt, ResourceName, User};
use loader_seal::Header;
use loader_seal::parts::split_id;
use loader_session::{Device, is_sealed, kind_of};
use loader_stage::{ErrorCode, Failure, OrFail, Output, Stage};
use std::io::Write;
use std::path::Path;
use zeroize::Zeroizing;

/// Most times that a resource is begun again because it was replaced.
const RESTARTS_MAX: u32 = 3;

/// What fetches resources, one after the other.
pub(crate) struct Fetch<'a> {
    pub(crate) cli: &'a Cli,
    pub(crate) stage: &'a Stage,
    pub(crate) device: &'a Device,
    pub(crate) cdn: Option<CdnCredentials>,
    /// Bytes of the resources in front.
    pub(crate) before: u64,
    pub(crate) notify: Notify<'a>,
}

/// One fetch of one resource.
pub(crate) struct One<'a> {
    pub(crate) fetch: &'a Fetch<'a>,
    pub(crate) name: &'a ResourceName,
    /// To whom small parts are sealed.
    user: User,
}

/// A small part with what stands in front of it.
struct Published {
    /// As the API sealed it.
    sealed: Zeroizing<Vec<u8>>,
    opened: Zeroizing<Vec<u8>>,
}

/// What is known of the big part before it is there.
enum Big {
    /// There is none.
    Absent,
    /// There is one, of this size; where a receipt says so, of this digest, and of
    /// the file and the cut that the second names.
    Expected(Expected, Option<String>),
    /// Perhaps there is one.
    Unknown,
}

impl Fetch<'_> {
    /// Writes the resource `name` to `output`: nothing before both parts are within
    /// reach, and all of it right when this returns `Ok`.
    ///
    /// A release that is replaced meanwhile is fetched from the start, as long as
    /// nothing of the old one has left.
    pub(crate) fn run(&self, name: &ResourceName, origin: &mut Origin<'_>, output: &mut Output) -> Result<(), Failure> {
        One { fetch: self, name, user: origin.user() }.run(origin, output)
    }
}

impl One<'_> {
    fn run(&self, origin: &mut Origin<'_>, output: &mut Output) -> Result<(), Failure> {
        let mut published = self.small_part(origin)?;
        let mut over = 0;
        loop {
            let failure = match self.write(&published, output) {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            let replaced = matches!(failure.code(), ErrorCode::Changed | ErrorCode::DigestMismatch);
            if self.fetch.cli.is_offline() || !replaced || over == RESTARTS_MAX || !output.restart()? {
                return Err(failure);
            }
            let begin = || self.fetch.stage.step("start-over", &[("reason", failure.to_string().into())]);
            let fresh = if failure.code() == ErrorCode::Changed {
                begin();
                // A push puts the small part in place behind the big one.
                std::thread::sleep(self.fetch.cli.api.http.retry_wait * 2_u32.pow(over));
                self.small_part(origin)?
            } else {
                let fresh = self.small_part(origin)?;
                if fresh.opened == published.opened {
                    return Err(failure);
                }
                begin();
                fresh
            };
            self.count_again();
            published = fresh;
            over += 1;
        }
    }

    /// Counts the bytes of this resource from its start.
    pub(crate) fn count_again(&self) {
        self.fetch.stage.progress().restart();
        self.fetch.stage.progress().add(self.fetch.before);
    }

    fn write(&self, published: &Published, output: &mut Output) -> Result<(), Failure> {
        let (sealed, published) = (&published.sealed[..], &published.opened[..]);
        let (small, big) = self.plan(published)?;
        self.fetch.stage.step("small-part", &[("size", small.len().into())]);
        let small_alone = self.fetch.cli.part.is_small();
        let small = match self.fetch.cli.part {
            Wanted::Big => &[],
            Wanted::Published => published,
            Wanted::Small | Wanted::Whole => small,
        };
        match big {
            Big::Expected(expected, with) if !small_alone => {
                return self.big_part(&Promised { small, sealed, expected, with }, output);
            }
            Big::Unknown if !small_alone => self.big_part_if_any(small, output)?,
            _ => self.put(small, small.len() as u64, output)?,
        }
        self.keep_small(sealed, if matches!(big, Big::Absent) { &Beside::Nothing } else { &Beside::Elsewhere })
    }

    fn small_part(&self, origin: &mut Origin<'_>) -> Result<Published, Failure> {
        let fetched =
            if self.fetch.cli.is_offline() { None } else { origin.small_part(self.name, self.fetch.device)? };
        let sealed = fetched.map_or_else(|| self.small_from_cache(), Ok)?;
        let opened = self.fetch.device.open(&self.user, kind_of(self.name), &sealed, self.name.as_str())?;
        Ok(Published { sealed, opened })
    }

    /// Keeps the small part beside what belongs to it, where there is a cache.
    pub(crate) fn keep_small(&self, sealed: &[u8], beside: &Beside<'_>) -> Result<(), Failure> {
        let Some(dir) = self.fetch.cli.kept_in().filter(|_| !self.fetch.cli.is_offline()) else { return Ok(()) };
        let kept = Cache::open(dir).and_then(|cache| cache.keep_small(self.name, sealed, beside));
        kept.or_else(|error| self.cache_off(error)).map_err(|error| cache_failure(&error))
    }

    /// What the small part in the cache promises of the big one.
    pub(crate) fn promised_before(&self, cache: &Cache) -> Option<Expected> {
        let sealed = cache.small(self.name, RESOURCE_MAX).ok()??;
        let opened = self.fetch.device.open(&self.user, kind_of(self.name), &sealed, self.name.as_str()).ok()?;
        Some(Expected::from(&PartsReceipt::take_from(&opened)?.ok()?.0.big))
    }

    /// The small part as it was sealed to this user and device in an earlier run.
    fn small_from_cache(&self) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let small = self.cache()?.small(self.name, RESOURCE_MAX).map_err(|error| cache_failure(&error))?;
        small.map(Zeroizing::new).ok_or_else(|| self.not_cached("small part"))
    }

    pub(crate) fn cache(&self) -> Result<Cache, Failure> {
        Cache::open(self.fetch.cli.kept_in().unwrap_or(Path::new("."))).map_err(|error| cache_failure(&error))
    }

    pub(crate) fn not_cached(&self, part: &str) -> Failure {
        let dir = self.fetch.cli.kept_in().unwrap_or(Path::new(".")).display();
        let hint =
            if self.fetch.cli.from.is_some() { "export it once more" } else { "fetch it once without --offline" };
        Failure::new(ErrorCode::NotFound, format_args!("{}: no intact {part} in {dir}", self.name))
            .hint(hint.to_owned())
    }

    /// The bytes of the small part, and what they say of the big one: by the
    /// receipt in front of them, else by the length in a sealed header.
    fn plan<'p>(&self, published: &'p [u8]) -> Result<(&'p [u8], Big), Failure> {
        let place = format!("{}: small part", self.name);
        if let Some(taken) = PartsReceipt::take_from(published) {
            let (receipt, small) = taken.map_err(|_| {
                Failure::new(ErrorCode::Malformed, format_args!("{place}: its receipt cannot be parsed"))
            })?;
            if let Some(other) = receipt.name.as_ref().filter(|name| *name != self.name) {
                let what = format_args!("{place}: its receipt is that of {other}");
                return Err(Failure::new(ErrorCode::DigestMismatch, what));
            }
            Expected::from(&receipt.small)
                .check(small)
                .map_err(|cause| Failure::new(ErrorCode::DigestMismatch, format_args!("{place}: {cause}")))?;
            let with = Header::read(&mut &*small).ok().map(|header| split_id(&header, small.len() as u64));
            let expected = Expected::from(&receipt.big);
            let big = if receipt.big.size == 0 { Big::Absent } else { Big::Expected(expected, with) };
            return Ok((small, big));
        }
        if !is_sealed(published) {
            return Ok((published, Big::Absent));
        }
        let header = Header::read(&mut &*published).or_fail(place, |error| error.code())?;
        let big = match header.sealed_len().map(|len| len.checked_sub(published.len() as u64)) {
            Some(Some(0) | None) => Big::Absent,
            Some(missing) => Big::Expected(Expected { size: missing, sha256: None }, None),
            None => Big::Unknown,
        };
        Ok((published, big))
    }

    pub(crate) fn put(&self, small: &[u8], total: u64, output: &mut Output) -> Result<(), Failure> {
        output.check_room(total)?;
        self.fetch.stage.progress().set_total(self.fetch.before + total);
        let written = self.fetch.stage.progress().count(&mut *output).write_all(small);
        written.map_err(|error| Failure::io(output.name(), &error))
    }

    /// A cache that fails is done without; an export is not.
    pub(crate) fn cache_off(&self, error: CacheError) -> Result<(), CacheError> {
        if self.fetch.cli.export.is_some() {
            return Err(error);
        }
        self.fetch.stage.step("cache-off", &[("reason", error.to_string().into())]);
        Ok(())
    }
}

pub(crate) fn cache_failure(error: &CacheError) -> Failure {
    Failure::new(error.code(), error)
}
