//! TLS for the servers on loopback: a test certificate authority.

use loader_server::TlsConfig;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};

/// Reason why a certificate cannot be created or used.
#[derive(Debug, thiserror::Error)]
#[error("tls: {0}")]
pub struct TlsError(String);

impl TlsError {
    fn from(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// A certificate and its private key as PEM.
#[derive(Clone, Debug)]
pub struct CertifiedKey {
    /// Certificate.
    pub cert: String,
    /// Private key, PKCS #8.
    pub key: String,
}

/// Certificate authority for tests. Its key exists only in memory.
pub struct TestCa {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl TestCa {
    /// Creates an authority with a new key.
    ///
    /// # Errors
    /// [`TlsError`] if the kernel returns no random bytes.
    pub fn new() -> Result<Self, TlsError> {
        let mut params = params(&[])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().map_err(TlsError::from)?;
        // Clients distinguish authorities by name, so each needs its own name.
        let name: String = key.public_key_raw().iter().rev().take(4).map(|byte| format!("{byte:02x}")).collect();
        params.distinguished_name.push(DnType::CommonName, format!("az-devserver test authority {name}"));
        CertifiedIssuer::self_signed(params, key).map(|issuer| Self { issuer }).map_err(TlsError::from)
    }

    /// Returns the certificate of the authority as PEM, for `--ca-file`.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Issues a server certificate for `names` (host names or addresses), valid until the
    /// end of the year `until`.
    ///
    /// # Errors
    /// [`TlsError`] if a name is invalid.
    pub fn server(&self, names: &[&str], until: i32) -> Result<CertifiedKey, TlsError> {
        let mut params = params(names)?;
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 12, 31);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params)
    }

    /// Issues a server certificate for `names`, valid during the year `from`.
    ///
    /// # Errors
    /// Those of [`TestCa::server`].
    pub fn server_from(&self, names: &[&str], from: i32) -> Result<CertifiedKey, TlsError> {
        let mut params = params(names)?;
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(from + 1, 1, 1);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params)
    }

    /// Issues a certificate for the client `name`.
    ///
    /// # Errors
    /// Those of [`TestCa::server`].
    pub fn client(&self, name: &str) -> Result<CertifiedKey, TlsError> {
        let mut params = params(&[])?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params)
    }

    fn sign(&self, params: CertificateParams) -> Result<CertifiedKey, TlsError> {
        let key = KeyPair::generate().map_err(TlsError::from)?;
        let cert = params.signed_by(&key, &self.issuer).map_err(TlsError::from)?;
        Ok(CertifiedKey { cert: cert.pem(), key: key.serialize_pem() })
    }
}

fn params(names: &[&str]) -> Result<CertificateParams, TlsError> {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    CertificateParams::new(names).map_err(TlsError::from)
}

/// TLS settings of the listeners.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Server certificate.
    pub server: CertifiedKey,
    /// CA certificate as PEM that client certificates are verified with. `None` requests
    /// no client certificate.
    pub client_ca: Option<String>,
}

impl Tls {
    /// Returns the settings of a listener.
    ///
    /// # Errors
    /// [`TlsError`] if a certificate or key is unusable.
    pub(crate) fn config(&self) -> Result<TlsConfig, loader_server::TlsError> {
        let client_ca = self.client_ca.as_deref().map(str::as_bytes);
        TlsConfig::from_pem(self.server.cert.as_bytes(), self.server.key.as_bytes(), client_ca)
    }
}
