//! TLS settings, reloaded when their files change.

use crate::Metrics;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio_rustls::TlsAcceptor;

/// Interval at which the files are checked for changes.
const RELOAD_INTERVAL: Duration = Duration::from_secs(2);

/// Reason why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("tls: {0}")]
pub struct TlsError(String);

impl TlsError {
    fn from(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// Files with PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// Certificate of the server and the intermediate certificates.
    pub cert: PathBuf,
    /// Private key of the certificate.
    pub key: PathBuf,
    /// Certificates of authorities that client certificates are verified with. `None` requests
    /// no client certificate.
    pub client_ca: Option<PathBuf>,
}

impl TlsFiles {
    fn load(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let read = |path: &Path| std::fs::read(path).map_err(|error| TlsError(format!("{}: {error}", path.display())));
        let client_ca = self.client_ca.as_deref().map(read).transpose()?;
        server_config(&read(&self.cert)?, &zeroize::Zeroizing::new(read(&self.key)?), client_ca.as_deref())
    }

    /// Returns times and sizes, which differ after a change.
    fn fingerprint(&self) -> Vec<Option<(SystemTime, u64)>> {
        let paths = [Some(&self.cert), Some(&self.key), self.client_ca.as_ref()];
        let of = |path: &Path| path.metadata().and_then(|metadata| Ok((metadata.modified()?, metadata.len()))).ok();
        paths.into_iter().flatten().map(|path| of(path)).collect()
    }
}

/// TLS settings of a listener.
#[derive(Clone)]
pub struct TlsConfig {
    current: Arc<Mutex<Arc<ServerConfig>>>,
    files: Option<TlsFiles>,
}

impl TlsConfig {
    /// Creates settings that never change, from PEM.
    ///
    /// # Errors
    /// [`TlsError`] if a certificate or key is unusable.
    pub fn from_pem(cert: &[u8], key: &[u8], client_ca: Option<&[u8]>) -> Result<Self, TlsError> {
        Ok(Self { current: Arc::new(Mutex::new(server_config(cert, key, client_ca)?)), files: None })
    }

    /// Creates settings from files, which are read again when they change.
    ///
    /// # Errors
    /// [`TlsError`] if a file cannot be read, or a certificate or key is unusable.
    pub fn from_files(files: TlsFiles) -> Result<Self, TlsError> {
        Ok(Self { current: Arc::new(Mutex::new(files.load()?)), files: Some(files) })
    }

    /// Returns an acceptor with the current settings.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Reloads the files until the future is dropped. If they are unusable, such as between the
    /// replacement of the certificate and of its key, the old settings stay.
    pub(crate) async fn reload(self, metrics: Arc<Metrics>) {
        let Some(files) = self.files else { return std::future::pending().await };
        let mut loaded = Vec::new();
        loop {
            let current = files.fingerprint();
            if loaded != current {
                match files.load() {
                    Ok(config) => *self.current.lock().unwrap_or_else(PoisonError::into_inner) = config,
                    Err(_) => drop(metrics.certificate_errors.fetch_add(1, Ordering::Relaxed)),
                }
                loaded = current;
            }
            tokio::time::sleep(RELOAD_INTERVAL).await;
        }
    }
}

fn server_config(cert: &[u8], key: &[u8], client_ca: Option<&[u8]>) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::from)?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(pem)? {
                roots.add(certificate).map_err(TlsError::from)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(TlsError::from)?)
        }
    };
    let key = PrivateKeyDer::from_pem_slice(key).map_err(TlsError::from)?;
    builder.with_single_cert(certificates(cert)?, key).map(Arc::new).map_err(TlsError::from)
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(TlsError::from)
}
