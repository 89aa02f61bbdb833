//! What az-push does.

use crate::cli::Cli;
use crate::cut::{Cut, digest, receipt};
use crate::published::{BigThere, Ours, Published, taken};
use crate::small::SmallPart;
use loader_api::Session;
use loader_cdn::{Journal, PARTS_MAX, Push, PushPlan, Sent, Store};
use loader_http::Notify;
use loader_model::{PartReceipt, PartsReceipt, Role, json_line};
use loader_session::{RetryStep, api_failure, cdn_failure, open_session, read_token};
use loader_stage::{Content, Ending, ErrorCode, Failure, Input, OrFail, RunDir, Stage, lock_holder};
use serde::Serialize;
use std::io::Seek;

/// The line on standard output.
#[derive(Serialize)]
struct Receipt<'a> {
    name: &'a str,
    /// False where these bytes were published already.
    changed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<u64>,
    small: &'a PartReceipt,
    big: &'a PartReceipt,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<&'a str>,
    /// What the API hands out: the receipt line and the small part.
    published: PartReceipt,
}

struct Release<'a> {
    cli: &'a Cli,
    stage: &'a Stage,
    notify: Notify<'a>,
    store: Store,
    input: Input,
    cut: Cut,
    small: PartReceipt,
    /// True where the input can be read twice.
    rewinds: bool,
    /// The stage that writes the input, where it reports to the folder of the run.
    before: Option<RunDir>,
}

pub(crate) fn run(cli: &Cli, stage: &Stage) -> anyhow::Result<()> {
    let mut input = stage.input(&cli.input)?;
    let token = read_token(stage, &cli.token)?;
    check_role(token.role())?;
    let credentials = stage.credentials(&cli.credentials)?;
    let cdn = cli.cdn.read(stage)?.ok_or_else(|| {
        Failure::new(ErrorCode::Config, "no CDN credentials given")
            .hint("use --cdn-file PATH or AZ_CDN_FILE with what az-cdn-creds --uploader printed".to_owned())
    })?;
    let store = Store::for_upload(&cdn, cli.api.http.agent(stage)?).map_err(|error| {
        let hint = (error.code() == ErrorCode::Config).then(|| "get them with az-cdn-creds --uploader".to_owned());
        cdn_failure(&error).hint(hint)
    })?;
    let notify = |notice: &_| stage.retry_step(notice);
    let mut session = open_session(cli.api.client(stage, &notify)?, token, credentials.as_ref());
    let mut output = stage.output(&cli.output, Content::Text)?;
    if cli.small {
        let part = SmallPart::read(cli, &mut input)?;
        stage.begin();
        let (meta, published, changed) = part.publish(cli, stage, &mut session, &store, &notify)?;
        let etag = meta.as_ref().and_then(|meta| meta.etag.as_deref());
        let (name, release, PartsReceipt { small, big, .. }) = (cli.name.as_str(), part.release, &part.receipt);
        output.put(&Receipt { name, changed, release, small, big, etag, published }.to_line()?)?;
        return Ok(output.commit()?);
    }
    let rewinds = input.known_len().is_some();
    let after = cli.after.as_deref();
    let before = if input.is_seekable() { None } else { RunDir::find(after, "az-encrypt", "nothing was published")? };
    let cut = Cut::read(&mut input)?;
    check_release(cli, &cut, input.name())?;
    stage.begin();
    let small = cut.small_receipt()?;
    let mut release = Release { cli, stage, notify: &notify, store, input, cut, small, rewinds, before };
    output.put(&release.publish(&mut session)?)?;
    Ok(output.commit()?)
}

/// Refuses early what the server would refuse late.
fn check_role(role: &Role) -> Result<(), Failure> {
    if role.may_upload() {
        return Ok(());
    }
    let what = format_args!("role {role} may not upload; needs {} or {}", Role::ResourceUploader, Role::ApiAdmin);
    Err(Failure::new(ErrorCode::NotPermitted, what))
}

fn check_release(cli: &Cli, cut: &Cut, name: &str) -> Result<(), Failure> {
    let Some(wanted) = cli.release else { return Ok(()) };
    let metadata = cut.header.unverified_metadata().or_fail(name, |error| error.code())?;
    match metadata.release {
        Some(release) if release == wanted => Ok(()),
        Some(release) => Err(Failure::new(
            ErrorCode::Malformed,
            format_args!("{name}: the header says release {release}, not {wanted}"),
        )),
        None => Err(Failure::new(ErrorCode::Malformed, format_args!("{name}: the header names no release"))
            .hint(format!("seal it with az-encrypt --release {wanted}"))),
    }
}

impl Receipt<'_> {
    /// The receipt as one line of JSON with its newline.
    fn to_line(&self) -> Result<Vec<u8>, Failure> {
        json_line(self).or_fail("receipt", |_| ErrorCode::Bug)
    }
}

impl Release<'_> {
    /// Publishes what is not yet there, and gives the line that says so.
    fn publish(&mut self, session: &mut Session<'_>) -> Result<Vec<u8>, Failure> {
        let name = &self.cli.name;
        let there = Published::ask(session, &self.store, name, self.notify)?;
        let succeeds = self.cli.release.is_some() && self.cli.release > there.release() && there.release().is_some();
        if there.small.is_some()
            && (!(self.cli.replace || succeeds) || self.rewinds)
            && let Some(line) = self.compare(&there, self.cli.replace || succeeds)?
        {
            return Ok(line);
        }
        let (sent, etag, journal) = self.send_big()?;
        let big = PartReceipt { size: sent.size, sha256: sent.sha256 };
        let content = self.published(&big);
        self.stage.step("small-part", &[("size", self.small.size.into())]);
        session
            .call(|client, token| client.put_resource(token, name, &content))
            .map_err(|error| api_failure(&error))?;
        let published = receipt(&digest(&content[..])?);
        let cut = self.cut.name();
        let ours = Ours { small: &published, cut: &cut, big_len: big.size, etag: etag.as_deref() };
        Published::ask(session, &self.store, name, self.notify)?.check(name, &ours)?;
        if let Some(Err(error)) = journal.map(Journal::remove) {
            self.stage.step("state-left", &[("reason", error.to_string().into())]);
        }
        self.line(true, &big, etag.as_deref(), published)
    }

    /// Reads the stream without sending it: the line where it is what is
    /// published, a refusal where it is not and nothing may be replaced, and
    /// `None` where it may, with the stream at its start again.
    fn compare(&mut self, there: &Published, may_replace: bool) -> Result<Option<Vec<u8>>, Failure> {
        let name = &self.cli.name;
        if there.big.is_none() && may_replace {
            return Ok(None);
        }
        self.stage.step("compare", &[]);
        let place = self.input.name().to_owned();
        let big = receipt(&digest(self.cut.big(&mut self.input))?);
        self.cut.check_len(&place, big.size)?;
        let published = receipt(&digest(&self.published(&big)[..])?);
        let (small, big_there) = (there.has_small(&published), there.compare_big(&self.cut.name(), big.size));
        // One of the two is ours: a push ended between them, and this one ends it.
        let half = small || big_there == BigThere::Same;
        match (small, big_there) {
            (true, BigThere::Same | BigThere::SameSize) => {
                let etag = there.big.as_ref().and_then(|meta| meta.etag.as_deref());
                return self.line(false, &big, etag, published).map(Some);
            }
            _ if half && !may_replace && !self.rewinds => {
                return Err(taken(
                    name,
                    "a push ended half-way: only one of the two parts published is of this release",
                ));
            }
            _ => {}
        }
        if !may_replace && !half {
            let what = match (there.release(), self.release()) {
                _ if there.big.is_none() => {
                    "another release is published, and its big part is not on the CDN".to_owned()
                }
                (Some(there), Some(ours)) => format!("another release is published: {there}, and this is {ours}"),
                _ => "another release is published".to_owned(),
            };
            return Err(taken(name, &what));
        }
        self.input.file().rewind().map_err(|error| Failure::io(&place, &error))?;
        self.cut = Cut::read(&mut self.input)?;
        Ok(None)
    }

    /// Sends the big part and reads back what the CDN says of it.
    fn send_big(&mut self) -> Result<(Sent, Option<String>, Option<Journal>), Failure> {
        let (cli, stage, notify) = (self.cli, self.stage, self.notify);
        let journal = cli.state_dir.as_deref().map(|dir| Journal::open(dir, &cli.name, &lock_holder)).transpose();
        let journal = journal.map_err(|error| Failure::new(error.code(), &error))?;
        let known = self.cut.header.sealed_len().map(|len| len.saturating_sub(self.small.size));
        if let Some(len) = known {
            stage.progress().set_total(len);
        }
        let least = known.map_or(0, |len| len.div_ceil(PARTS_MAX.into()));
        let plan = PushPlan { jobs: cli.jobs.into(), part_len: cli.part.max(least), release: self.release() };
        let mut push =
            Push::begin(&self.store, &cli.name, plan, (&self.small.sha256, &self.cut.name()), journal, notify)
                .map_err(|error| cdn_failure(&error))?;
        stage.step("big-part", &known.map_or(vec![], |len| vec![("size", len.into())]));
        let place = self.input.name().to_owned();
        let passed = |bytes| stage.progress().add(bytes);
        let sent = push.send(&mut self.cut.big(&mut self.input), notify, &passed);
        let sent = sent.map_err(|error| match &error {
            loader_cdn::Error::Source(error) => Failure::io(&place, error),
            error => cdn_failure(error),
        });
        let whole =
            |sent: Sent| self.cut.check_len(&place, sent.size).and_then(|()| self.check_before()).map(|()| sent);
        let sent = match sent.and_then(whole) {
            Ok(sent) => sent,
            Err(failure) => {
                let again = push.is_resumable().then(|| "run again with the same file to go on there".to_owned());
                if let Err(error) = push.abort() {
                    stage.step("upload-left", &[("reason", error.to_string().into())]);
                }
                let hint = failure.hint_text().map(str::to_owned).or(again);
                return Err(failure.hint(hint));
            }
        };
        if sent.resumed > 0 {
            stage.step("resumed", &[("size", sent.resumed.into())]);
        }
        let (etag, journal) = push.complete(&sent, notify).map_err(|error| cdn_failure(&error))?;
        Ok((sent, etag, journal))
    }

    /// The release that the header names.
    fn release(&self) -> Option<u64> {
        self.cut.header.unverified_metadata().ok().and_then(|metadata| metadata.release)
    }

    /// Refuses a stream whose stage before did not end well: what came may be less
    /// than it wanted to write. Says so where nobody can tell.
    fn check_before(&self) -> Result<(), Failure> {
        let ending = match &self.before {
            Some(before) => before.ending()?,
            None if self.input.is_seekable() || self.cut.header.sealed_len().is_some() => return Ok(()),
            None => Ending::Unknown,
        };
        self.stage.step("complete", &[("upstream", ending.as_str().into())]);
        Ok(())
    }

    /// What the API hands out: the receipt of both parts as one line, then the
    /// small part.
    fn published(&self, big: &PartReceipt) -> Vec<u8> {
        let (name, small) = (Some(self.cli.name.clone()), self.small.clone());
        let mut content = PartsReceipt { parts: 1, name, small, big: big.clone() }.to_line();
        content.extend_from_slice(&self.cut.small);
        content
    }

    fn line(
        &self,
        changed: bool,
        big: &PartReceipt,
        etag: Option<&str>,
        published: PartReceipt,
    ) -> Result<Vec<u8>, Failure> {
        let name = self.cli.name.as_str();
        let release = self.release();
        Receipt { name, changed, release, small: &self.small, big, etag, published }.to_line()
    }
}
