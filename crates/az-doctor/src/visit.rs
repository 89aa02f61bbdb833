//! What several checks look at, each read or asked for once, when the first of
//! them needs it.

use crate::cli::{Cli, Name};
use crate::finding::Finding;
use loader_api::{Client, Token};
use loader_cdn::Store;
use loader_device::Inventory;
use loader_engine::{Engine, Host};
use loader_http::{Notify, Reached};
use loader_model::{CdnCredentials, Credentials};
use loader_seal::fragment::Fragment;
use loader_seal::rekey::HeaderJournal;
use loader_seal::{Header, Key};
use loader_session::{api_failure, cdn_failure, device_secret, hardware_failure, named_hardware};
use loader_stage::{ErrorCode, Failure, OrFail, SecretFrom, Stage};
use std::cell::OnceCell;
use zeroize::Zeroizing;

/// Something that was looked at; `None` where no option names it.
type Seen<T> = OnceCell<Result<Option<T>, Failure>>;

/// A sealed archive: its header, and the bytes of the file where that is one.
pub(crate) struct Sealed {
    pub(crate) place: String,
    pub(crate) header: Header,
    pub(crate) file_len: Option<u64>,
}

/// The store, and what its credentials say.
pub(crate) struct Cdn {
    pub(crate) store: Store,
    pub(crate) credentials: CdnCredentials,
}

/// One visit to a device.
pub(crate) struct Visit<'a> {
    pub(crate) cli: &'a Cli,
    pub(crate) stage: &'a Stage,
    pub(crate) notify: Notify<'a>,
    credentials: Seen<Credentials>,
    fragment: Seen<Vec<Fragment>>,
    key: Seen<Key>,
    device_secret: Seen<Zeroizing<[u8; 32]>>,
    named_hardware: Seen<[u8; 32]>,
    inventory: OnceCell<Inventory>,
    archive: Seen<Sealed>,
    engine: Seen<Engine>,
    client: Seen<Client<'a>>,
    api: Seen<Reached>,
    token: Seen<Token>,
    cdn: Seen<Cdn>,
    cdn_reached: Seen<Reached>,
}

impl<'a> Visit<'a> {
    pub(crate) fn new(cli: &'a Cli, stage: &'a Stage, notify: Notify<'a>) -> Self {
        Self {
            cli,
            stage,
            notify,
            credentials: Seen::new(),
            fragment: Seen::new(),
            key: Seen::new(),
            device_secret: Seen::new(),
            named_hardware: Seen::new(),
            inventory: OnceCell::new(),
            archive: Seen::new(),
            engine: Seen::new(),
            client: Seen::new(),
            api: Seen::new(),
            token: Seen::new(),
            cdn: Seen::new(),
            cdn_reached: Seen::new(),
        }
    }

    pub(crate) fn credentials(&self) -> Result<Option<&Credentials>, Failure> {
        seen(&self.credentials, || self.stage.credentials(&self.cli.binding.credentials))
    }

    pub(crate) fn fragment(&self) -> Result<Option<&Vec<Fragment>>, Failure> {
        seen(&self.fragment, || {
            let from = SecretFrom::new("fragment", self.cli.fragment_file.as_deref(), None);
            let Some(bytes) = self.stage.secret(from)? else { return Ok(None) };
            let place = self.cli.fragment_file.as_deref().unwrap_or("-".as_ref()).display();
            let text = str::from_utf8(&bytes).map_err(|_| {
                Failure::new(ErrorCode::Malformed, format_args!("{place}: not text"))
                    .hint("az-unlock takes fragments as text; one without needs az-join --raw-sha256".to_owned())
            })?;
            Fragment::parse_all(text).map(Some).or_fail(place, |error| error.code())
        })
    }

    pub(crate) fn key(&self) -> Result<Option<&Key>, Failure> {
        seen(&self.key, || {
            let source = self.cli.key.source();
            if !source.is_given() {
                return Ok(None);
            }
            let line = self.stage.secret_text(source)?;
            Key::parse(&line).map(Some).or_fail("the key", |error| error.code())
        })
    }

    pub(crate) fn device_secret(&self) -> Result<Option<&Zeroizing<[u8; 32]>>, Failure> {
        seen(&self.device_secret, || device_secret(self.stage, &self.cli.binding))
    }

    /// The hardware id in the file that is named for it.
    pub(crate) fn named_hardware(&self) -> Result<Option<&[u8; 32]>, Failure> {
        seen(&self.named_hardware, || named_hardware(self.stage, &self.cli.binding))
    }

    pub(crate) fn inventory(&self) -> &Inventory {
        self.inventory.get_or_init(|| loader_device::read(&self.cli.binding.sysroot))
    }

    /// The hardware id that a stage would use.
    pub(crate) fn hardware(&self) -> Result<[u8; 32], Failure> {
        match self.named_hardware()? {
            Some(id) => Ok(*id),
            None => self.inventory().id().map_err(|error| hardware_failure(&error)),
        }
    }

    pub(crate) fn archive(&self) -> Result<Option<&Sealed>, Failure> {
        seen(&self.archive, || {
            let Some(path) = &self.cli.archive else { return Ok(None) };
            let mut input = self.stage.input(path)?;
            let (place, file_len) = (input.name().to_owned(), input.known_len());
            if let Some(hint) = HeaderJournal::recovery_hint(input.path()) {
                let what = format_args!("{place}: {}", HeaderJournal::INTERRUPTED);
                return Err(Failure::new(ErrorCode::Malformed, what).hint(hint));
            }
            let header = Header::read(&mut input).or_fail(&place, |error| error.code())?;
            Ok(Some(Sealed { place, header, file_len }))
        })
    }

    pub(crate) fn engine(&self) -> Result<&Engine, Failure> {
        let engine = seen(&self.engine, || {
            let connected = Host::new(self.cli.host.as_deref()).and_then(Engine::connect);
            let hint = connected.as_ref().err().and_then(|error| error.hint()).map(str::to_owned);
            connected.map(Some).or_fail("", loader_engine::Error::code).map_err(|failure| failure.hint(hint))
        })?;
        engine.ok_or_else(|| Failure::new(ErrorCode::Bug, "no engine"))
    }

    pub(crate) fn client(&self) -> Result<Option<&Client<'a>>, Failure> {
        seen(&self.client, || {
            let named = self.cli.api.api_url.as_deref().is_some_and(|url| !url.trim().is_empty());
            named.then(|| self.cli.api.client(self.stage, self.notify)).transpose()
        })
    }

    /// What the API says without a login.
    pub(crate) fn api(&self) -> Result<Option<&Reached>, Failure> {
        seen(&self.api, || {
            let Some(client) = self.client()? else { return Ok(None) };
            client.reach().map(Some).map_err(|error| api_failure(&error))
        })
    }

    /// A token; `None` where there is no API or nobody to log in as.
    pub(crate) fn token(&self) -> Result<Option<&Token>, Failure> {
        seen(&self.token, || {
            let (Some(client), Some(credentials)) = (self.client()?, self.credentials()?) else { return Ok(None) };
            let text = client.login(credentials).map_err(|error| api_failure(&error))?;
            Token::parse(&text).map(Some).map_err(|error| Failure::new(error.code(), error))
        })
    }

    pub(crate) fn cdn(&self) -> Result<Option<&Cdn>, Failure> {
        seen(&self.cdn, || {
            let Some(credentials) = self.cli.cdn.read(self.stage)? else { return Ok(None) };
            let store =
                Store::new(&credentials, self.cli.api.http.agent(self.stage)?).map_err(|error| cdn_failure(&error))?;
            Ok(Some(Cdn { store, credentials }))
        })
    }

    /// What the store says to someone without keys.
    pub(crate) fn cdn_reached(&self) -> Result<Option<&Reached>, Failure> {
        seen(&self.cdn_reached, || {
            let Some(cdn) = self.cdn()? else { return Ok(None) };
            cdn.store.reach(self.notify).map(Some).map_err(|error| cdn_failure(&error))
        })
    }

    /// What the check `of` looks at, for a check that builds on it: where the
    /// former fails and tells so itself, the latter is skipped.
    pub(crate) fn after<T>(&self, of: Name, found: Result<T, Failure>) -> Result<Result<T, Finding>, Failure> {
        match found {
            Err(_) if self.cli.wants(of) => Ok(Err(Finding::blocked(of))),
            found => found.map(Ok),
        }
    }
}

/// What is in `cell`, looked at now where it is empty. A failure is told to each
/// who asks.
fn seen<T>(cell: &Seen<T>, look: impl FnOnce() -> Result<Option<T>, Failure>) -> Result<Option<&T>, Failure> {
    match cell.get_or_init(look) {
        Ok(found) => Ok(found.as_ref()),
        Err(failure) => Err(Failure::new(failure.code(), failure).hint(failure.hint_text().map(str::to_owned))),
    }
}
