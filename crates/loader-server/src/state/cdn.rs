//! Credentials of the CDN for each role.

use super::{StateDir, StateError, files};
use loader_model::{CdnCredentials, Role, yaml};
use zeroize::Zeroizing;

/// Name of the resource that contains the credentials.
pub(crate) const CDN_RESOURCE: &str = "cdn.yaml";

impl StateDir {
    /// Sets the credentials for users with `role` or a higher one, up to the next role that has
    /// its own. Users who may not upload get them without the keys for uploads. Returns
    /// false if they are the same already.
    ///
    /// # Errors
    /// [`StateError::Invalid`] if the YAML is not valid, or the role is unknown.
    pub fn set_cdn(&self, role: &Role, document: &[u8]) -> Result<bool, StateError> {
        if matches!(role, Role::Other(_) | Role::None) {
            return Err(StateError::Invalid(format!("{role}: not a role that may read resources")));
        }
        let cdn: CdnCredentials = yaml::from_slice(document)
            .map_err(|_| StateError::Invalid("not the YAML or JSON of CDN credentials".to_owned()))?;
        let _lock = self.lock()?;
        let path = self.root.join("cdn").join(role.as_str());
        let document = Zeroizing::new(to_yaml(&cdn));
        if files::read(&path, files::SMALL_MAX)?.is_some_and(|known| known == document.as_bytes()) {
            return Ok(false);
        }
        files::replace(&path, document.as_bytes()).map(|()| true)
    }

    /// Returns `cdn.yaml` for `role`: the document of the highest role that has one and is not
    /// above it. `None` if no role has any, so that `cdn.yaml` is a resource like others;
    /// `Some(None)` if only higher roles have one.
    pub(crate) fn cdn(&self, role: &Role) -> Result<Option<Option<Zeroizing<Vec<u8>>>>, StateError> {
        let dir = self.root.join("cdn");
        let names = files::names(&dir)?;
        if names.is_empty() {
            return Ok(None);
        }
        let rank_of = |name: &str| Role::from_claim(&name.into()).rank();
        let best = names.iter().filter(|name| rank_of(name) <= role.rank()).max_by_key(|name| rank_of(name));
        let Some(path) = best.map(|name| dir.join(name)) else { return Ok(Some(None)) };
        let document = Zeroizing::new(files::read(&path, files::SMALL_MAX)?.unwrap_or_default());
        let cdn: CdnCredentials =
            yaml::from_slice(&document).map_err(|_| StateError::Malformed(path, "not CDN credentials"))?;
        let cdn = if role.may_upload() { cdn } else { cdn.without_uploader() };
        Ok(Some(Some(Zeroizing::new(to_yaml(&cdn).into_bytes()))))
    }

    /// Returns true if `cdn.yaml` comes from the credentials of a role, so that no upload may
    /// replace it.
    pub(crate) fn has_cdn(&self) -> Result<bool, StateError> {
        Ok(!files::names(&self.root.join("cdn"))?.is_empty())
    }
}

/// Returns one `key: "value"` line for each field. A JSON scalar is a valid YAML scalar.
pub(crate) fn to_yaml(cdn: &CdnCredentials) -> String {
    let fields = serde_json::to_value(cdn).unwrap_or_default();
    fields.as_object().into_iter().flatten().map(|(key, value)| format!("{key}: {value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_gets_the_document_of_the_next_lower_role() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open_or_create(dir.path()).unwrap();
        let document = |host: &str| {
            format!(
                "host: {host}\ndownloader_access_key: d\ndownloader_access_secret: ds\n\
                 uploader_access_key: u\nuploader_access_secret: us\n"
            )
        };
        assert!(state.cdn(&Role::ApiAdmin).unwrap().is_none());
        assert!(state.set_cdn(&Role::Validator, document("low").as_bytes()).unwrap());
        assert!(!state.set_cdn(&Role::Validator, document("low").as_bytes()).unwrap());
        state.set_cdn(&Role::ResourceUploader, document("high").as_bytes()).unwrap();
        let text = |role| {
            let found = state.cdn(&role).unwrap().unwrap();
            found.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap()).unwrap_or_default()
        };
        assert_eq!(text(Role::Operator), "");
        assert!(text(Role::Admin).contains("low") && !text(Role::Admin).contains("uploader"));
        assert!(text(Role::ApiAdmin).contains("high") && text(Role::ApiAdmin).contains("us"));
        assert!(matches!(state.set_cdn(&Role::Operator, b"host: x"), Err(StateError::Invalid(_))));
        assert!(matches!(state.set_cdn(&Role::Other("../x".into()), b""), Err(StateError::Invalid(_))));
    }
}
