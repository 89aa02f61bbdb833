//! The user and the device that answers of the server are sealed to.

use crate::BindingArgs;
use loader_api::Token;
use loader_model::{Credentials, ResourceName};
use loader_seal::MAGIC;
use loader_seal::device::{Binding, Kind, open};
use loader_stage::{ErrorCode, Failure, Loose, OrFail, SecretFrom, Stage};
use std::path::Path;
use zeroize::Zeroizing;

/// Largest file with a hardware id in bytes.
const HWID_FILE_MAX: usize = 16 * 1024;

/// What is known of the user's password and of the device. What is not named
/// is missed only when it is needed.
pub struct Device {
    credentials: Option<Credentials>,
    hardware: Option<[u8; 32]>,
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
        let from = SecretFrom::new("device-secret", args.device_secret_file.as_deref(), None);
        let secret = stage.secret(from, Loose::Warn)?.map(|text| device_secret(&text)).transpose()?;
        Ok(Self { credentials, hardware, secret })
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

    /// The hardware id.
    ///
    /// # Errors
    /// `config` where none is named.
    pub fn hardware(&self) -> Result<[u8; 32], Failure> {
        self.hardware.ok_or_else(|| {
            Failure::new(ErrorCode::Config, "no hardware id given, which the server seals to")
                .hint("use --hwid-file PATH or AZ_HWID_FILE: a file with 64 hexadecimal digits".to_owned())
        })
    }

    /// The hardware id as the API takes it: 64 lower-case hexadecimal digits.
    ///
    /// # Errors
    /// `config` where none is named.
    pub fn hardware_hex(&self) -> Result<String, Failure> {
        Ok(self.hardware()?.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Opens an answer sealed as `kind` to the token's user and to this device.
    /// `place` names it in messages.
    ///
    /// # Errors
    /// `wrong_device` where user, password, hardware or device secret are
    /// others; `config` where one is missing; the codes of the sealed format.
    pub fn open(&self, token: &Token, kind: Kind, sealed: &[u8], place: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let user = token
            .user()
            .id_bytes()
            .ok_or_else(|| Failure::new(ErrorCode::Malformed, "the token names no UUID, which the server seals to"))?;
        let secret = self.secret.as_ref().map(|secret| **secret);
        let binding = Binding { user, password: self.password()?, hardware: self.hardware()?, secret };
        open(sealed, kind, &binding).or_fail(place, |error| ErrorCode::from_name(error.code())).map_err(|failure| {
            let hint = (failure.code() == ErrorCode::WrongDevice).then(|| {
                "check --credentials-file, --hwid-file and --device-secret-file against those of the token's user"
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
    hex_line(&text).ok_or_else(|| {
        let name = input.name();
        Failure::new(
            ErrorCode::Malformed,
            format_args!("{name}: no line of 64 hexadecimal digits, which a hardware id is"),
        )
    })
}

fn device_secret(text: &[u8]) -> Result<Zeroizing<[u8; 32]>, Failure> {
    hex_line(text)
        .map(Zeroizing::new)
        .ok_or_else(|| Failure::new(ErrorCode::Malformed, "the device secret is not a line of 64 hexadecimal digits"))
}

/// The 32 bytes on the first line that is 64 hexadecimal digits and nothing else.
fn hex_line(text: &[u8]) -> Option<[u8; 32]> {
    let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let line = lines.find(|line| line.len() == 64 && line.iter().all(u8::is_ascii_hexdigit))?;
    let mut bytes = [0; 32];
    let mut digits = line.iter().map(|digit| (*digit as char).to_digit(16));
    for byte in &mut bytes {
        *byte = (digits.next()?? << 4 | digits.next()??) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_digits_is_found_among_others() {
        let hex = "0aF1".repeat(16);
        let bytes = hex_line(format!("# id\n\n  {hex}\r\nmore\n").as_bytes()).unwrap();
        assert_eq!(bytes[..4], [0x0a, 0xf1, 0x0a, 0xf1]);
        for bad in [String::new(), hex[1..].to_owned(), format!("{hex}0"), hex.replace('F', "g")] {
            assert_eq!(hex_line(bad.as_bytes()), None, "{bad}");
        }
    }
}
