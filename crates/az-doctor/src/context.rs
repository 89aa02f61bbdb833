//! Files and servers that several checks use. Each is read or contacted once, when the first
//! check needs it.

use crate::cli::{CheckName, Cli};
use crate::finding::Finding;
use loader_api::{Client, Token};
use loader_cdn::ObjectStore;
use loader_device::Inventory;
use loader_engine::{Engine, Host};
use loader_http::{Notify, ProbeResult};
use loader_model::{CdnCredentials, Credentials};
use loader_seal::fragment::Fragment;
use loader_seal::rekey::HeaderJournal;
use loader_seal::{Header, Key};
use loader_session::{read_device_secret, read_hwid_file};
use loader_stage::{ErrorCode, Failure, OrFail, SecretSource, Stage};
use std::cell::OnceCell;
use zeroize::Zeroizing;

/// Value that is loaded at most once; `None` if no option or setting names it.
type Lazy<T> = OnceCell<Result<Option<T>, Failure>>;

/// A sealed archive.
pub(crate) struct ArchiveInfo {
    /// Path, or `standard input`, in messages.
    pub(crate) name: String,
    pub(crate) header: Header,
    /// Length in bytes; `None` for a pipe.
    pub(crate) file_len: Option<u64>,
}

/// The CDN with the credentials for it.
pub(crate) struct CdnAccess {
    pub(crate) store: ObjectStore,
    pub(crate) credentials: CdnCredentials,
}

/// Context that all checks share.
pub(crate) struct Context<'a> {
    pub(crate) cli: &'a Cli,
    pub(crate) stage: &'a Stage,
    pub(crate) notify: Notify<'a>,
    credentials: Lazy<Credentials>,
    fragment: Lazy<Vec<Fragment>>,
    key: Lazy<Key>,
    device_secret: Lazy<Zeroizing<[u8; 32]>>,
    hardware_from_file: Lazy<[u8; 32]>,
    inventory: OnceCell<Inventory>,
    archive: Lazy<ArchiveInfo>,
    engine: Lazy<Engine>,
    client: Lazy<Client<'a>>,
    api_reached: Lazy<ProbeResult>,
    token: Lazy<Token>,
    cdn: Lazy<CdnAccess>,
    cdn_reached: Lazy<ProbeResult>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(cli: &'a Cli, stage: &'a Stage, notify: Notify<'a>) -> Self {
        Self {
            cli,
            stage,
            notify,
            credentials: Lazy::new(),
            fragment: Lazy::new(),
            key: Lazy::new(),
            device_secret: Lazy::new(),
            hardware_from_file: Lazy::new(),
            inventory: OnceCell::new(),
            archive: Lazy::new(),
            engine: Lazy::new(),
            client: Lazy::new(),
            api_reached: Lazy::new(),
            token: Lazy::new(),
            cdn: Lazy::new(),
            cdn_reached: Lazy::new(),
        }
    }

    pub(crate) fn credentials(&self) -> Result<Option<&Credentials>, Failure> {
        load_once(&self.credentials, || self.stage.credentials(&self.cli.binding.credentials))
    }

    pub(crate) fn fragment(&self) -> Result<Option<&Vec<Fragment>>, Failure> {
        load_once(&self.fragment, || {
            let from = SecretSource::new("fragment", self.cli.fragment_file.as_deref(), None);
            let Some(bytes) = self.stage.secret(from)? else { return Ok(None) };
            let path = self.cli.fragment_file.as_deref().unwrap_or("-".as_ref()).display();
            let text = str::from_utf8(&bytes).map_err(|_| {
                Failure::new(ErrorCode::Malformed, format_args!("{path}: not text")).hint(
                    "az-unlock needs fragments in text form; join a binary fragment with az-join --raw-sha256"
                        .to_owned(),
                )
            })?;
            Fragment::parse_all(text).map(Some).or_fail_at(path)
        })
    }

    pub(crate) fn key(&self) -> Result<Option<&Key>, Failure> {
        load_once(&self.key, || {
            let source = self.cli.key.source();
            if !source.is_given() {
                return Ok(None);
            }
            let line = self.stage.secret_text(source)?;
            Key::parse(&line).map(Some).or_fail_at("the key")
        })
    }

    pub(crate) fn device_secret(&self) -> Result<Option<&Zeroizing<[u8; 32]>>, Failure> {
        load_once(&self.device_secret, || read_device_secret(self.stage, &self.cli.binding))
    }

    /// Returns the hardware id in the file of --hwid-file.
    pub(crate) fn hardware_from_file(&self) -> Result<Option<&[u8; 32]>, Failure> {
        load_once(&self.hardware_from_file, || read_hwid_file(self.stage, &self.cli.binding))
    }

    pub(crate) fn inventory(&self) -> &Inventory {
        self.inventory.get_or_init(|| Inventory::read(&self.cli.binding.sysroot))
    }

    /// Returns the hardware id that the other commands would use.
    pub(crate) fn hardware(&self) -> Result<[u8; 32], Failure> {
        match self.hardware_from_file()? {
            Some(id) => Ok(*id),
            None => self.inventory().id().or_fail(),
        }
    }

    pub(crate) fn archive(&self) -> Result<Option<&ArchiveInfo>, Failure> {
        load_once(&self.archive, || {
            let Some(path) = &self.cli.archive else { return Ok(None) };
            let mut input = self.stage.input(path)?;
            let (name, file_len) = (input.name().to_owned(), input.known_len());
            if let Some(hint) = HeaderJournal::recovery_hint(input.path()) {
                let text = format_args!("{name}: {}", HeaderJournal::INTERRUPTED);
                return Err(Failure::new(ErrorCode::Malformed, text).hint(hint));
            }
            let header = Header::read(&mut input).or_fail_at(&name)?;
            Ok(Some(ArchiveInfo { name, header, file_len }))
        })
    }

    pub(crate) fn engine(&self) -> Result<&Engine, Failure> {
        let engine = load_once(&self.engine, || {
            let connected = Host::new(self.cli.host.as_deref()).and_then(Engine::connect);
            connected.map(Some).or_fail()
        })?;
        engine.ok_or_else(|| Failure::new(ErrorCode::Bug, "no engine"))
    }

    pub(crate) fn client(&self) -> Result<Option<&Client<'a>>, Failure> {
        load_once(&self.client, || {
            let is_given = self.cli.api.api_url.as_deref().is_some_and(|url| !url.trim().is_empty());
            is_given.then(|| self.cli.api.client(self.stage, self.notify)).transpose()
        })
    }

    /// Sends the API a request without a login.
    pub(crate) fn api_reached(&self) -> Result<Option<&ProbeResult>, Failure> {
        load_once(&self.api_reached, || {
            let Some(client) = self.client()? else { return Ok(None) };
            client.probe().map(Some).or_fail()
        })
    }

    /// Returns a token; `None` without an API or credentials.
    pub(crate) fn token(&self) -> Result<Option<&Token>, Failure> {
        load_once(&self.token, || {
            let (Some(client), Some(credentials)) = (self.client()?, self.credentials()?) else { return Ok(None) };
            let text = client.login(credentials).or_fail()?;
            Token::parse(&text).map(Some).or_fail()
        })
    }

    pub(crate) fn cdn(&self) -> Result<Option<&CdnAccess>, Failure> {
        load_once(&self.cdn, || {
            let Some(credentials) = self.cli.cdn.read(self.stage)? else { return Ok(None) };
            let store = ObjectStore::new(&credentials, self.cli.api.http.agent(self.stage)?).or_fail()?;
            Ok(Some(CdnAccess { store, credentials }))
        })
    }

    /// Sends the CDN a request that is not signed.
    pub(crate) fn cdn_reached(&self) -> Result<Option<&ProbeResult>, Failure> {
        load_once(&self.cdn_reached, || {
            let Some(cdn) = self.cdn()? else { return Ok(None) };
            cdn.store.probe(self.notify).map(Some).or_fail()
        })
    }

    /// Returns `result`, which the check `other` examines, to a check that depends on it. If it
    /// is a failure and `other` runs, `other` reports it, and the dependent check is skipped:
    /// returns the finding of a skipped check.
    ///
    /// # Errors
    /// The failure, if `other` does not run.
    pub(crate) fn require<T>(
        &self,
        other: CheckName,
        result: Result<T, Failure>,
    ) -> Result<Result<T, Finding>, Failure> {
        match result {
            Err(_) if self.cli.is_selected(other) => Ok(Err(Finding::blocked(other))),
            result => result.map(Ok),
        }
    }
}

/// Returns the value in `cell`, after calling `load` if it is empty. Each caller gets a copy of a
/// failure.
fn load_once<T>(cell: &Lazy<T>, load: impl FnOnce() -> Result<Option<T>, Failure>) -> Result<Option<&T>, Failure> {
    match cell.get_or_init(load) {
        Ok(value) => Ok(value.as_ref()),
        Err(failure) => Err(failure.clone()),
    }
}
