//! The user and the device that answers of the server are sealed to.

use crate::{BindingArgs, api_failure};
use loader_device::{Card, Change, id_from_text};
use loader_model::{Credentials, ResourceName, User};
use loader_seal::device::{Binding, DeviceMismatch, SealedKind, open};
use loader_seal::{Error, MAGIC};
use loader_stage::{ErrorCode, Failure, OrFail, SecretFrom, Stage};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Largest file with a hardware id or an enrolment card in bytes.
const HWID_FILE_MAX: usize = 16 * 1024;

/// What is known of the user's password and of the device. What is not named
/// is missed only when it is needed.
pub struct Device {
    credentials: Option<Credentials>,
    hardware: Option<[u8; 32]>,
    sysroot: PathBuf,
    card: Option<Card>,
    secret: Option<Zeroizing<[u8; 32]>>,
}

impl Device {
    /// Reads what the options name.
    ///
    /// # Errors
    /// `malformed` where a file does not hold what it should, and those of
    /// [`Stage::secret`] and [`Stage::credentials`].
    pub fn read(stage: &Stage, args: &BindingArgs) -> Result<Self, Failure> {
        let credentials = stage.credentials(&args.credentials)?;
        let (hardware, secret) = (named_hardware(stage, args)?, device_secret(stage, args)?);
        let card = args.hwid_card.as_deref().map(|path| read_card(stage, path)).transpose()?;
        Ok(Self { credentials, hardware, sysroot: args.sysroot.clone(), card, secret })
    }

    /// A device of which everything is known.
    pub fn of(credentials: Credentials, hardware: [u8; 32], secret: Option<Zeroizing<[u8; 32]>>) -> Self {
        Self {
            credentials: Some(credentials),
            hardware: Some(hardware),
            sysroot: PathBuf::from("/"),
            card: None,
            secret,
        }
    }

    /// Email and password, where they are at hand.
    pub fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// The password that answers are sealed to.
    ///
    /// # Errors
    /// `config` where no credentials are named.
    pub fn password(&self) -> Result<&str, Failure> {
        self.credentials.as_ref().map(|credentials| credentials.password.as_str()).ok_or_else(|| {
            Failure::new(ErrorCode::Config, "no credentials given, whose password opens what the server seals")
                .hint("use --credentials-file PATH, --credentials-fd N or AZ_CREDENTIALS_FILE".to_owned())
        })
    }

    /// The hardware id: the one that was named, else that of this device.
    ///
    /// # Errors
    /// `config` where none is named and the device has no strong source of one.
    pub fn hardware(&self) -> Result<[u8; 32], Failure> {
        if let Some(named) = self.hardware {
            return Ok(named);
        }
        loader_device::hardware_id(&self.sysroot).map_err(|error| hardware_failure(&error))
    }

    /// The hardware id as the API takes it: 64 lower-case hexadecimal digits.
    ///
    /// # Errors
    /// Those of [`Device::hardware`].
    pub fn hardware_hex(&self) -> Result<String, Failure> {
        Ok(self.hardware()?.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Opens an answer sealed as `kind` to `user` and to this device.
    /// `place` names it in messages.
    ///
    /// # Errors
    /// `wrong_device` where user, password, hardware or device secret are
    /// others; `config` where one is missing; the codes of the sealed format.
    pub fn open(
        &self,
        user: &User,
        kind: SealedKind,
        sealed: &[u8],
        place: &str,
    ) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let user = user
            .id_bytes()
            .ok_or_else(|| Failure::new(ErrorCode::Malformed, "the token names no UUID, which the server seals to"))?;
        let secret = self.secret.as_deref();
        let binding = Binding { user, password: self.password()?, hardware: self.hardware()?, secret };
        open(sealed, kind, &binding).map_err(|error| {
            let hint = match &error {
                Error::WrongDevice(DeviceMismatch::MissingSecret) => Some("name it by --device-secret-file"),
                Error::WrongDevice(DeviceMismatch::UnexpectedSecret) => Some("leave out --device-secret-file"),
                Error::WrongDevice(DeviceMismatch::Other | DeviceMismatch::OtherWithSecret) => Some(
                    "check --credentials-file, --hwid-file and --device-secret-file against those of the user it is sealed to",
                ),
                _ => None,
            };
            let failure = Failure::new(error.code(), format_args!("{place}: {error}"));
            let failure = failure.hint(hint.map(str::to_owned));
            match error {
                Error::WrongDevice(DeviceMismatch::Other | DeviceMismatch::OtherWithSecret) => self.name_changes(failure),
                _ => failure,
            }
        })
    }

    /// The failure of the API that `error` is. Where it says that this is other
    /// hardware, it names what changed.
    pub fn api_failure(&self, error: &loader_api::Error) -> Failure {
        let failure = api_failure(error);
        if failure.code() == ErrorCode::WrongDevice { self.name_changes(failure) } else { failure }
    }

    /// The failure with the sources of the hardware id that are not as the
    /// enrolment card has them, or that all are; as it is where there is no card.
    fn name_changes(&self, failure: Failure) -> Failure {
        let Some(card) = &self.card else { return failure };
        let inventory = loader_device::read(&self.sysroot);
        let changes = card.compare(&inventory);
        if changes.is_empty() {
            if matches!(inventory.id(), Err(loader_device::Error::Unreadable { .. })) {
                return failure;
            }
            return failure.hint("the hardware is that of the enrolment card: it is something else".to_owned());
        }
        let listed = changes.iter().map(Change::to_string).collect::<Vec<_>>().join(", ");
        Failure::new(failure.code(), format_args!("{failure}; since the enrolment {listed}"))
            .hint("put the old part back, or have the device enrolled again".to_owned())
    }
}

/// True where `bytes` begin like something sealed.
pub fn is_sealed(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// As what the server seals a resource: `cdn.yaml` as such, all else as a small part.
pub fn kind_of(name: &ResourceName) -> SealedKind {
    if name.file_name() == "cdn.yaml" { SealedKind::Cdn } else { SealedKind::SmallPart }
}

/// The hardware id in the file that is named for it, if any.
///
/// # Errors
/// `malformed`, and those of [`Stage::input`].
pub fn named_hardware(stage: &Stage, args: &BindingArgs) -> Result<Option<[u8; 32]>, Failure> {
    args.hwid_file.as_deref().map(|path| read_hwid(stage, path)).transpose()
}

/// The device secret in the file that is named for it, if any.
///
/// # Errors
/// `malformed`, and those of [`Stage::secret`].
pub fn device_secret(stage: &Stage, args: &BindingArgs) -> Result<Option<Zeroizing<[u8; 32]>>, Failure> {
    let from = SecretFrom::new("device secret", args.device_secret_file.as_deref(), None);
    stage.secret(from)?.map(|text| parse_secret(&text)).transpose()
}

/// The failure of a device without a hardware id.
pub fn hardware_failure(error: &loader_device::Error) -> Failure {
    Failure::new(ErrorCode::from_name(error.code()), error).hint(error.hint().to_owned())
}

fn read_hwid(stage: &Stage, path: &Path) -> Result<[u8; 32], Failure> {
    let mut input = stage.input(path)?;
    let text = input.read_text(HWID_FILE_MAX)?;
    id_from_text(&text).ok_or_else(|| {
        let name = input.name();
        Failure::new(
            ErrorCode::Malformed,
            format_args!("{name}: no line of 64 hexadecimal digits, which a hardware id is"),
        )
    })
}

/// An enrolment card of az-hwid.
///
/// # Errors
/// `malformed` where it is none, and those of [`Stage::input`].
pub fn read_card(stage: &Stage, path: &Path) -> Result<Card, Failure> {
    let mut input = stage.input(path)?;
    let json = input.read_text(HWID_FILE_MAX)?;
    Card::from_json(&json).or_fail(input.name(), |error| ErrorCode::from_name(error.code()))
}

fn parse_secret(text: &[u8]) -> Result<Zeroizing<[u8; 32]>, Failure> {
    id_from_text(text)
        .map(Zeroizing::new)
        .ok_or_else(|| Failure::new(ErrorCode::Malformed, "the device secret is not a line of 64 hexadecimal digits"))
}
