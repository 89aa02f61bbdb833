//! Writes the big part of a resource, from the cache or the CDN, after its small part.

use crate::cli::Cli;
use crate::context::ResourceFetch;
use loader_cdn::{
    ByteSource, Cache, CacheEntry, CacheError, CacheLookup, Error, ExpectedPart, ObjectReader, ObjectStore,
    PartialEntry, PreviousEntry, ReadPlan, ResumePoint, SmallPartContext, transfer,
};
use loader_stage::{Coded, ErrorCode, Failure, OrFail, Output, Step};
use std::io;
use std::path::Path;

/// Big part of known size, with its small part.
pub(crate) struct BigPart<'a> {
    /// Bytes to write before the big part.
    pub(crate) small: &'a [u8],
    /// Small part as the API sealed it, to be stored in the cache.
    pub(crate) sealed: &'a [u8],
    pub(crate) expected: ExpectedPart,
    /// Split id that the object must have.
    pub(crate) split_id: Option<String>,
}

impl BigPart<'_> {
    /// Returns the number of bytes to write.
    fn total(&self) -> u64 {
        self.small.len() as u64 + self.expected.size.unwrap_or_default()
    }
}

impl ResourceFetch<'_> {
    pub(crate) fn write_with_big_part(&self, part: &BigPart<'_>, output: &mut Output) -> Result<(), Failure> {
        // Without a digest, an intact entry cannot be told from a damaged one.
        let cache = self.run.cli.part_dir().filter(|_| part.expected.sha256.is_some());
        if cache.is_none() && self.run.cli.export.is_some() {
            return Err(self.not_exportable());
        }
        if self.run.cli.is_offline() {
            let entry = self.cache()?.intact_entry(self.name, &part.expected).or_fail()?;
            let entry = entry.filter(|_| cache.is_some()).ok_or_else(|| self.not_cached("big part"))?;
            return self.read_cache(part, entry, output);
        }
        match cache.map(|dir| self.lookup(dir, &part.expected)).transpose()?.flatten() {
            Some(CacheLookup::Hit(entry)) => {
                self.run.stage.step(Step::CacheHit, &[("size", entry.size().into())]);
                self.read_cache(part, entry, output)
            }
            Some(CacheLookup::Miss { partial, previous }) => {
                match previous {
                    PreviousEntry::Absent => {}
                    PreviousEntry::Stale(size) => self.run.stage.step(Step::CacheStale, &[("size", size.into())]),
                    PreviousEntry::Damaged(moved_to) => {
                        self.run.stage.step(Step::CacheDamaged, &[("moved_to", moved_to.into())])
                    }
                }
                self.read_cdn(part, Some(partial), output)
            }
            None => self.read_cdn(part, None, output),
        }
    }

    /// Looks the big part up in the cache `dir`; `None` if the cache cannot be used.
    fn lookup(&self, dir: &Path, expected: &ExpectedPart) -> Result<Option<CacheLookup>, Failure> {
        let lock_wait = self.run.stage.lock_wait()?;
        let lookup = Cache::open(dir).and_then(|cache| {
            cache.lookup(self.name, expected, &|| self.cached_expectation(&cache), &|file| lock_wait.wait(file))
        });
        let without_cache = |error: CacheError| match error.code() {
            // Another process fetches the entry: a second concurrent download would not help.
            ErrorCode::Temporary => Err(error),
            _ => self.disable_cache(error).map(|()| None),
        };
        lookup.map(Some).or_else(without_cache).or_fail()
    }

    fn read_cache(&self, part: &BigPart<'_>, mut entry: CacheEntry, output: &mut Output) -> Result<(), Failure> {
        self.write_parts(part, &mut [&mut entry], &mut |_| Ok(()), output)?;
        self.cache_small_part(part.sealed, &SmallPartContext::Entry(&entry))
    }

    fn read_cdn(
        &self,
        part: &BigPart<'_>,
        mut partial: Option<PartialEntry>,
        output: &mut Output,
    ) -> Result<(), Failure> {
        let store = self.store()?;
        let output_len = self.check_room(part, partial.as_ref(), output)?;
        let object = self.open_missing(&store, part, partial.as_mut())?;
        // Remove the previous release only now that the new one is available.
        if let Some(size) = partial.as_ref().and_then(|partial| partial.make_room(output_len)) {
            self.run.stage.step(Step::CacheRoom, &[("removed", size.into())]);
        }
        let size = object.as_ref().map_or(part.expected.size.unwrap_or_default(), ObjectReader::size);
        let mut detail = vec![("size", size.into())];
        let resumed_at = partial.as_ref().map_or(0, |partial| partial.resume_point().offset);
        if resumed_at > 0 {
            detail.push(("resumed_at", resumed_at.into()));
        }
        self.run.stage.step(Step::BigPart, &detail);
        match partial {
            Some(partial) if resumed_at > 0 => self.resume(&store, part, (partial, object), output),
            partial => self.stream_object(part, (partial, object), output),
        }
    }

    /// Writes the object to the output while it is received.
    fn stream_object(
        &self,
        part: &BigPart<'_>,
        (mut partial, mut object): (Option<PartialEntry>, Option<ObjectReader<'_>>),
        output: &mut Output,
    ) -> Result<(), Failure> {
        let mut sources: Vec<&mut dyn ByteSource> = Vec::new();
        sources.extend(object.as_mut().map(|object| object as &mut dyn ByteSource));
        let mut keep = |bytes: &[u8]| {
            let written = partial.as_mut().map_or(Ok(()), |partial| partial.write(bytes));
            written.or_else(|error| {
                partial = None;
                self.disable_cache(error)
            })
        };
        let written = self.write_parts(part, &mut sources, &mut keep, output);
        match (written, partial) {
            (Ok(()), Some(partial)) => {
                let stored = self.commit(partial, part)?.map(drop).or_else(|error| self.disable_cache(error));
                stored.or_fail()
            }
            (Ok(()), None) if part.expected.sha256.is_none() => {
                self.cache_small_part(part.sealed, &SmallPartContext::BigPartElsewhere)
            }
            (Err(failure), Some(partial)) if failure.code() == ErrorCode::DigestMismatch => {
                partial.discard();
                Err(failure)
            }
            (written, _) => written,
        }
    }

    /// Completes an entry that an earlier run left in the cache, and writes it to the output
    /// after the whole was verified.
    ///
    /// The resumed bytes may be damaged: by the disk, by the network or by another user of the
    /// cache. If they were written before verification, a reader that stops at the damage would
    /// receive the same damage in each run. If the whole is wrong, it is fetched again from the
    /// start.
    fn resume(
        &self,
        store: &ObjectStore,
        part: &BigPart<'_>,
        (mut partial, mut object): (PartialEntry, Option<ObjectReader<'_>>),
        output: &mut Output,
    ) -> Result<(), Failure> {
        self.run.stage.progress().set_total(self.run.fetched_len + part.total());
        loop {
            let resumed_at = partial.resume_point().offset;
            let mut resumed = partial.resumed_bytes().or_fail()?;
            let mut sources: Vec<&mut dyn ByteSource> = vec![&mut resumed];
            sources.extend(object.as_mut().map(|object| object as &mut dyn ByteSource));
            let sink = &mut self.run.stage.progress().count(io::sink());
            let mut keep = |bytes: &[u8]| partial.write(bytes);
            let transferred = transfer(&self.name.big_key(), &mut sources, &part.expected, &mut keep, sink);
            self.restart_progress();
            let error = match transferred {
                Ok(_) => match self.commit(partial, part)? {
                    Ok(mut entry) => {
                        self.run.stage.step(Step::CacheChecked, &[("size", entry.size().into())]);
                        return self.write_parts(part, &mut [&mut entry], &mut |_| Ok(()), output);
                    }
                    Err(error) => error,
                },
                Err(Error::Mismatch { .. }) if resumed_at > 0 => {
                    self.run.stage.step(Step::CacheDamaged, &[("size", resumed_at.into())]);
                    partial.restart().or_fail()?;
                    object = self.open_missing(store, part, Some(&mut partial))?;
                    continue;
                }
                Err(error @ Error::Mismatch { .. }) => {
                    partial.discard();
                    return Err(Failure::of(&error));
                }
                Err(Error::Cache(error)) => {
                    drop(partial);
                    error
                }
                Err(error) => return Err(Failure::of(&error)),
            };
            self.disable_cache(error).or_fail()?;
            return self.read_cdn(part, None, output);
        }
    }

    /// Publishes the entry in the cache together with its small part.
    fn commit(&self, partial: PartialEntry, part: &BigPart<'_>) -> Result<Result<CacheEntry, CacheError>, Failure> {
        let lock_wait = self.run.stage.lock_wait()?;
        Ok(partial.commit(part.sealed, &|file| lock_wait.wait(file)))
    }

    /// Checks that the destinations have room. Returns the number of output bytes that are
    /// written to the filesystem of the cache in addition to the entry.
    fn check_room(
        &self,
        part: &BigPart<'_>,
        partial: Option<&PartialEntry>,
        output: &mut Output,
    ) -> Result<u64, Failure> {
        let total = part.total();
        let Some(partial) = partial else { return output.check_room(total).map(|()| 0) };
        let output_len = if output.device().is_some_and(|device| partial.is_on_device(device)) {
            total
        } else {
            output.check_room(total)?;
            0
        };
        let checked = partial.check_room(output_len).map(|()| output_len);
        let hint = match self.run.cli.export {
            Some(_) => "free some space, or use a directory on a larger disk with --export",
            None => "free some space, or run without --cache-dir",
        };
        checked.map_err(|error| Failure::of(&error).hint(hint.to_owned()))
    }

    /// Opens the object at its first missing byte and checks split id and size. Returns `None` if
    /// all bytes are in the cache already.
    fn open_missing(
        &self,
        store: &ObjectStore,
        part: &BigPart<'_>,
        partial: Option<&mut PartialEntry>,
    ) -> Result<Option<ObjectReader<'_>>, Failure> {
        let cached_len = partial.as_ref().map_or(0, |partial| partial.resume_point().offset);
        if part.expected.size.is_some_and(|size| cached_len >= size) {
            return Ok(None);
        }
        let object = self.open_or_restart(store, &part.expected, partial)?;
        // Fail before any byte is written: a push is running or was interrupted between its
        // parts.
        if let Some((expected, actual)) = part.split_id.as_deref().zip(object.split_id())
            && expected != actual
        {
            let what = format_args!("{}: the CDN has the big part of another release", self.name.big_key());
            return Err(Failure::new(ErrorCode::Changed, what)
                .hint("a push is running or was interrupted; run again, or ask the publisher".to_owned()));
        }
        let size = object.size();
        if let Some(wanted) = part.expected.size.filter(|wanted| *wanted != size) {
            let what = format_args!("{}: the CDN has {size} bytes instead of {wanted}", self.name.big_key());
            return Err(Failure::new(ErrorCode::DigestMismatch, what)
                .hint("the parts belong to different releases; ask the publisher".to_owned()));
        }
        Ok(Some(object))
    }

    /// Opens the object after the cached bytes, or at its start if they belong to another
    /// version.
    fn open_or_restart(
        &self,
        store: &ObjectStore,
        expected: &ExpectedPart,
        mut partial: Option<&mut PartialEntry>,
    ) -> Result<ObjectReader<'_>, Failure> {
        let start = partial.as_ref().map(|partial| partial.resume_point()).unwrap_or_default();
        let get = |start: &ResumePoint| store.get(self.name, self.read_plan(), start, expected, self.run.notify);
        let object = match (get(&start), &mut partial) {
            (Err(Error::Changed { .. }), Some(partial)) if start.offset > 0 => {
                self.run.stage.step(Step::CacheStale, &[("size", start.offset.into())]);
                partial.restart().or_fail()?;
                get(&ResumePoint::default())
            }
            (opened, _) => opened,
        };
        let object = object.or_fail()?;
        if let Some(partial) = partial {
            partial.set_etag(object.etag());
        }
        Ok(object)
    }

    /// Writes the small part and the object on the CDN, if there is one, for a small part that
    /// reveals nothing about its big part.
    pub(crate) fn write_with_unknown_big_part(&self, small: &[u8], output: &mut Output) -> Result<(), Failure> {
        if self.run.cli.is_offline() {
            return Err(self.not_cached("big part"));
        }
        if self.run.cli.export.is_some() {
            return Err(self.not_exportable());
        }
        let store = self.store()?;
        let unknown = ExpectedPart::default();
        match store.get(self.name, self.read_plan(), &ResumePoint::default(), &unknown, self.run.notify) {
            Ok(mut object) => {
                self.run.stage.step(Step::BigPart, &[("size", object.size().into())]);
                let expected = ExpectedPart { size: Some(object.size()), sha256: None };
                self.write_parts(
                    &BigPart { small, sealed: &[], expected, split_id: None },
                    &mut [&mut object],
                    &mut |_| Ok(()),
                    output,
                )
            }
            Err(Error::NotFound { .. }) => self.write_small(small, small.len() as u64, output),
            Err(error) => Err(Failure::of(&error)),
        }
    }

    fn write_parts(
        &self,
        part: &BigPart<'_>,
        big: &mut [&mut dyn ByteSource],
        keep: &mut dyn FnMut(&[u8]) -> Result<(), CacheError>,
        output: &mut Output,
    ) -> Result<(), Failure> {
        self.write_small(part.small, part.total(), output)?;
        let sink = &mut self.run.stage.progress().count(&mut *output);
        let transferred = transfer(&self.name.big_key(), big, &part.expected, keep, sink);
        transferred.map(drop).map_err(|error| match &error {
            Error::Output(error) => Failure::io(output.name(), error),
            error => Failure::of(error),
        })
    }

    /// Returns the store of `--cdn-file`.
    fn store(&self) -> Result<ObjectStore, Failure> {
        let cdn = self.run.cdn.as_ref().ok_or_else(|| {
            let what = format_args!("{} has a big part, but no CDN credentials are given", self.name);
            Failure::new(ErrorCode::Config, what)
                .hint("use --cdn-file PATH or AZ_CDN_FILE with the output of az-cdn-creds".to_owned())
        })?;
        let http = self.run.cli.api.http.agent(self.run.stage)?;
        ObjectStore::new(cdn, http).or_fail()
    }

    fn read_plan(&self) -> ReadPlan {
        let (Cli { jobs, chunk, .. }, default) = (self.run.cli, ReadPlan::default());
        ReadPlan {
            jobs: jobs.map_or(default.jobs, usize::from),
            chunk_len: chunk.unwrap_or(default.chunk_len),
            is_adaptive: jobs.is_none() && chunk.is_none(),
        }
    }

    fn not_exportable(&self) -> Failure {
        let what =
            format_args!("{}: no digest of its big part is published, so a copy could not be verified", self.name);
        Failure::new(ErrorCode::Malformed, what).hint("ask the publisher to use az-push".to_owned())
    }
}
