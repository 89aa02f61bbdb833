//! The big part of a resource, from the cache or the CDN, behind its small part.

use crate::cli::Cli;
use crate::resource::{One, cache_failure};
use loader_cdn::{
    ByteSource, Cache, CacheEntry, CacheError, CacheLookup, Error, ExpectedPart, ObjectReader, ObjectStore,
    PartialEntry, PreviousEntry, ReadPlan, ResumePoint, SmallPartContext, transfer,
};
use loader_session::cdn_failure;
use loader_stage::{ErrorCode, Failure, Output};
use std::io;
use std::path::Path;

/// A big part of known size, and what goes with it.
pub(crate) struct Promised<'a> {
    /// What is written in front of it.
    pub(crate) small: &'a [u8],
    /// The small part as the API sealed it, to be kept beside it.
    pub(crate) sealed: &'a [u8],
    pub(crate) expected: ExpectedPart,
    /// Names the file and the cut that it has to be of.
    pub(crate) with: Option<String>,
}

impl Promised<'_> {
    /// Bytes of all that is written.
    fn total(&self) -> u64 {
        self.small.len() as u64 + self.expected.size.unwrap_or_default()
    }
}

impl One<'_> {
    pub(crate) fn big_part(&self, promised: &Promised<'_>, output: &mut Output) -> Result<(), Failure> {
        // Without a digest nothing could tell a good entry from a bad one.
        let cache = self.fetch.cli.kept_in().filter(|_| promised.expected.sha256.is_some());
        if cache.is_none() && self.fetch.cli.export.is_some() {
            return Err(self.not_exported());
        }
        if self.fetch.cli.is_offline() {
            let entry =
                self.cache()?.intact_entry(self.name, &promised.expected).map_err(|error| cache_failure(&error))?;
            let entry = entry.filter(|_| cache.is_some()).ok_or_else(|| self.not_cached("big part"))?;
            return self.read_cache(promised, entry, output);
        }
        match cache.map(|dir| self.claim(dir, &promised.expected)).transpose()?.flatten() {
            Some(CacheLookup::Hit(entry)) => {
                self.fetch.stage.step("cache-hit", &[("size", entry.size().into())]);
                self.read_cache(promised, entry, output)
            }
            Some(CacheLookup::Miss { partial, previous }) => {
                match previous {
                    PreviousEntry::Absent => {}
                    PreviousEntry::Stale(size) => self.fetch.stage.step("cache-stale", &[("size", size.into())]),
                    PreviousEntry::Damaged(moved_to) => {
                        self.fetch.stage.step("cache-damaged", &[("moved_to", moved_to.into())])
                    }
                }
                self.read_cdn(promised, Some(partial), output)
            }
            None => self.read_cdn(promised, None, output),
        }
    }

    /// What the cache in `dir` has of the big part; `None` where it is of no use.
    fn claim(&self, dir: &Path, expected: &ExpectedPart) -> Result<Option<CacheLookup>, Failure> {
        let lock_wait = self.fetch.stage.lock_wait()?;
        let claim = Cache::open(dir).and_then(|cache| {
            cache.lookup(self.name, expected, &|| self.promised_before(&cache), &|file| lock_wait.wait(file))
        });
        let off = |error: CacheError| match error.code() {
            // Another process has the entry: a second download beside it is no help.
            ErrorCode::Temporary => Err(error),
            _ => self.cache_off(error).map(|()| None),
        };
        claim.map(Some).or_else(off).map_err(|error| cache_failure(&error))
    }

    fn read_cache(&self, promised: &Promised<'_>, mut entry: CacheEntry, output: &mut Output) -> Result<(), Failure> {
        self.join(promised, &mut [&mut entry], &mut |_| Ok(()), output)?;
        self.keep_small(promised.sealed, &SmallPartContext::Entry(&entry))
    }

    fn read_cdn(
        &self,
        promised: &Promised<'_>,
        mut partial: Option<PartialEntry>,
        output: &mut Output,
    ) -> Result<(), Failure> {
        let store = self.store()?;
        let beside = self.check_room(promised, partial.as_ref(), output)?;
        let object = self.rest(&store, promised, partial.as_mut())?;
        // Only now that the new release is within reach.
        if let Some(size) = partial.as_ref().and_then(|partial| partial.make_room(beside)) {
            self.fetch.stage.step("cache-room", &[("removed", size.into())]);
        }
        let size = object.as_ref().map_or(promised.expected.size.unwrap_or_default(), ObjectReader::size);
        let mut detail = vec![("size", size.into())];
        let resumed_at = partial.as_ref().map_or(0, |partial| partial.resume_point().offset);
        if resumed_at > 0 {
            detail.push(("resumed_at", resumed_at.into()));
        }
        self.fetch.stage.step("big-part", &detail);
        match partial {
            Some(partial) if resumed_at > 0 => self.resume(&store, promised, (partial, object), output),
            partial => self.stream(promised, (partial, object), output),
        }
    }

    /// Passes the object on as it comes.
    fn stream(
        &self,
        promised: &Promised<'_>,
        (mut partial, mut object): (Option<PartialEntry>, Option<ObjectReader<'_>>),
        output: &mut Output,
    ) -> Result<(), Failure> {
        let mut sources: Vec<&mut dyn ByteSource> = Vec::new();
        sources.extend(object.as_mut().map(|object| object as &mut dyn ByteSource));
        let mut keep = |bytes: &[u8]| {
            let written = partial.as_mut().map_or(Ok(()), |partial| partial.write(bytes));
            written.or_else(|error| {
                partial = None;
                self.cache_off(error)
            })
        };
        let joined = self.join(promised, &mut sources, &mut keep, output);
        match (joined, partial) {
            (Ok(()), Some(partial)) => {
                let kept = partial.commit(promised.sealed).map(drop).or_else(|error| self.cache_off(error));
                kept.map_err(|error| cache_failure(&error))
            }
            (Ok(()), None) if promised.expected.sha256.is_none() => {
                self.keep_small(promised.sealed, &SmallPartContext::BigPartElsewhere)
            }
            (Err(failure), Some(partial)) if failure.code() == ErrorCode::DigestMismatch => {
                partial.discard();
                Err(failure)
            }
            (joined, _) => joined,
        }
    }

    /// Completes in the cache what an earlier run left there, and passes it on once the
    /// whole was checked. The bytes that were left may be damaged, by the disk, by the
    /// network or by another user of the cache: a reader that stopped at the damage would
    /// get it again in each run. If the whole is not right, all of it is fetched once more.
    fn resume(
        &self,
        store: &ObjectStore,
        promised: &Promised<'_>,
        (mut partial, mut object): (PartialEntry, Option<ObjectReader<'_>>),
        output: &mut Output,
    ) -> Result<(), Failure> {
        self.fetch.stage.progress().set_total(self.fetch.before + promised.total());
        loop {
            let resumed_at = partial.resume_point().offset;
            let mut kept = partial.resumed_bytes().map_err(|error| cache_failure(&error))?;
            let mut sources: Vec<&mut dyn ByteSource> = vec![&mut kept];
            sources.extend(object.as_mut().map(|object| object as &mut dyn ByteSource));
            let sink = &mut self.fetch.stage.progress().count(io::sink());
            let mut keep = |bytes: &[u8]| partial.write(bytes);
            let moved = transfer(&self.name.big_key(), &mut sources, &promised.expected, &mut keep, sink);
            self.count_again();
            let off = match moved {
                Ok(_) => match partial.commit(promised.sealed) {
                    Ok(mut entry) => {
                        self.fetch.stage.step("cache-checked", &[("size", entry.size().into())]);
                        return self.join(promised, &mut [&mut entry], &mut |_| Ok(()), output);
                    }
                    Err(error) => error,
                },
                Err(Error::Mismatch { .. }) if resumed_at > 0 => {
                    self.fetch.stage.step("cache-damaged", &[("size", resumed_at.into())]);
                    partial.restart().map_err(|error| cache_failure(&error))?;
                    object = self.rest(store, promised, Some(&mut partial))?;
                    continue;
                }
                Err(error @ Error::Mismatch { .. }) => {
                    partial.discard();
                    return Err(cdn_failure(&error));
                }
                Err(Error::Cache(error)) => {
                    drop(partial);
                    error
                }
                Err(error) => return Err(cdn_failure(&error)),
            };
            self.cache_off(off).map_err(|error| cache_failure(&error))?;
            return self.read_cdn(promised, None, output);
        }
    }

    /// Refuses to begin what has no room where it goes. Gives the bytes that go to the
    /// file system of the cache beside those that stay there.
    fn check_room(
        &self,
        promised: &Promised<'_>,
        partial: Option<&PartialEntry>,
        output: &mut Output,
    ) -> Result<u64, Failure> {
        let total = promised.total();
        let Some(partial) = partial else { return output.check_room(total).map(|()| 0) };
        let same = output.device().is_some_and(|device| partial.is_on_device(device));
        let beside = if same { total } else { 0 };
        if !same {
            output.check_room(total)?;
        }
        let checked = partial.check_room(beside).map(|()| beside);
        let hint = match self.fetch.cli.export {
            Some(_) => "make room, or name a directory on a larger disk with --export",
            None => "make room, or leave out --cache-dir",
        };
        checked.map_err(|error| cache_failure(&error).hint(hint.to_owned()))
    }

    /// What is missing of the object, and what is promised; `None` where all of it
    /// is here already, and only its end was not recorded.
    fn rest(
        &self,
        store: &ObjectStore,
        promised: &Promised<'_>,
        partial: Option<&mut PartialEntry>,
    ) -> Result<Option<ObjectReader<'_>>, Failure> {
        let here = partial.as_ref().map_or(0, |partial| partial.resume_point().offset);
        if promised.expected.size.is_some_and(|size| here >= size) {
            return Ok(None);
        }
        let object = self.open(store, &promised.expected, partial)?;
        // Told before a byte has left: a push is under way, or ended between its parts.
        if let Some((with, there)) = promised.with.as_deref().zip(object.split_id())
            && with != there
        {
            let what = format_args!("{}: the CDN has the big part of another release", self.name.big_key());
            return Err(Failure::new(ErrorCode::Changed, what)
                .hint("a push is under way, or ended half-way; run again, or ask the publisher".to_owned()));
        }
        let size = object.size();
        if let Some(wanted) = promised.expected.size.filter(|wanted| *wanted != size) {
            let what = format_args!("{}: {size} bytes on the CDN where {wanted} are expected", self.name.big_key());
            return Err(Failure::new(ErrorCode::DigestMismatch, what)
                .hint("the parts belong to different releases; ask the publisher".to_owned()));
        }
        Ok(Some(object))
    }

    /// The rest of the object behind what the cache has of it, all of it where
    /// that is of another version.
    fn open(
        &self,
        store: &ObjectStore,
        expected: &ExpectedPart,
        mut partial: Option<&mut PartialEntry>,
    ) -> Result<ObjectReader<'_>, Failure> {
        let start = partial.as_ref().map(|partial| partial.resume_point()).unwrap_or_default();
        let get = |start: &ResumePoint| store.get(self.name, self.get_plan(), start, expected, self.fetch.notify);
        let object = match (get(&start), &mut partial) {
            (Err(Error::Changed { .. }), Some(partial)) if start.offset > 0 => {
                self.fetch.stage.step("cache-stale", &[("size", start.offset.into())]);
                partial.restart().map_err(|error| Failure::new(error.code(), error))?;
                get(&ResumePoint::default())
            }
            (opened, _) => opened,
        };
        let object = object.map_err(|error| cdn_failure(&error))?;
        if let Some(partial) = partial {
            partial.set_etag(object.etag());
        }
        Ok(object)
    }

    /// For a small part that does not tell: what the CDN has belongs to it.
    pub(crate) fn big_part_if_any(&self, small: &[u8], output: &mut Output) -> Result<(), Failure> {
        if self.fetch.cli.is_offline() {
            return Err(self.not_cached("big part"));
        }
        if self.fetch.cli.export.is_some() {
            return Err(self.not_exported());
        }
        let store = self.store()?;
        let unknown = ExpectedPart::default();
        match store.get(self.name, self.get_plan(), &ResumePoint::default(), &unknown, self.fetch.notify) {
            Ok(mut object) => {
                self.fetch.stage.step("big-part", &[("size", object.size().into())]);
                let expected = ExpectedPart { size: Some(object.size()), sha256: None };
                self.join(
                    &Promised { small, sealed: &[], expected, with: None },
                    &mut [&mut object],
                    &mut |_| Ok(()),
                    output,
                )
            }
            Err(Error::NotFound { .. }) => self.put(small, small.len() as u64, output),
            Err(error) => Err(cdn_failure(&error)),
        }
    }

    fn join(
        &self,
        promised: &Promised<'_>,
        big: &mut [&mut dyn ByteSource],
        keep: &mut dyn FnMut(&[u8]) -> Result<(), CacheError>,
        output: &mut Output,
    ) -> Result<(), Failure> {
        self.put(promised.small, promised.total(), output)?;
        let sink = &mut self.fetch.stage.progress().count(&mut *output);
        let moved = transfer(&self.name.big_key(), big, &promised.expected, keep, sink);
        moved.map(drop).map_err(|error| match &error {
            Error::Output(error) => Failure::io(output.name(), error),
            error => cdn_failure(error),
        })
    }

    /// The store behind `--cdn-file`.
    fn store(&self) -> Result<ObjectStore, Failure> {
        let cdn = self.fetch.cdn.as_ref().ok_or_else(|| {
            let what = format_args!("{} has a big part, and no CDN credentials are given", self.name);
            Failure::new(ErrorCode::Config, what)
                .hint("use --cdn-file PATH or AZ_CDN_FILE with what az-cdn-creds printed".to_owned())
        })?;
        let http = self.fetch.cli.api.http.agent(self.fetch.stage)?;
        ObjectStore::new(cdn, http).map_err(|error| cdn_failure(&error))
    }

    fn get_plan(&self) -> ReadPlan {
        let (Cli { jobs, chunk, .. }, default) = (self.fetch.cli, ReadPlan::default());
        ReadPlan {
            jobs: jobs.map_or(default.jobs, usize::from),
            chunk_len: chunk.unwrap_or(default.chunk_len),
            is_adaptive: jobs.is_none() && chunk.is_none(),
        }
    }

    fn not_exported(&self) -> Failure {
        let what =
            format_args!("{}: no digest of its big part is published, by which a copy could be checked", self.name);
        Failure::new(ErrorCode::Malformed, what).hint("ask the publisher to use az-push".to_owned())
    }
}
