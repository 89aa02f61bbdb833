//! A resource: the small part from the API, the big part from the cache or the CDN.

use crate::cli::{Cli, Wanted};
use crate::origin::Origin;
use loader_api::RESOURCE_MAX;
use loader_cdn::{Cache, Claim, Expected, GetPlan, Object, Partial, Source, Start, Store, transfer};
use loader_http::Notify;
use loader_model::{CdnCredentials, PartsReceipt, ResourceName};
use loader_seal::Header;
use loader_seal::parts::cut_name;
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
struct One<'a> {
    fetch: &'a Fetch<'a>,
    name: &'a ResourceName,
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
        One { fetch: self, name }.run(origin, output)
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
                if fresh[..] == published[..] {
                    return Err(failure);
                }
                begin();
                fresh
            };
            self.fetch.stage.progress().restart();
            self.fetch.stage.progress().add(self.fetch.before);
            published = fresh;
            over += 1;
        }
    }

    fn write(&self, published: &[u8], output: &mut Output) -> Result<(), Failure> {
        let (small, big) = self.plan(published)?;
        self.fetch.stage.step("small-part", &[("size", small.len().into())]);
        let small_alone = self.fetch.cli.part.is_small();
        let small = match self.fetch.cli.part {
            Wanted::Big => &[],
            Wanted::Published => published,
            Wanted::Small | Wanted::Whole => small,
        };
        match big {
            Big::Expected(expected, with) if !small_alone => self.big_part(small, &expected, with.as_deref(), output),
            Big::Unknown if !small_alone => self.big_part_if_any(small, output),
            _ => self.put(small, small.len() as u64, output),
        }
    }

    fn small_part(&self, origin: &mut Origin<'_>) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let fetched =
            if self.fetch.cli.is_offline() { None } else { origin.small_part(self.name, self.fetch.device)? };
        let sealed = match &fetched {
            Some(sealed) => sealed,
            None => &self.small_from_cache()?,
        };
        let opened = self.fetch.device.open(&origin.user(), kind_of(self.name), sealed, self.name.as_str())?;
        // A cache that cannot be opened is reported with the big part.
        let cache = match self.fetch.cli.kept_in().map(Cache::open).transpose() {
            Err(error) if self.fetch.cli.export.is_some() => return Err(Failure::new(error.code(), error)),
            opened => opened.ok().flatten(),
        };
        if let Some((sealed, cache)) = fetched.as_ref().zip(cache) {
            cache.keep_small(self.name, sealed).or_else(|error| self.cache_off(&error))?;
        }
        Ok(opened)
    }

    /// The small part as it was sealed to this user and device in an earlier run.
    fn small_from_cache(&self) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let small = self.cache()?.small(self.name, RESOURCE_MAX).map_err(|error| Failure::new(error.code(), error))?;
        small.map(Zeroizing::new).ok_or_else(|| self.not_cached("small part"))
    }

    fn cache(&self) -> Result<Cache, Failure> {
        Cache::open(self.fetch.cli.kept_in().unwrap_or(Path::new(".")))
            .map_err(|error| Failure::new(error.code(), error))
    }

    fn not_cached(&self, part: &str) -> Failure {
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
            let with = Header::read(&mut &*small).ok().map(|header| cut_name(&header, small.len() as u64));
            let expected = Expected::from(&receipt.big);
            let big = if receipt.big.size == 0 { Big::Absent } else { Big::Expected(expected, with) };
            return Ok((small, big));
        }
        if !is_sealed(published) {
            return Ok((published, Big::Absent));
        }
        let header = Header::read(&mut &*published).or_fail(place, |error| ErrorCode::from_name(error.code()))?;
        let big = match header.sealed_len().map(|len| len.checked_sub(published.len() as u64)) {
            Some(Some(0) | None) => Big::Absent,
            Some(missing) => Big::Expected(Expected { size: missing, sha256: None }, None),
            None => Big::Unknown,
        };
        Ok((published, big))
    }

    /// `with` names the file and the cut that the big part has to be of.
    fn big_part(
        &self,
        small: &[u8],
        expected: &Expected,
        with: Option<&str>,
        output: &mut Output,
    ) -> Result<(), Failure> {
        let total = small.len() as u64 + expected.size.unwrap_or(0);
        output.check_room(total)?;
        // Without a digest nothing could tell a good entry from a bad one.
        let cache = self.fetch.cli.kept_in().filter(|_| expected.sha256.is_some());
        if cache.is_none() && self.fetch.cli.export.is_some() {
            return Err(self.not_exported());
        }
        if self.fetch.cli.is_offline() {
            let entry = self.cache()?.entry(self.name, expected).map_err(|error| Failure::new(error.code(), error))?;
            let mut entry = entry.filter(|_| cache.is_some()).ok_or_else(|| self.not_cached("big part"))?;
            return self.join(small, total, &mut [&mut entry], expected, None, output);
        }
        let waiting = || self.fetch.stage.step("cache-wait", &[]);
        let claim = cache.map(|dir| Cache::open(dir).and_then(|cache| cache.claim(self.name, expected, &waiting)));
        let claim = match claim.transpose() {
            Ok(claim) => claim,
            Err(error) => self.cache_off(&error).map(|()| None)?,
        };
        let mut partial = match claim {
            Some(Claim::Hit(mut entry)) => {
                self.fetch.stage.step("cache-hit", &[("size", entry.size().into())]);
                return self.join(small, total, &mut [&mut entry], expected, None, output);
            }
            Some(Claim::Missing { partial, damaged }) => {
                if let Some(moved_to) = damaged {
                    self.fetch.stage.step("cache-damaged", &[("moved_to", moved_to.into())]);
                }
                Some(partial)
            }
            None => None,
        };
        let store = self.store()?;
        let start = partial.as_ref().map(Partial::start).unwrap_or_default();
        if let Some(partial) = &partial {
            // The same file system may have to hold the bytes twice.
            let kept = partial.missing_on(output.device());
            output.check_room(total + kept)?;
            partial.check_room().map_err(|error| {
                Failure::new(error.code(), error).hint("make room, or leave out --cache-dir".to_owned())
            })?;
        }
        // Where all of it is here already, only its end was not recorded.
        let missing = expected.size.is_none_or(|size| start.offset < size);
        let mut object = missing.then(|| self.open(&store, start, &mut partial)).transpose()?;
        // Told before a byte has left: a push is under way, or ended between its parts.
        if let Some((with, there)) = with.zip(object.as_ref().and_then(Object::cut))
            && with != there
        {
            let what = format_args!("{}: the CDN has the big part of another release", self.name.big_key());
            return Err(Failure::new(ErrorCode::Changed, what)
                .hint("a push is under way, or ended half-way; run again, or ask the publisher".to_owned()));
        }
        let size = object.as_ref().map_or(expected.size.unwrap_or_default(), |object| object.size());
        if let Some(wanted) = expected.size.filter(|wanted| *wanted != size) {
            let what = format_args!("{}: {size} bytes on the CDN where {wanted} are expected", self.name.big_key());
            return Err(Failure::new(ErrorCode::DigestMismatch, what)
                .hint("the parts belong to different releases; ask the publisher".to_owned()));
        }
        let mut kept =
            partial.as_ref().map(Partial::kept).transpose().map_err(|error| Failure::new(error.code(), error))?;
        let mut detail = vec![("size", size.into())];
        if let Some(offset) = partial.as_ref().map(|partial| partial.start().offset).filter(|offset| *offset > 0) {
            detail.push(("resumed_at", offset.into()));
        }
        self.fetch.stage.step("big-part", &detail);
        let mut sources: Vec<&mut dyn Source> = Vec::new();
        sources.extend(kept.as_mut().map(|kept| kept as &mut dyn Source));
        sources.extend(object.as_mut().map(|object| object as &mut dyn Source));
        let joined = self.join(small, total, &mut sources, expected, partial.as_mut(), output);
        match (joined, partial) {
            (Ok(()), Some(partial)) => partial.commit().or_else(|error| self.cache_off(&error)),
            (Err(failure), Some(partial)) if failure.code() == ErrorCode::DigestMismatch => {
                partial.discard();
                Err(failure)
            }
            (joined, _) => joined,
        }
    }

    /// The rest of the object behind what the cache has of it, all of it where
    /// that is of another version.
    fn open(&self, store: &Store, start: Start, partial: &mut Option<Partial>) -> Result<Object<'_>, Failure> {
        let get = |start: &Start| store.get(self.name, self.get_plan(), start, self.fetch.notify);
        let object = match (get(&start), &mut *partial) {
            (Err(loader_cdn::Error::Changed { .. }), Some(partial)) if start.offset > 0 => {
                self.fetch.stage.step("cache-stale", &[("size", start.offset.into())]);
                partial.restart().map_err(|error| Failure::new(error.code(), error))?;
                get(&Start::default())
            }
            (opened, _) => opened,
        };
        let object = object.map_err(|error| Failure::new(error.code(), &error).hint(error.hint()))?;
        if let Some(partial) = partial {
            partial.pin(object.etag());
        }
        Ok(object)
    }

    /// For a small part that does not tell: what the CDN has belongs to it.
    fn big_part_if_any(&self, small: &[u8], output: &mut Output) -> Result<(), Failure> {
        if self.fetch.cli.is_offline() {
            return Err(self.not_cached("big part"));
        }
        if self.fetch.cli.export.is_some() {
            return Err(self.not_exported());
        }
        let store = self.store()?;
        match store.get(self.name, self.get_plan(), &Start::default(), self.fetch.notify) {
            Ok(mut object) => {
                self.fetch.stage.step("big-part", &[("size", object.size().into())]);
                let total = small.len() as u64 + object.size();
                self.join(small, total, &mut [&mut object], &Expected::default(), None, output)
            }
            Err(loader_cdn::Error::NotFound { .. }) => self.put(small, small.len() as u64, output),
            Err(error) => Err(cdn_failure(&error, output)),
        }
    }

    fn join(
        &self,
        small: &[u8],
        total: u64,
        big: &mut [&mut dyn Source],
        expected: &Expected,
        keep: Option<&mut Partial>,
        output: &mut Output,
    ) -> Result<(), Failure> {
        self.put(small, total, output)?;
        let sink = &mut self.fetch.stage.progress().count(&mut *output);
        transfer(&self.name.big_key(), big, expected, keep, sink).map(drop).map_err(|error| cdn_failure(&error, output))
    }

    fn put(&self, small: &[u8], total: u64, output: &mut Output) -> Result<(), Failure> {
        output.check_room(total)?;
        self.fetch.stage.progress().set_total(self.fetch.before + total);
        let written = self.fetch.stage.progress().count(&mut *output).write_all(small);
        written.map_err(|error| Failure::io(output.name(), &error))
    }

    /// The store behind `--cdn-file`.
    fn store(&self) -> Result<Store, Failure> {
        let cdn = self.fetch.cdn.as_ref().ok_or_else(|| {
            let what = format_args!("{} has a big part, and no CDN credentials are given", self.name);
            Failure::new(ErrorCode::Config, what)
                .hint("use --cdn-file PATH or AZ_CDN_FILE with what az-cdn-creds printed".to_owned())
        })?;
        let http = self.fetch.cli.api.http.agent(self.fetch.stage)?;
        Store::new(cdn, http).map_err(|error| Failure::new(error.code(), &error).hint(error.hint()))
    }

    fn get_plan(&self) -> GetPlan {
        let (Cli { jobs, chunk, .. }, default) = (self.fetch.cli, GetPlan::default());
        GetPlan {
            jobs: jobs.map_or(default.jobs, usize::from),
            chunk_len: chunk.unwrap_or(default.chunk_len),
            adapts: jobs.is_none() && chunk.is_none(),
        }
    }

    /// A cache that fails is done without; an export is not.
    fn cache_off(&self, error: &loader_cdn::CacheError) -> Result<(), Failure> {
        if self.fetch.cli.export.is_some() {
            return Err(Failure::new(error.code(), error));
        }
        self.fetch.stage.step("cache-off", &[("reason", error.to_string().into())]);
        Ok(())
    }

    fn not_exported(&self) -> Failure {
        let what =
            format_args!("{}: no digest of its big part is published, by which a copy could be checked", self.name);
        Failure::new(ErrorCode::Malformed, what).hint("ask the publisher to use az-push".to_owned())
    }
}

/// The failure that an error of the CDN, or of the output it flows to, is.
fn cdn_failure(error: &loader_cdn::Error, output: &Output) -> Failure {
    match error {
        loader_cdn::Error::Sink(error) => Failure::io(output.name(), error),
        other => Failure::new(other.code(), other).hint(other.hint()),
    }
}
