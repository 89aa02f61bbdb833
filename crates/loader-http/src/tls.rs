//! Trusted certificates and the client certificate.

use crate::{ClientCert, Error, HttpConfig};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::Arc;
use ureq::tls::{Certificate, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};
use zeroize::Zeroizing;

/// Returns the TLS settings: root certificates of the system or of the CA file, and the
/// client certificate.
pub(crate) fn tls_config(config: &HttpConfig) -> Result<TlsConfig, Error> {
    let roots = match &config.ca_file {
        Some(path) => RootCerts::new_with_certs(&read_roots(path)?),
        None => RootCerts::PlatformVerifier,
    };
    let client = config.client_cert.as_ref().map(read_client).transpose()?;
    Ok(TlsConfig::builder().root_certs(roots).client_cert(client).build())
}

fn read_roots(path: &Path) -> Result<Vec<Certificate<'static>>, Error> {
    let certs = read_certs(path)?;
    let mut store = RootCertStore::empty();
    for cert in &certs {
        store
            .add(CertificateDer::from(cert.der()))
            .map_err(|error| Error::config(format!("{}: a certificate cannot be used: {error}", path.display())))?;
    }
    Ok(certs)
}

fn read_client(client: &ClientCert) -> Result<ureq::tls::ClientCert, Error> {
    let certs = read_certs(&client.cert)?;
    let no_key = |_| Error::config(format!("{}: contains no PEM private key", client.key_name));
    let key = PrivateKey::from_pem(&client.key).map_err(|_| no_key(()))?;
    let der = PrivateKeyDer::from_pem_slice(&client.key).map_err(|_| no_key(()))?;
    check_pair(&certs, der)
        .map_err(|error| Error::config(format!("{}: does not match its key: {error}", client.cert.display())))?;
    Ok(ureq::tls::ClientCert::new_with_certs(&certs, key))
}

/// Checks that certificate and key match. ureq would panic at the first connection if
/// they do not.
fn check_pair(certs: &[Certificate<'static>], key: PrivateKeyDer<'static>) -> Result<(), rustls::Error> {
    let chain = certs.iter().map(|cert| CertificateDer::from(cert.der()).into_owned()).collect();
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(RootCertStore::empty())
        .with_client_auth_cert(chain, key)?;
    Ok(())
}

fn read_certs(path: &Path) -> Result<Vec<Certificate<'static>>, Error> {
    let mut certs = Vec::new();
    for item in parse_pem(&read_file(path)?) {
        if let PemItem::Certificate(cert) =
            item.map_err(|_| Error::config(format!("{}: not valid PEM", path.display())))?
        {
            certs.push(cert);
        }
    }
    if certs.is_empty() {
        return Err(Error::config(format!("{}: contains no PEM certificate", path.display())));
    }
    Ok(certs)
}

fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    std::fs::read(path).map(Zeroizing::new).map_err(|error| {
        Error::config(format!("{}: cannot be read: {}", path.display(), error.kind().to_string().to_lowercase()))
    })
}
