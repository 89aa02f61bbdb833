//! State of a run and of the fetch of one resource.

use crate::cli::Cli;
use loader_api::RESOURCE_MAX;
use loader_cdn::{Cache, CacheError, ExpectedPart, SmallPartContext};
use loader_http::Notify;
use loader_model::{CdnCredentials, PartsReceipt, ResourceName, User};
use loader_session::{DeviceIdentity, seal_kind};
use loader_stage::{ErrorCode, Failure, OrFail, Output, Stage, Step};
use std::io::Write;
use std::path::Path;
use zeroize::Zeroizing;

/// State of a run, which fetches resources one after the other.
pub(crate) struct RunContext<'a> {
    pub(crate) cli: &'a Cli,
    pub(crate) stage: &'a Stage,
    pub(crate) device: &'a DeviceIdentity,
    pub(crate) cdn: Option<CdnCredentials>,
    /// Bytes of the resources that are already fetched.
    pub(crate) fetched_len: u64,
    pub(crate) notify: Notify<'a>,
}

/// Fetch of one resource.
pub(crate) struct ResourceFetch<'a> {
    pub(crate) run: &'a RunContext<'a>,
    pub(crate) name: &'a ResourceName,
    /// User for whom small parts are sealed.
    pub(crate) user: User,
}

impl ResourceFetch<'_> {
    /// Restarts the progress count at the first byte of this resource.
    pub(crate) fn restart_progress(&self) {
        self.run.stage.progress().restart();
        self.run.stage.progress().add(self.run.fetched_len);
    }

    /// Writes `small` as the first of `total` bytes, after a check that the output has room.
    pub(crate) fn write_small(&self, small: &[u8], total: u64, output: &mut Output) -> Result<(), Failure> {
        output.check_room(total)?;
        self.run.stage.progress().set_total(self.run.fetched_len + total);
        let written = self.run.stage.progress().count(&mut *output).write_all(small);
        written.map_err(|error| Failure::io(output.name(), &error))
    }

    /// Opens the directory of the cache or export.
    pub(crate) fn cache(&self) -> Result<Cache, Failure> {
        Cache::open(self.cache_dir()).or_fail()
    }

    fn cache_dir(&self) -> &Path {
        self.run.cli.part_dir().unwrap_or(Path::new("."))
    }

    /// Stores the small part in the cache, if there is one.
    pub(crate) fn cache_small_part(&self, sealed: &[u8], context: &SmallPartContext<'_>) -> Result<(), Failure> {
        let Some(dir) = self.run.cli.part_dir().filter(|_| !self.run.cli.is_offline()) else { return Ok(()) };
        let lock_wait = self.run.stage.lock_wait()?;
        let stored = Cache::open(dir)
            .and_then(|cache| cache.store_small_part(self.name, sealed, context, &|file| lock_wait.wait(file)));
        stored.or_else(|error| self.disable_cache(error)).or_fail()
    }

    /// Returns the small part, sealed for this user and device, that an earlier run stored.
    pub(crate) fn cached_small_part(&self) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let small = self.cache()?.small_part(self.name, RESOURCE_MAX).or_fail()?;
        small.map(Zeroizing::new).ok_or_else(|| self.not_cached("small part"))
    }

    /// Returns size and digest of the big part in the cached small part.
    pub(crate) fn cached_expectation(&self, cache: &Cache) -> Option<ExpectedPart> {
        let sealed = cache.small_part(self.name, RESOURCE_MAX).ok()??;
        let opened = self.run.device.open(&self.user, seal_kind(self.name), &sealed, self.name.as_str()).ok()?;
        Some(ExpectedPart::from(&PartsReceipt::split_prefix(&opened)?.ok()?.0.big))
    }

    /// Returns the failure for a part that is neither cached nor exported.
    pub(crate) fn not_cached(&self, part: &str) -> Failure {
        let hint = if self.run.cli.from.is_some() { "export it again" } else { "fetch it once without --offline" };
        let what = format_args!("{}: no intact {part} in {}", self.name, self.cache_dir().display());
        Failure::new(ErrorCode::NotFound, what).hint(hint.to_owned())
    }

    /// Continues without a cache that failed. A failed export is an error.
    pub(crate) fn disable_cache(&self, error: CacheError) -> Result<(), CacheError> {
        if self.run.cli.export.is_some() {
            return Err(error);
        }
        self.run.stage.step(Step::CacheOff, &[("reason", error.to_string().into())]);
        Ok(())
    }
}
