//! Verification of a state directory.

use super::{StateDir, StateError, files};
use loader_model::{CdnCredentials, ResourceName, Role, yaml};
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Age of a temporary file from which it is that of a killed process.
const ABANDONED: Duration = Duration::from_secs(3600);

/// A problem of a state directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Path of the file.
    pub path: PathBuf,
    /// Description of the problem.
    pub problem: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.problem)
    }
}

impl StateDir {
    /// Returns everything that is wrong with the directory: files that cannot be parsed, can be
    /// read by other users or do not belong to it, and abandoned temporary files.
    ///
    /// # Errors
    /// [`StateError::Io`] if a directory cannot be read.
    pub fn check(&self) -> Result<Vec<Finding>, StateError> {
        let mut findings = Vec::new();
        let mut add = |path: &Path, problem: &dyn fmt::Display| {
            findings.push(Finding { path: path.to_owned(), problem: problem.to_string() });
        };
        let mut files = Vec::new();
        list(&self.root, &mut files, &mut add)?;
        if let Err(error) = self.settings() {
            report(&mut add, error);
        }
        let mut ids = BTreeMap::<[u8; 16], String>::new();
        for path in &files {
            let relative = path.strip_prefix(&self.root).unwrap_or(path);
            let parts: Vec<_> = relative.iter().map(|part| part.to_str().unwrap_or_default()).collect();
            match parts.as_slice() {
                ["server.json" | "lock"] | ["incoming", _] | ["fragments", "all"] => {}
                ["users", email] => match self.account(email) {
                    Ok(Some(account)) => {
                        if let Some(other) = ids.insert(account.id, (*email).to_owned()) {
                            add(path, &format_args!("has the id of {other}"));
                        }
                        if matches!(account.role(), Role::Other(_)) {
                            add(path, &"has an unknown role, which permits nothing");
                        }
                    }
                    Ok(None) => add(path, &"is not named by an email address"),
                    Err(error) => report(&mut add, error),
                },
                ["fragments", "users", email] | ["sealed", email] => {
                    if !self.root.join("users").join(email).is_file() {
                        add(path, &"has no user");
                    }
                }
                ["cdn", role] => {
                    let is_valid = |bytes: &[u8]| yaml::from_slice::<CdnCredentials>(bytes).is_ok();
                    match files::read(path, files::SMALL_MAX) {
                        Err(error) => report(&mut add, error),
                        Ok(found) if !found.as_deref().is_some_and(is_valid) => add(path, &"not CDN credentials"),
                        Ok(_) if Role::from_claim(&(*role).into()).as_str() != *role => {
                            add(path, &"not the name of a role")
                        }
                        Ok(_) => {}
                    }
                }
                ["keys", kid] => {
                    if !self.signing_keys().is_ok_and(|keys| keys.iter().any(|key| key.kid == *kid)) {
                        add(path, &"not a signing key");
                    }
                }
                ["resources", name @ ..] => {
                    if let Err(error) = name.join("/").parse::<ResourceName>() {
                        add(path, &error);
                    }
                }
                _ => add(path, &"does not belong here"),
            }
        }
        Ok(findings)
    }

    /// Removes temporary files that killed processes left, and returns their number.
    ///
    /// # Errors
    /// [`StateError::Io`] if a directory cannot be read.
    pub fn remove_abandoned(&self) -> Result<usize, StateError> {
        let mut files = Vec::new();
        let mut found = Vec::new();
        list(&self.root, &mut files, &mut |path, _| found.push(path.to_owned()))?;
        let incoming = self.incoming();
        found.extend(files.into_iter().filter(|path| path.starts_with(&incoming) && is_abandoned(path)));
        let removed = found.iter().filter(|path| is_abandoned(path) && is_temporary(path, &incoming));
        Ok(removed.filter(|path| fs::remove_file(path).is_ok()).count())
    }
}

fn is_temporary(path: &Path, incoming: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.starts_with(files::TEMPORARY) || path.starts_with(incoming)
}

fn is_abandoned(path: &Path) -> bool {
    let changed = path.symlink_metadata().and_then(|metadata| metadata.modified());
    changed.is_ok_and(|changed| SystemTime::now().duration_since(changed).is_ok_and(|age| age > ABANDONED))
}

/// Adds the error of one file to the findings.
fn report(add: &mut impl FnMut(&Path, &dyn fmt::Display), error: StateError) {
    match &error {
        StateError::Malformed(path, what) => add(path, what),
        StateError::Io(path, cause) => add(path, cause),
        other => add(Path::new(""), other),
    }
}

/// Lists the files below `dir`, and adds those with wrong permissions, wrong types and
/// abandoned temporary files to the findings.
fn list(
    dir: &Path,
    files: &mut Vec<PathBuf>,
    add: &mut impl FnMut(&Path, &dyn fmt::Display),
) -> Result<(), StateError> {
    let failed = |error| StateError::Io(dir.to_owned(), error);
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        paths.push(entry.map_err(failed)?.path());
    }
    paths.sort();
    for path in paths {
        // A temporary file of another process may be gone.
        let Ok(metadata) = path.symlink_metadata() else { continue };
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with(files::TEMPORARY) {
            if is_abandoned(&path) {
                add(&path, &"left by a killed process; az-server check --repair removes it");
            }
        } else if metadata.is_symlink() || !(metadata.is_dir() || metadata.is_file()) {
            add(&path, &"neither a file nor a directory");
        } else {
            if metadata.mode() & 0o077 != 0 {
                add(&path, &format_args!("can be accessed by other users; run chmod go= {}", path.display()));
            }
            if metadata.is_dir() {
                list(&path, files, add)?;
            } else {
                files.push(path);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Argon2Cost, NewUser, ServerSettings};
    use serde_json::json;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn each_problem_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open_or_create(dir.path()).unwrap();
        state.set_settings(&ServerSettings { argon2: Argon2Cost::MINIMUM, ..Default::default() }).unwrap();
        for name in ["a@b", "c@d"] {
            let user = NewUser {
                email: name.to_owned(),
                password: "p".to_owned().into(),
                role: json!("Operator"),
                id: Some("00000000-0000-4000-8000-000000000001".to_owned()),
                hardware: None,
                device_secret: None,
                locked: false,
            };
            assert!(state.add_user(&user).unwrap() && !state.add_user(&user).unwrap());
        }
        let problems = || {
            let found = state.check().unwrap();
            found
                .iter()
                .map(|finding| finding.to_string().replace(dir.path().to_str().unwrap(), ""))
                .collect::<Vec<_>>()
        };
        assert_eq!(problems(), ["/users/c@d: has the id of a@b"]);
        fs::remove_file(dir.path().join("users/c@d")).unwrap();
        state.ensure_key(0).unwrap();
        state.set_fragment(Some("A@b"), b"fragment").unwrap();
        assert_eq!(problems(), Vec::<String>::new());
        for (name, content) in
            [("users/x", ""), ("users/e@f", "{}"), ("keys/k", ""), ("resources/a b", ""), ("cdn/Operator", "x")]
        {
            files::replace(&dir.path().join(name), content.as_bytes()).unwrap();
        }
        files::replace(&dir.path().join("fragments/users/g@h"), b"x").unwrap();
        files::replace(&dir.path().join("other"), b"x").unwrap();
        fs::set_permissions(dir.path().join("users/a@b"), fs::Permissions::from_mode(0o644)).unwrap();
        let left = dir.path().join("sealed/.new-1");
        fs::write(&left, "").unwrap();
        fs::File::options().write(true).open(&left).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        let found = problems();
        for part in [
            "users/x: is not named",
            "users/e@f: not the expected JSON",
            "keys/k: not a signing key",
            "resources/a b: invalid name",
            "cdn/Operator: not CDN",
            "fragments/users/g@h: has no user",
            "/other: does not belong",
            "users/a@b: can be accessed",
            "sealed/.new-1: left by",
        ] {
            assert!(found.iter().any(|line| line.contains(part)), "{part}: {found:#?}");
        }
        assert_eq!(found.len(), 9, "{found:#?}");
        assert_eq!((state.remove_abandoned().unwrap(), left.exists()), (1, false));
    }
}
