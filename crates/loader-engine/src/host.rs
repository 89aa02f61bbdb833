//! The socket of an engine.

use crate::Error;
use std::path::{Path, PathBuf};

/// Docker's socket.
const DOCKER: &str = "/var/run/docker.sock";

/// The unix socket of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    socket: PathBuf,
}

impl Host {
    /// Parses the value of `DOCKER_HOST`, such as `unix:///path`. `None` selects Docker's
    /// default socket.
    ///
    /// # Errors
    /// [`Error::Host`] for any other scheme.
    pub fn new(docker_host: Option<&str>) -> Result<Self, Error> {
        let socket = match docker_host.filter(|host| !host.is_empty()) {
            None => PathBuf::from(DOCKER),
            Some(host) => match host.strip_prefix("unix://").filter(|path| path.starts_with('/')) {
                Some(path) => PathBuf::from(path),
                None => return Err(Error::Host { host: host.to_owned() }),
            },
        };
        Ok(Self { socket })
    }

    /// Returns the path of the socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sockets_are_hosts() {
        assert_eq!(Host::new(None).unwrap().socket(), Path::new(DOCKER));
        assert_eq!(Host::new(Some("unix:///run/p.sock")).unwrap().socket(), Path::new("/run/p.sock"));
        for host in ["tcp://127.0.0.1:2375", "ssh://box", "unix://", "/var/run/docker.sock"] {
            assert!(matches!(Host::new(Some(host)), Err(Error::Host { .. })), "{host}");
        }
    }
}
