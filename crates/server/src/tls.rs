//! TLS: the server's configuration from PEM files, and what a client's certificate says of it.
//! Certificates are read once; a file that cannot be used is an error at the start, not at the
//! first client.

mod certificate;

#[cfg(test)]
mod tests;

use crate::config::{CertLoginFrom, Tls, Verify};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, ServerConnection, crypto};

pub use certificate::PeerCertificate;

/// Why TLS cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file cannot be read or has nothing of the kind in it.
    #[error("{key}: cannot read {what} from {}: {reason}", path.display())]
    Pem {
        /// The configuration key.
        key: &'static str,
        /// What was looked for.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
    /// A key that the configuration needs is not set.
    #[error("{0} is not set")]
    Unset(&'static str),
    /// The parts do not go together, for example a key of another certificate.
    #[error("the certificate and key cannot be used: {0}")]
    Rejected(#[from] tokio_rustls::rustls::Error),
    /// The authorities cannot be used to verify clients.
    #[error("tls.cacertfile cannot be used: {0}")]
    Verifier(String),
}

/// What a TLS connection tells about itself, for management and for EXTERNAL.
#[derive(Clone, Debug, Default)]
pub struct TlsFacts {
    /// `tlsv1.3` or `tlsv1.2`, as RabbitMQ writes it.
    pub protocol: Option<&'static str>,
    /// The cipher suite, such as `TLS13_AES_256_GCM_SHA384`.
    pub cipher: Option<String>,
    /// The client's verified certificate.
    pub certificate: Option<PeerCertificate>,
    /// The user name that the certificate stands for in EXTERNAL.
    pub login: Option<String>,
}

/// What TLS listeners accept with.
#[derive(Clone)]
pub struct Acceptor {
    /// Shakes hands.
    pub rustls: TlsAcceptor,
    /// Which part of a certificate names the user.
    pub login_from: CertLoginFrom,
}

/// Makes what TLS listeners accept with.
///
/// # Errors
/// When a file is missing or not what it should be.
pub fn acceptor(tls: &Tls) -> Result<Acceptor, TlsError> {
    let certfile = tls.certfile.as_deref().ok_or(TlsError::Unset("tls.certfile"))?;
    let keyfile = tls.keyfile.as_deref().ok_or(TlsError::Unset("tls.keyfile"))?;
    let chain = certificates("tls.certfile", certfile)?;
    let key = PrivateKeyDer::from_pem_file(keyfile)
        .map_err(|error| pem_error("tls.keyfile", "a private key", keyfile, &error))?;
    let provider = Arc::new(crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let builder = match tls.verify {
        Verify::VerifyNone => builder.with_no_client_auth(),
        Verify::VerifyPeer => builder.with_client_cert_verifier(verifier(tls, provider)?),
    };
    let rustls = TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key)?));
    Ok(Acceptor { rustls, login_from: tls.cert_login_from })
}

fn verifier(
    tls: &Tls,
    provider: Arc<crypto::CryptoProvider>,
) -> Result<Arc<dyn tokio_rustls::rustls::server::danger::ClientCertVerifier>, TlsError> {
    let file = tls.cacertfile.as_deref().ok_or(TlsError::Unset("tls.cacertfile"))?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates("tls.cacertfile", file)? {
        roots.add(certificate)?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let verifier =
        if tls.fail_if_no_peer_cert { verifier } else { verifier.allow_unauthenticated() };
    verifier.build().map_err(|error| TlsError::Verifier(error.to_string()))
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let what = "certificates";
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| pem_error(key, what, path, &error))?;
    if found.is_empty() {
        let reason = "there is none in it".to_owned();
        return Err(TlsError::Pem { key, what, path: path.to_owned(), reason });
    }
    Ok(found)
}

fn pem_error(
    key: &'static str,
    what: &'static str,
    path: &Path,
    error: &tokio_rustls::rustls::pki_types::pem::Error,
) -> TlsError {
    TlsError::Pem { key, what, path: path.to_owned(), reason: error.to_string() }
}

/// Reads what a finished handshake has settled.
#[must_use]
pub fn facts(session: &ServerConnection, login_from: CertLoginFrom) -> TlsFacts {
    use tokio_rustls::rustls::ProtocolVersion;
    let protocol = session.protocol_version().and_then(|version| match version {
        ProtocolVersion::TLSv1_3 => Some("tlsv1.3"),
        ProtocolVersion::TLSv1_2 => Some("tlsv1.2"),
        _ => None,
    });
    let cipher = session.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite()));
    let certificate = session
        .peer_certificates()
        .and_then(|chain| chain.first())
        .and_then(|certificate| PeerCertificate::read(certificate.as_ref()));
    let login = certificate.as_ref().and_then(|own| own.login(login_from)).map(str::to_owned);
    TlsFacts { protocol, cipher, certificate, login }
}
