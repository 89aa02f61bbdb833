//! The identity of the user and the device that responses of the server are sealed to.

use crate::BindingArgs;
use loader_device::{Card, SourceChange, id_from_text};
use loader_model::{Credentials, ResourceName, User};
use loader_seal::device::{Binding, DeviceMismatch, SealedKind, open};
use loader_seal::{Error, MAGIC};
use loader_stage::{ErrorCode, Failure, OrFail, SecretSource, Stage};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Maximum size in bytes of a file with a hardware id or an enrolment card.
const MAX_HWID_FILE_LEN: usize = 16 * 1024;

/// Credentials of the user, hardware id and secret of the device. A missing value is only
/// reported when it is needed.
pub struct DeviceIdentity {
    credentials: Option<Credentials>,
    hardware: Option<[u8; 32]>,
    sysroot: PathBuf,
    card: Option<Card>,
    secret: Option<Zeroizing<[u8; 32]>>,
}

impl DeviceIdentity {
    /// Reads the files that the options name.
    ///
    /// # Errors
    /// `malformed` if a file does not have the expected content; the errors of
    /// [`Stage::secret`] and [`Stage::credentials`].
    pub fn read(stage: &Stage, args: &BindingArgs) -> Result<Self, Failure> {
        let credentials = stage.credentials(&args.credentials)?;
        let (hardware, secret) = (read_hwid_file(stage, args)?, read_device_secret(stage, args)?);
        let card = args.hwid_card.as_deref().map(|path| read_enrolment_card(stage, path)).transpose()?;
        Ok(Self { credentials, hardware, sysroot: args.sysroot.clone(), card, secret })
    }

    /// Creates an identity from known values.
    pub fn new(credentials: Credentials, hardware: [u8; 32], secret: Option<Zeroizing<[u8; 32]>>) -> Self {
        Self {
            credentials: Some(credentials),
            hardware: Some(hardware),
            sysroot: PathBuf::from("/"),
            card: None,
            secret,
        }
    }

    /// Returns email and password, if they were given.
    pub fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// Returns the password that responses are sealed to.
    ///
    /// # Errors
    /// `config` if no credentials were given.
    pub fn password(&self) -> Result<&str, Failure> {
        self.credentials.as_ref().map(|credentials| credentials.password.as_str()).ok_or_else(|| {
            Failure::new(
                ErrorCode::Config,
                "no credentials given; the password is needed to open the response of the server",
            )
            .hint("use --credentials-file PATH, --credentials-fd N or AZ_CREDENTIALS_FILE".to_owned())
        })
    }

    /// Returns the hardware id from the given file, or else that of this device.
    ///
    /// # Errors
    /// `config` if no file was given and the device has no strong source of a hardware id.
    pub fn hardware(&self) -> Result<[u8; 32], Failure> {
        if let Some(named) = self.hardware {
            return Ok(named);
        }
        loader_device::hardware_id(&self.sysroot).or_fail()
    }

    /// Returns the hardware id in the form that the API expects: 64 lower-case hexadecimal digits.
    ///
    /// # Errors
    /// The errors of [`DeviceIdentity::hardware`].
    pub fn hardware_hex(&self) -> Result<String, Failure> {
        Ok(hex::encode(self.hardware()?))
    }

    /// Opens a response that is sealed as `kind` to `user` and to this device. `place` is its
    /// name in messages.
    ///
    /// # Errors
    /// `wrong_device` if it is sealed to another user, password, hardware or device secret;
    /// `config` if one of them is missing; the codes of the sealed format.
    pub fn open(
        &self,
        user: &User,
        kind: SealedKind,
        sealed: &[u8],
        place: &str,
    ) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let user = user
            .id_bytes()
            .ok_or_else(|| Failure::new(ErrorCode::Malformed, "the user id in the token is not a UUID"))?;
        let secret = self.secret.as_deref();
        let binding = Binding { user, password: self.password()?, hardware: self.hardware()?, secret };
        open(sealed, kind, &binding).map_err(|error| {
            let hint = match &error {
                Error::WrongDevice(DeviceMismatch::MissingSecret) => Some("use --device-secret-file"),
                Error::WrongDevice(DeviceMismatch::UnexpectedSecret) => Some("omit --device-secret-file"),
                Error::WrongDevice(DeviceMismatch::Other | DeviceMismatch::OtherWithSecret) => Some(
                    "check that --credentials-file, --hwid-file and --device-secret-file are those it is sealed to",
                ),
                _ => None,
            };
            let failure = Failure::at(place, &error).hint(hint.map(str::to_owned));
            match error {
                Error::WrongDevice(DeviceMismatch::Other | DeviceMismatch::OtherWithSecret) => {
                    self.with_hardware_changes(failure)
                }
                _ => failure,
            }
        })
    }

    /// Converts an error of the API. If the cause is other hardware, the message contains the
    /// changes since the enrolment.
    pub fn api_failure(&self, error: &loader_api::Error) -> Failure {
        let failure = Failure::of(error);
        if failure.code() == ErrorCode::WrongDevice { self.with_hardware_changes(failure) } else { failure }
    }

    /// Adds the sources of the hardware id that differ from the enrolment card to the failure,
    /// or a hint that none does. Without a card the failure is unchanged.
    fn with_hardware_changes(&self, failure: Failure) -> Failure {
        let Some(card) = &self.card else { return failure };
        let inventory = loader_device::Inventory::read(&self.sysroot);
        let changes = card.compare(&inventory);
        if changes.is_empty() {
            if matches!(inventory.id(), Err(loader_device::Error::Unreadable { .. })) {
                return failure;
            }
            return failure.hint(
                "the hardware matches the enrolment card, so check the user, the password and the device secret"
                    .to_owned(),
            );
        }
        let listed = changes.iter().map(SourceChange::to_string).collect::<Vec<_>>().join(", ");
        Failure::new(failure.code(), format_args!("{failure}; since the enrolment {listed}"))
            .hint("put the old part back, or have the device enrolled again".to_owned())
    }
}

/// Returns true if `bytes` begin with the magic of the sealed format.
pub fn is_sealed(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// Returns the kind as which the server seals a resource: [`SealedKind::Cdn`] for `cdn.yaml`,
/// [`SealedKind::SmallPart`] for everything else.
pub fn seal_kind(name: &ResourceName) -> SealedKind {
    if name.file_name() == "cdn.yaml" { SealedKind::Cdn } else { SealedKind::SmallPart }
}

/// Reads the hardware id from the file of `--hwid-file`, if given.
///
/// # Errors
/// `malformed`; the errors of [`Stage::input`].
pub fn read_hwid_file(stage: &Stage, args: &BindingArgs) -> Result<Option<[u8; 32]>, Failure> {
    args.hwid_file.as_deref().map(|path| parse_hwid_file(stage, path)).transpose()
}

/// Reads the device secret from the file of `--device-secret-file`, if given.
///
/// # Errors
/// `malformed`; the errors of [`Stage::secret`].
pub fn read_device_secret(stage: &Stage, args: &BindingArgs) -> Result<Option<Zeroizing<[u8; 32]>>, Failure> {
    let from = SecretSource::new("device secret", args.device_secret_file.as_deref(), None);
    stage.secret(from)?.map(|text| parse_secret(&text)).transpose()
}

fn parse_hwid_file(stage: &Stage, path: &Path) -> Result<[u8; 32], Failure> {
    let mut input = stage.input(path)?;
    let text = input.read_text(MAX_HWID_FILE_LEN)?;
    id_from_text(&text).ok_or_else(|| {
        let name = input.name();
        Failure::new(
            ErrorCode::Malformed,
            format_args!("{name}: not a hardware id, which is a line of 64 hexadecimal digits"),
        )
    })
}

/// Reads an enrolment card of `az-hwid --enroll`.
///
/// # Errors
/// `malformed` if it is not an enrolment card; the errors of [`Stage::input`].
pub fn read_enrolment_card(stage: &Stage, path: &Path) -> Result<Card, Failure> {
    let mut input = stage.input(path)?;
    let json = input.read_text(MAX_HWID_FILE_LEN)?;
    Card::from_json(&json).or_fail_at(input.name())
}

fn parse_secret(text: &[u8]) -> Result<Zeroizing<[u8; 32]>, Failure> {
    id_from_text(text)
        .map(Zeroizing::new)
        .ok_or_else(|| Failure::new(ErrorCode::Malformed, "the device secret is not a line of 64 hexadecimal digits"))
}
