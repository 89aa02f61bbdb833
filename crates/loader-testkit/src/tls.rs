//! TLS for the servers on loopback: a certificate authority of their own, and the
//! listener that axum serves behind it.

use axum::serve::Listener;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How long a client whose handshake failed may take to leave.
const LINGER: Duration = Duration::from_secs(2);

/// Why a certificate cannot be made or used.
#[derive(Debug, thiserror::Error)]
#[error("tls: {0}")]
pub struct TlsError(String);

impl TlsError {
    fn from(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// A certificate and its key, both PEM.
#[derive(Clone, Debug)]
pub struct Certified {
    /// The certificate.
    pub cert: String,
    /// Its private key, PKCS #8.
    pub key: String,
}

/// A certificate authority that lives as long as this value. It is for tests:
/// its key is in memory only, and its certificates are trusted by nobody.
pub struct TestCa {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl TestCa {
    /// A new authority with a key of its own.
    ///
    /// # Errors
    /// [`TlsError`]: the system gives no random bytes.
    pub fn new() -> Result<Self, TlsError> {
        let mut params = params(&[])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().map_err(TlsError::from)?;
        // two authorities of one name would be taken for each other
        let name: String = key.public_key_raw().iter().rev().take(4).map(|byte| format!("{byte:02x}")).collect();
        params.distinguished_name.push(DnType::CommonName, format!("az-devserver test authority {name}"));
        CertifiedIssuer::self_signed(params, key).map(|issuer| Self { issuer }).map_err(TlsError::from)
    }

    /// The certificate of the authority, PEM: what `--ca-file` takes.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for a server that is called one of `names`, host names or
    /// addresses, until the end of the year `until`.
    ///
    /// # Errors
    /// [`TlsError`]: a name that no certificate can hold.
    pub fn server(&self, names: &[&str], until: i32) -> Result<Certified, TlsError> {
        let mut params = params(names)?;
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 12, 31);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params)
    }

    /// A certificate for a server whose time begins with the year `from`.
    ///
    /// # Errors
    /// As [`TestCa::server`].
    pub fn server_from(&self, names: &[&str], from: i32) -> Result<Certified, TlsError> {
        let mut params = params(names)?;
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(from + 1, 1, 1);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params)
    }

    /// A certificate for the client `name`.
    ///
    /// # Errors
    /// As [`TestCa::server`].
    pub fn client(&self, name: &str) -> Result<Certified, TlsError> {
        let mut params = params(&[])?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params)
    }

    fn sign(&self, params: CertificateParams) -> Result<Certified, TlsError> {
        let key = KeyPair::generate().map_err(TlsError::from)?;
        let cert = params.signed_by(&key, &self.issuer).map_err(TlsError::from)?;
        Ok(Certified { cert: cert.pem(), key: key.serialize_pem() })
    }
}

fn params(names: &[&str]) -> Result<CertificateParams, TlsError> {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    CertificateParams::new(names).map_err(TlsError::from)
}

/// How the listeners speak TLS.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The certificate of the server.
    pub server: Certified,
    /// The authority, PEM, that must have signed the client's certificate;
    /// `None` asks for none.
    pub client_ca: Option<String>,
}

impl Tls {
    /// # Errors
    /// [`TlsError`]: a certificate or key that cannot be used.
    pub(crate) fn acceptor(&self) -> Result<TlsAcceptor, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::from)?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(pem) => {
                let mut roots = RootCertStore::empty();
                roots.add(certificate(pem)?).map_err(TlsError::from)?;
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(verifier.map_err(TlsError::from)?)
            }
        };
        let key = PrivateKeyDer::from_pem_slice(self.server.key.as_bytes()).map_err(TlsError::from)?;
        let config = builder.with_single_cert(vec![certificate(&self.server.cert)?], key).map_err(TlsError::from)?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

fn certificate(pem: &str) -> Result<CertificateDer<'static>, TlsError> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(TlsError::from)
}

/// Connections whose handshake is done. Handshakes run side by side, so that a
/// client which never speaks holds up no other.
pub(crate) struct TlsListener {
    address: SocketAddr,
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
}

impl TlsListener {
    /// Accepts on `listener` until the value is dropped.
    ///
    /// # Errors
    /// The listener has no address.
    pub(crate) fn new(listener: TcpListener, acceptor: TlsAcceptor) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (sender, ready) = mpsc::channel(64);
        tokio::spawn(async move {
            while !sender.is_closed() {
                let Ok((stream, peer)) = listener.accept().await else { continue };
                // a small answer must not wait for the acknowledgement of its head
                let _ = stream.set_nodelay(true);
                let (acceptor, sender) = (acceptor.clone(), sender.clone());
                tokio::spawn(async move {
                    match acceptor.accept(stream).into_fallible().await {
                        Ok(stream) => drop(sender.send((stream, peer)).await),
                        Err((_, stream)) => say_why(stream).await,
                    }
                });
            }
        });
        Ok(Self { address, ready })
    }
}

/// Ends a connection whose handshake failed so that the alert reaches the client:
/// with bytes of its own still unread here, the system would reset it.
async fn say_why(mut stream: TcpStream) {
    let _ = stream.shutdown().await;
    let mut nowhere = tokio::io::sink();
    let rest = tokio::io::copy(&mut stream, &mut nowhere);
    let _ = tokio::time::timeout(LINGER, rest).await;
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(connection) => connection,
            // the thread that accepts is gone: the server is about to stop
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}
