//! The server's fragments. A fragment is sealed to a user when the password is known: when
//! the user is added, gets a password or logs in, because the request for the fragment
//! contains no password.

use super::{Account, StateDir, StateError, files};
use crate::sealing::{Recipient, seal_to};
use crate::{FragmentForm, ServerSettings};
use loader_seal::device::SealedKind;
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use zeroize::Zeroizing;

/// Length in bytes of the digest at the start of a sealed file.
const DIGEST_LEN: usize = 32;

/// Result of looking for the sealed fragment of a user.
pub(crate) enum SealedFragment {
    /// The sealed bytes.
    Sealed(Vec<u8>),
    /// There is no fragment for the user.
    None,
    /// The user has no hardware to seal to.
    NoHardware,
    /// The fragment, the password or the hardware has changed since it was sealed.
    Outdated,
}

impl StateDir {
    fn sealed_path(&self, account: &Account) -> PathBuf {
        self.root.join("sealed").join(&account.record.email)
    }

    fn fragment_path(&self, email: Option<&str>) -> PathBuf {
        let dir = self.root.join("fragments");
        email.map_or_else(|| dir.join("all"), |email| dir.join("users").join(email))
    }

    /// Sets the fragment of one user, or of all users that have none of their own. Returns
    /// false if it is the same already.
    ///
    /// # Errors
    /// [`StateError::Invalid`] if it is empty or longer than 64 KiB; [`StateError::NoUser`].
    pub fn set_fragment(&self, email: Option<&str>, fragment: &[u8]) -> Result<bool, StateError> {
        if fragment.is_empty() || fragment.len() as u64 > files::SMALL_MAX {
            return Err(StateError::Invalid("a fragment has 1 byte to 64 KiB".to_owned()));
        }
        let email = email.map(|email| self.user(email).map(|user| user.email)).transpose()?;
        let _lock = self.lock()?;
        let path = self.fragment_path(email.as_deref());
        let known = files::read(&path, files::SMALL_MAX)?.map(Zeroizing::new);
        if known.is_some_and(|known| *known == fragment) {
            return Ok(false);
        }
        files::replace(&path, fragment).map(|()| true)
    }

    /// Removes the fragment of one user, or of all users that have none of their own. The next
    /// unlock of their devices fails. Returns false if there is none.
    ///
    /// # Errors
    /// [`StateError::NoUser`]; [`StateError::Io`].
    pub fn remove_fragment(&self, email: Option<&str>) -> Result<bool, StateError> {
        let email = email.map(|email| self.user(email).map(|user| user.email)).transpose()?;
        let _lock = self.lock()?;
        files::remove(&self.fragment_path(email.as_deref()))
    }

    /// Returns the fragment of a user.
    pub(crate) fn fragment(&self, account: &Account) -> Result<Option<Zeroizing<Vec<u8>>>, StateError> {
        let own = files::read(&self.fragment_path(Some(&account.record.email)), files::SMALL_MAX)?;
        let found = match own {
            Some(own) => Some(own),
            None => files::read(&self.fragment_path(None), files::SMALL_MAX)?,
        };
        Ok(found.map(Zeroizing::new))
    }

    /// Returns the sealed fragment of a user.
    pub(crate) fn sealed_fragment(&self, account: &Account) -> Result<SealedFragment, StateError> {
        let Some(fragment) = self.fragment(account)? else { return Ok(SealedFragment::None) };
        let Some(hardware) = account.hardware else { return Ok(SealedFragment::NoHardware) };
        let digest = seal_inputs(account, &hardware, &fragment);
        let sealed = files::read(&self.sealed_path(account), 2 * files::SMALL_MAX)?.unwrap_or_default();
        Ok(match sealed.strip_prefix(&digest[..]) {
            Some(sealed) => SealedFragment::Sealed(sealed.to_vec()),
            None => SealedFragment::Outdated,
        })
    }

    /// Seals the fragment to `account`, whose password is `password`, unless that was done
    /// already, or fragments are delivered as they are.
    ///
    /// # Errors
    /// [`StateError::Io`]; [`StateError::Crypto`].
    pub(crate) fn seal_fragment(&self, account: &Account, password: &str) -> Result<(), StateError> {
        let settings = self.settings()?;
        if settings.fragment_form == FragmentForm::Sealed {
            self.seal_with(account, password, &settings)
        } else {
            Ok(())
        }
    }

    fn seal_with(&self, account: &Account, password: &str, settings: &ServerSettings) -> Result<(), StateError> {
        let Some(hardware) = account.hardware else { return Ok(()) };
        let is_current = matches!(self.sealed_fragment(account)?, SealedFragment::Sealed(_) | SealedFragment::None);
        let Some(fragment) = self.fragment(account)?.filter(|_| !is_current) else { return Ok(()) };
        let password = Zeroizing::new(password.to_owned());
        let to = Recipient { user: account.id, password, hardware, secret: account.secret.clone() };
        let sealed = seal_to(&to, &fragment, SealedKind::Fragment, settings.argon2).map_err(|_| StateError::Crypto)?;
        let digest = seal_inputs(account, &hardware, &fragment);
        files::replace(&self.sealed_path(account), &[&digest[..], &sealed].concat())
    }
}

/// Returns a digest of everything that the sealed fragment depends on. The hash of the
/// password stands for the password.
fn seal_inputs(account: &Account, hardware: &[u8; 32], fragment: &[u8]) -> [u8; DIGEST_LEN] {
    let mut hash = Sha256::new();
    let secret = account.secret.as_ref().map_or(&[][..], |secret| secret.as_slice());
    for part in [account.password_text().as_bytes(), &account.id, hardware, secret, fragment] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}
