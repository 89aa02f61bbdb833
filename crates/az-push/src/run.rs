//! Runs az-push.

use crate::cli::Cli;
use crate::published::{BigPartMatch, Published, PushedRelease, name_taken};
use crate::small_part::SmallPart;
use crate::split::{SplitStream, digest, receipt};
use loader_api::Session;
use loader_cdn::{ObjectStore, PARTS_MAX, Push, PushPlan, PushedFile, SentStream, UploadJournal};
use loader_http::Notify;
use loader_model::{Coded, PartReceipt, PartsReceipt, Role, json_line};
use loader_session::{ReportRetry, open_session, read_token};
use loader_stage::{
    Content, ErrorCode, Failure, Input, OrFail, OrFailAs, Stage, StageName, Step, UpstreamEvents, UpstreamOutcome,
    lock_holder,
};
use serde::Serialize;
use std::io::Seek;

/// JSON line on standard output.
#[derive(Serialize)]
struct PushReceipt<'a> {
    name: &'a str,
    /// False if these bytes were already published.
    changed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<u64>,
    small: &'a PartReceipt,
    big: &'a PartReceipt,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<&'a str>,
    /// Size and digest of what the API sends: the receipt line and the small part.
    published: PartReceipt,
}

struct ReleasePush<'a> {
    cli: &'a Cli,
    stage: &'a Stage,
    notify: Notify<'a>,
    store: ObjectStore,
    input: Input,
    split: SplitStream,
    small: PartReceipt,
    /// True if the input can be read twice.
    can_rewind: bool,
    /// Stage that writes the input, if it reports to the run directory.
    upstream: Option<UpstreamEvents>,
}

pub(crate) fn run(cli: &Cli, stage: &Stage) -> anyhow::Result<()> {
    let mut input = stage.input(&cli.input)?;
    let token = read_token(stage, &cli.token)?;
    check_role(token.role())?;
    let credentials = stage.credentials(&cli.credentials)?;
    let cdn = cli.cdn.read(stage)?.ok_or_else(|| {
        Failure::new(ErrorCode::Config, "no CDN credentials given")
            .hint("use --cdn-file PATH or AZ_CDN_FILE with the output of az-cdn-creds --uploader".to_owned())
    })?;
    let store = ObjectStore::for_upload(&cdn, cli.api.http.agent(stage)?).map_err(|error| {
        let hint = (error.code() == ErrorCode::Config).then(|| "get them with az-cdn-creds --uploader".to_owned());
        Failure::of(&error).hint(hint)
    })?;
    let notify = |notice: &_| stage.report_retry(notice);
    let mut session = open_session(cli.api.client(stage, &notify)?, token, credentials.as_ref());
    let mut output = stage.output(&cli.output, Content::Text)?;
    if cli.small {
        let part = SmallPart::read(cli, &mut input)?;
        stage.begin();
        let (meta, published, changed) = part.publish(cli, stage, &mut session, &store, &notify)?;
        let etag = meta.as_ref().and_then(|meta| meta.etag.as_deref());
        let (name, release, PartsReceipt { small, big, .. }) = (cli.name.as_str(), part.release, &part.receipt);
        output.put(&PushReceipt { name, changed, release, small, big, etag, published }.to_line()?)?;
        return Ok(output.commit()?);
    }
    let can_rewind = input.known_len().is_some();
    let after = cli.after.as_ref();
    let upstream = if input.is_seekable() {
        None
    } else {
        UpstreamEvents::find(after, StageName::Encrypt, "nothing was published")?
    };
    let split = SplitStream::read(&mut input)?;
    check_release(cli, &split, input.name())?;
    stage.begin();
    let small = split.small_receipt()?;
    let mut release = ReleasePush { cli, stage, notify: &notify, store, input, split, small, can_rewind, upstream };
    output.put(&release.publish(&mut session)?)?;
    Ok(output.commit()?)
}

/// Refuses a role before the server would refuse it.
fn check_role(role: &Role) -> Result<(), Failure> {
    if role.may_upload() {
        return Ok(());
    }
    let what = format_args!("role {role} may not upload; needs {} or {}", Role::ResourceUploader, Role::ApiAdmin);
    Err(Failure::new(ErrorCode::NotPermitted, what))
}

fn check_release(cli: &Cli, split: &SplitStream, name: &str) -> Result<(), Failure> {
    let Some(wanted) = cli.release else { return Ok(()) };
    let metadata = split.header.unverified_metadata().or_fail_at(name)?;
    match metadata.description.release {
        Some(release) if release == wanted => Ok(()),
        Some(release) => Err(Failure::new(
            ErrorCode::Malformed,
            format_args!("{name}: the header says release {release}, not {wanted}"),
        )),
        None => Err(Failure::new(ErrorCode::Malformed, format_args!("{name}: the header names no release"))
            .hint(format!("seal it with az-encrypt --release {wanted}"))),
    }
}

impl PushReceipt<'_> {
    /// Returns the receipt as a JSON line with its newline.
    fn to_line(&self) -> Result<Vec<u8>, Failure> {
        json_line(self).or_fail_as(ErrorCode::Bug, "receipt")
    }
}

impl ReleasePush<'_> {
    /// Publishes the missing parts and returns the receipt line.
    fn publish(&mut self, session: &mut Session<'_>) -> Result<Vec<u8>, Failure> {
        let name = &self.cli.name;
        let current = Published::query(session, &self.store, name, self.notify)?;
        let is_newer =
            self.cli.release.is_some() && self.cli.release > current.release() && current.release().is_some();
        if current.small.is_some()
            && (!(self.cli.replace || is_newer) || self.can_rewind)
            && let Some(line) = self.compare(&current, self.cli.replace || is_newer)?
        {
            return Ok(line);
        }
        let (sent, etag, journal) = self.send_big()?;
        let big = PartReceipt { size: sent.size, sha256: sent.sha256 };
        let content = self.published(&big);
        self.stage.step(Step::SmallPart, &[("size", self.small.size.into())]);
        session.call(|client, token| client.put_resource(token, name, &content)).or_fail()?;
        let published = receipt(&digest(&content[..])?);
        let split_id = self.split.split_id();
        let pushed = PushedRelease { small: &published, split_id: &split_id, big_len: big.size, etag: etag.as_deref() };
        Published::query(session, &self.store, name, self.notify)?.check(name, &pushed)?;
        if let Some(Err(error)) = journal.map(UploadJournal::remove) {
            self.stage.step(Step::StateLeft, &[("reason", error.to_string().into())]);
        }
        self.receipt_line(true, &big, etag.as_deref(), published)
    }

    /// Reads the stream without sending it and compares it with the published release. Returns
    /// the receipt line if they are equal. Returns `None`, with the stream back at its start, if
    /// the stream may be published; otherwise a failure.
    fn compare(&mut self, current: &Published, may_replace: bool) -> Result<Option<Vec<u8>>, Failure> {
        let name = &self.cli.name;
        if current.big.is_none() && may_replace {
            return Ok(None);
        }
        self.stage.step(Step::Compare, &[]);
        let label = self.input.name().to_owned();
        let big = receipt(&digest(self.split.big(&mut self.input))?);
        self.split.check_len(&label, big.size)?;
        let published = receipt(&digest(&self.published(&big)[..])?);
        let (small, big_match) =
            (current.has_small_part(&published), current.compare_big_part(&self.split.split_id(), big.size));
        // One of the two parts is of this release: a push was interrupted between them, and this
        // one completes it.
        let is_interrupted = small || big_match == BigPartMatch::Same;
        match (small, big_match) {
            (true, BigPartMatch::Same | BigPartMatch::SameSize) => {
                let etag = current.big.as_ref().and_then(|meta| meta.etag.as_deref());
                return self.receipt_line(false, &big, etag, published).map(Some);
            }
            _ if is_interrupted && !may_replace && !self.can_rewind => {
                return Err(name_taken(
                    name,
                    "a push was interrupted: only one of the two published parts is of this release",
                ));
            }
            _ => {}
        }
        if !may_replace && !is_interrupted {
            let what = match (current.release(), self.release()) {
                _ if current.big.is_none() => {
                    "another release is published, and its big part is not on the CDN".to_owned()
                }
                (Some(published), Some(ours)) => {
                    format!("another release is published: {published}, and this is {ours}")
                }
                _ => "another release is published".to_owned(),
            };
            return Err(name_taken(name, &what));
        }
        self.input.file().rewind().map_err(|error| Failure::io(&label, &error))?;
        self.split = SplitStream::read(&mut self.input)?;
        Ok(None)
    }

    /// Sends the big part and verifies its metadata on the CDN.
    fn send_big(&mut self) -> Result<(SentStream, Option<String>, Option<UploadJournal>), Failure> {
        let (cli, stage, notify) = (self.cli, self.stage, self.notify);
        let journal = cli.state_dir.as_deref().map(|dir| UploadJournal::open(dir, &cli.name, &lock_holder)).transpose();
        let journal = journal.or_fail()?;
        let known = self.split.header.sealed_len().map(|len| len.saturating_sub(self.small.size));
        if let Some(len) = known {
            stage.progress().set_total(len);
        }
        let least = known.map_or(0, |len| len.div_ceil(PARTS_MAX.into()));
        let plan = PushPlan { jobs: cli.jobs.into(), part_len: cli.part.max(least), release: self.release() };
        let mut push = Push::begin(
            &self.store,
            &cli.name,
            plan,
            PushedFile { small_sha256: &self.small.sha256, split_id: &self.split.split_id() },
            journal,
            notify,
        )
        .or_fail()?;
        stage.step(Step::BigPart, &known.map_or(vec![], |len| vec![("size", len.into())]));
        let label = self.input.name().to_owned();
        let passed = |bytes| stage.progress().add(bytes);
        let sent = push.send(&mut self.split.big(&mut self.input), notify, &passed);
        let sent = sent.map_err(|error| match &error {
            loader_cdn::Error::Input(error) => Failure::io(&label, error),
            error => Failure::of(error),
        });
        let whole = |sent: SentStream| {
            self.split.check_len(&label, sent.size).and_then(|()| self.check_upstream()).map(|()| sent)
        };
        let sent = match sent.and_then(whole) {
            Ok(sent) => sent,
            Err(failure) => {
                let again = push.is_resumable().then(|| "run again with the same file to resume".to_owned());
                if let Err(error) = push.abort() {
                    stage.step(Step::UploadLeft, &[("reason", error.to_string().into())]);
                }
                let hint = failure.hint_text().map(str::to_owned).or(again);
                return Err(failure.hint(hint));
            }
        };
        if sent.resumed > 0 {
            stage.step(Step::Resumed, &[("size", sent.resumed.into())]);
        }
        let (etag, journal) = push.complete(&sent, notify).or_fail()?;
        Ok((sent, etag, journal))
    }

    /// Returns the release number in the header.
    fn release(&self) -> Option<u64> {
        self.split.header.unverified_metadata().ok().and_then(|metadata| metadata.description.release)
    }

    /// Fails if the upstream stage failed, because the stream may be incomplete. Reports in an
    /// event if the outcome is unknown.
    fn check_upstream(&self) -> Result<(), Failure> {
        let ending = match &self.upstream {
            Some(upstream) => upstream.wait_for_exit()?,
            None if self.input.is_seekable() || self.split.header.sealed_len().is_some() => return Ok(()),
            None => UpstreamOutcome::Unknown,
        };
        self.stage.step(Step::Complete, &[("upstream", ending.as_str().into())]);
        Ok(())
    }

    /// Returns what the API sends: the receipt of both parts as one line, then the small part.
    fn published(&self, big: &PartReceipt) -> Vec<u8> {
        let (name, small) = (Some(self.cli.name.clone()), self.small.clone());
        let mut content = PartsReceipt { parts: 1, name, small, big: big.clone() }.to_line();
        content.extend_from_slice(&self.split.small);
        content
    }

    fn receipt_line(
        &self,
        changed: bool,
        big: &PartReceipt,
        etag: Option<&str>,
        published: PartReceipt,
    ) -> Result<Vec<u8>, Failure> {
        let name = self.cli.name.as_str();
        let release = self.release();
        PushReceipt { name, changed, release, small: &self.small, big, etag, published }.to_line()
    }
}
