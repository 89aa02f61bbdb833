//! The user and the device that answers of the server are sealed to.

use crate::BindingArgs;
use loader_device::id_from_text;
use loader_model::{Credentials, ResourceName, User};
use loader_seal::MAGIC;
use loader_seal::device::{Binding, Kind, open};
use loader_stage::{ErrorCode, Failure, OrFail, SecretFrom, Stage};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Largest file with a hardware id in bytes.
const HWID_FILE_MAX: usize = 16 * 1024;

/// What is known of the user's password and of the device. What is not named
/// is missed only when it is needed.
pub struct Device {
    credentials: Option<Credentials>,
    hardware: Option<[u8; 32]>,
    sysroot: PathBuf,
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
        let hardware = args.hwid_file.as_deref().map(|path| read_hwid(stage, path)).transpose()?;
        let from = SecretFrom::new("device secret", args.device_secret_file.as_deref(), None);
        let secret = stage.secret(from)?.map(|text| device_secret(&text)).transpose()?;
        Ok(Self { credentials, hardware, sysroot: args.sysroot.clone(), secret })
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
        loader_device::hardware_id(&self.sysroot)
            .map_err(|error| Failure::new(ErrorCode::from_name(error.code()), &error).hint(error.hint().to_owned()))
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
    pub fn open(&self, user: &User, kind: Kind, sealed: &[u8], place: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let user = user
            .id_bytes()
            .ok_or_else(|| Failure::new(ErrorCode::Malformed, "the token names no UUID, which the server seals to"))?;
        let secret = self.secret.as_ref().map(|secret| **secret);
        let binding = Binding { user, password: self.password()?, hardware: self.hardware()?, secret };
        open(sealed, kind, &binding).or_fail(place, |error| ErrorCode::from_name(error.code())).map_err(|failure| {
            let hint = (failure.code() == ErrorCode::WrongDevice).then(|| {
                "check --credentials-file, --hwid-file and --device-secret-file against those of the user it is sealed to"
                    .to_owned()
            });
            failure.hint(hint)
        })
    }
}

/// True where `bytes` begin like something sealed.
pub fn is_sealed(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// As what the server seals a resource: `cdn.yaml` as such, all else as a small part.
pub fn kind_of(name: &ResourceName) -> Kind {
    if name.file_name() == "cdn.yaml" { Kind::Cdn } else { Kind::SmallPart }
}

fn read_hwid(stage: &Stage, path: &Path) -> Result<[u8; 32], Failure> {
    let mut input = stage.input(path)?;
    let text = input.read_all(HWID_FILE_MAX)?;
    id_from_text(&text).ok_or_else(|| {
        let name = input.name();
        Failure::new(
            ErrorCode::Malformed,
            format_args!("{name}: no line of 64 hexadecimal digits, which a hardware id is"),
        )
    })
}

fn device_secret(text: &[u8]) -> Result<Zeroizing<[u8; 32]>, Failure> {
    id_from_text(text)
        .map(Zeroizing::new)
        .ok_or_else(|| Failure::new(ErrorCode::Malformed, "the device secret is not a line of 64 hexadecimal digits"))
}
