//! Audit log: one JSON line for each login, access, upload and refusal. It contains who, what,
//! from where and the result, and never a secret.

use crate::state::give_to_owner_of;
use serde::Serialize;
use std::fs::File;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::SystemTime;

/// A line of the audit log.
#[derive(Debug, Serialize)]
pub struct AuditLine<'a> {
    /// Action, such as `login` or `user-lock`.
    pub action: &'a str,
    /// Email address of a user of the server, or of somebody who tried to log in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<&'a str>,
    /// Name of the resource or of the changed object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<&'a str>,
    /// Address of the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// `ok`, or the code of the refusal.
    pub result: &'a str,
}

/// Destination of the audit log.
#[derive(Clone, Debug)]
pub enum AuditLog {
    /// No log.
    Off,
    /// Standard error, which a service manager records.
    StandardError,
    /// A file, opened for each line, so that it can be renamed at any time.
    File(PathBuf),
}

impl AuditLog {
    /// Writes a line. A log that cannot be written does not stop the server; the caller counts
    /// the lost line.
    ///
    /// # Errors
    /// Those of opening and writing the file.
    pub fn write(&self, line: &AuditLine<'_>) -> std::io::Result<()> {
        #[derive(Serialize)]
        struct Stamped<'a> {
            ts: String,
            #[serde(flatten)]
            line: &'a AuditLine<'a>,
        }
        let ts = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        let mut bytes = serde_json::to_vec(&Stamped { ts, line })?;
        bytes.push(b'\n');
        match self {
            Self::Off => Ok(()),
            Self::StandardError => std::io::stderr().lock().write_all(&bytes),
            // One write in append mode: lines of several servers do not mix.
            Self::File(path) => {
                let mut file = File::options().append(true).create(true).mode(0o600).open(path)?;
                if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
                    give_to_owner_of(dir, &file)?;
                }
                file.write_all(&bytes)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_a_json_object() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit");
        let log = AuditLog::File(path.clone());
        for result in ["ok", "role"] {
            let line = AuditLine { action: "upload", user: Some("a@b"), target: Some("x\n\"y"), address: None, result };
            log.write(&line).unwrap();
        }
        let text = std::fs::read_to_string(path).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((lines.len(), &lines[1]["result"], &lines[0]["target"]), (2, &"role".into(), &"x\n\"y".into()));
        assert!(lines[0].get("address").is_none());
    }
}
