//! Users: one file for each, named by the email address.

use super::{StateDir, StateError, files, invalid};
use crate::password::PasswordHash;
use loader_model::{Role, parse_uuid, printable};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::PathBuf;
use zeroize::Zeroizing;

/// Maximum length of an email address in bytes, which is also the name of a file.
const EMAIL_MAX: usize = 200;

/// The file of a user.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserRecord {
    /// UUID, the claim `nameid`.
    pub id: String,
    /// Email address in lower case, the claim `unique_name`.
    pub email: String,
    /// Password hash as a PHC string.
    password: String,
    /// The claim `role`: text, a number or a list.
    pub role: Value,
    /// Refuses every call.
    #[serde(default)]
    pub locked: bool,
    /// Hardware id in 64 hexadecimal digits. Requests with another id get 409.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hardware: Option<String>,
    /// Device secret in 64 hexadecimal digits, additionally used for sealing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    device_secret: Option<String>,
    /// Incremented when the password, the role or the lock changes: older tokens are invalid.
    #[serde(default)]
    pub generation: u64,
}

/// Properties of a user to add.
pub struct NewUser {
    /// Email address.
    pub email: String,
    /// Password.
    pub password: Zeroizing<String>,
    /// Role: text, a number or a list.
    pub role: Value,
    /// UUID; random if `None`.
    pub id: Option<String>,
    /// Hardware id in 64 hexadecimal digits.
    pub hardware: Option<String>,
    /// Device secret in 64 hexadecimal digits.
    pub device_secret: Option<Zeroizing<String>>,
    /// Refuses every call.
    pub locked: bool,
}

/// A user with decoded fields.
pub(crate) struct Account {
    pub(crate) record: UserRecord,
    pub(crate) id: [u8; 16],
    pub(crate) hardware: Option<[u8; 32]>,
    pub(crate) secret: Option<Zeroizing<[u8; 32]>>,
    pub(crate) password: PasswordHash,
}

impl Account {
    /// Decodes a record. The error is the name of the invalid field.
    fn decode(record: UserRecord) -> Result<Self, &'static str> {
        let hex = |text: &Option<String>, what| text.as_deref().map(|text| hex_bytes(text).ok_or(what)).transpose();
        Ok(Self {
            id: parse_uuid(&record.id).ok_or("id is not a UUID")?,
            hardware: hex(&record.hardware, "hardware is not 64 hexadecimal digits")?,
            secret: hex(&record.device_secret, "device_secret is not 64 hexadecimal digits")?.map(Zeroizing::new),
            password: PasswordHash::parse(&record.password).ok_or("password is not an Argon2id hash")?,
            record,
        })
    }

    /// Returns the role with the highest rank.
    pub(crate) fn role(&self) -> Role {
        Role::from_claim(&self.record.role)
    }

    /// Returns the stored password hash, which changes with each change of the password.
    pub(crate) fn password_text(&self) -> &str {
        &self.record.password
    }
}

impl StateDir {
    fn user_path(&self, email: &str) -> PathBuf {
        self.root.join("users").join(email)
    }

    /// Returns the user with this email address, ignoring case.
    pub(crate) fn account(&self, email: &str) -> Result<Option<Account>, StateError> {
        let Some(email) = valid_email(email) else { return Ok(None) };
        let path = self.user_path(&email);
        let Some(json) = files::read(&path, files::SMALL_MAX)? else { return Ok(None) };
        let malformed = |what| StateError::Malformed(path.clone(), what);
        let record: UserRecord = serde_json::from_slice(&json).map_err(|_| malformed("not the expected JSON"))?;
        if record.email != email {
            return Err(malformed("email is not the name of the file"));
        }
        Account::decode(record).map(Some).map_err(malformed)
    }

    fn existing(&self, email: &str) -> Result<Account, StateError> {
        self.account(email)?.ok_or_else(|| StateError::NoUser(printable(email)))
    }

    /// Returns the user with this email address.
    ///
    /// # Errors
    /// [`StateError::NoUser`]; the errors of reading the file.
    pub fn user(&self, email: &str) -> Result<UserRecord, StateError> {
        self.existing(email).map(|account| account.record)
    }

    /// Returns all users, sorted by email address.
    ///
    /// # Errors
    /// The errors of reading the files.
    pub fn users(&self) -> Result<Vec<UserRecord>, StateError> {
        let names = files::names(&self.root.join("users"))?;
        names.iter().map(|email| self.existing(email).map(|account| account.record)).collect()
    }

    /// Adds a user, and seals the fragment to it if there is one. Returns false if the same
    /// user, with the same password, exists already.
    ///
    /// # Errors
    /// [`StateError::UserExists`] if a user with this email address differs;
    /// [`StateError::Invalid`] for an invalid property.
    pub fn add_user(&self, user: &NewUser) -> Result<bool, StateError> {
        let email = valid_email(&user.email).ok_or_else(|| invalid("an email address", &user.email))?;
        let _lock = self.lock()?;
        if let Some(found) = self.account(&email)? {
            let differs = |what| Err(StateError::UserExists(email.clone(), what));
            let is_same = |known: Option<&[u8; 32]>, text: Option<&str>| known.copied() == text.and_then(hex_bytes);
            return match &found.record {
                record if record.role != user.role => differs("role"),
                record if user.id.as_ref().is_some_and(|id| *id != record.id) => differs("id"),
                record if record.locked != user.locked => differs("lock"),
                _ if !is_same(found.hardware.as_ref(), user.hardware.as_deref()) => differs("hardware"),
                _ if !is_same(found.secret.as_deref(), user.device_secret.as_deref().map(String::as_str)) => {
                    differs("device secret")
                }
                _ if !found.password.verify(&user.password) => differs("password"),
                _ => Ok(false),
            };
        }
        let record = UserRecord {
            id: user.id.clone().map_or_else(random_uuid, Ok)?,
            email,
            password: self.hash(&user.password)?,
            role: user.role.clone(),
            locked: user.locked,
            hardware: user.hardware.clone(),
            device_secret: user.device_secret.as_ref().map(|text| text.to_string()),
            generation: 0,
        };
        let account = Account::decode(record).map_err(|what| StateError::Invalid(what.to_owned()))?;
        self.write_user(&account.record)?;
        self.seal_fragment(&account, &user.password)?;
        Ok(true)
    }

    /// Sets the password of a user, and seals the fragment to it. Tokens that were issued
    /// before are invalid.
    ///
    /// # Errors
    /// [`StateError::NoUser`]; the errors of reading and writing.
    pub fn set_password(&self, email: &str, password: &str) -> Result<(), StateError> {
        let _lock = self.lock()?;
        let mut record = self.existing(email)?.record;
        record.password = self.hash(password)?;
        record.generation += 1;
        self.write_user(&record)?;
        let account = self.existing(email)?;
        self.seal_fragment(&account, password)
    }

    /// Sets the role of a user. Returns false if the user has it already.
    ///
    /// # Errors
    /// [`StateError::NoUser`]; the errors of reading and writing.
    pub fn set_role(&self, email: &str, role: &Role) -> Result<bool, StateError> {
        self.change(email, |record| {
            let role = Value::from(role.as_str());
            let changed = record.role != role;
            record.role = role;
            changed
        })
    }

    /// Locks or unlocks a user. Returns false if the user is in that state already. Tokens that
    /// were issued before a lock stay invalid after it.
    ///
    /// # Errors
    /// [`StateError::NoUser`]; the errors of reading and writing.
    pub fn set_locked(&self, email: &str, locked: bool) -> Result<bool, StateError> {
        self.change(email, |record| std::mem::replace(&mut record.locked, locked) != locked)
    }

    /// Binds a user to hardware; `None` removes the binding. Returns false if nothing changes.
    ///
    /// # Errors
    /// [`StateError::Invalid`] if it is not a hardware id; the errors of reading and writing.
    pub fn set_hardware(&self, email: &str, hardware: Option<&str>) -> Result<bool, StateError> {
        if let Some(text) = hardware.filter(|text| hex_bytes(text).is_none()) {
            return Err(invalid("a hardware id of 64 hexadecimal digits", text));
        }
        self.change(email, |record| {
            let new = hardware.map(str::to_ascii_lowercase);
            let changed = record.hardware.as_deref().map(str::to_ascii_lowercase) != new;
            record.hardware = new;
            changed
        })
    }

    /// Changes a record under the lock, and invalidates its tokens if something has changed.
    fn change(&self, email: &str, change: impl FnOnce(&mut UserRecord) -> bool) -> Result<bool, StateError> {
        let _lock = self.lock()?;
        let mut record = self.existing(email)?.record;
        if !change(&mut record) {
            return Ok(false);
        }
        record.generation += 1;
        self.write_user(&record).map(|()| true)
    }

    fn write_user(&self, record: &UserRecord) -> Result<(), StateError> {
        files::replace(&self.user_path(&record.email), &files::json(record))
    }

    fn hash(&self, password: &str) -> Result<String, StateError> {
        if password.is_empty() || password.len() > 1024 {
            return Err(StateError::Invalid("a password has 1 to 1024 bytes".to_owned()));
        }
        let hash = PasswordHash::new(password, self.settings()?.argon2).ok_or(StateError::Crypto)?;
        Ok(hash.to_string())
    }
}

/// Returns an email address in lower case if it can be the name of a file: letters, digits
/// and `.!#$&'*+=?^_{}~-` around one `@`, not beginning with a dot.
pub(crate) fn valid_email(email: &str) -> Option<String> {
    let (name, domain) = email.split_once('@')?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b".!#$&'*+=?^_{}~-".contains(&byte);
    let is_domain = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
    let is_valid = email.len() <= EMAIL_MAX
        && !name.is_empty()
        && !domain.is_empty()
        && !name.starts_with(['.', '-'])
        && name.bytes().all(is_name)
        && domain.bytes().all(is_domain);
    is_valid.then(|| email.to_ascii_lowercase())
}

/// Returns a random UUID (RFC 9562 version 4).
fn random_uuid() -> Result<String, StateError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| StateError::Crypto)?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = crate::hex(&bytes);
    Ok(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
}

/// Decodes 64 hexadecimal digits.
pub(crate) fn hex_bytes(text: &str) -> Option<[u8; 32]> {
    let text = text.as_bytes();
    if text.len() != 64 {
        return None;
    }
    let digit = |b: u8| (b as char).to_digit(16);
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_is_64_digits() {
        assert_eq!(hex_bytes(&"0aF1".repeat(16)).unwrap()[..2], [0x0a, 0xf1]);
        assert_eq!(hex_bytes(&"0".repeat(63)), None);
        assert_eq!(hex_bytes(&"0g".repeat(32)), None);
    }

    #[test]
    fn an_email_address_is_a_file_name() {
        assert_eq!(valid_email("Cam-7+x@Example.com").as_deref(), Some("cam-7+x@example.com"));
        for bad in
            ["", "a", "@b", "a@", ".a@b", "../a@b", "a/b@c", "a@b/c", "a@b\0", "a@b@c", "a b@c", "ä@b", ".new-@b"]
        {
            assert_eq!(valid_email(bad), None, "{bad:?}");
        }
        assert_eq!(valid_email(&format!("a@{}", "b".repeat(199))), None);
    }
}
