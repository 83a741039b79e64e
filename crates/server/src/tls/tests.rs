//! Handshakes over a pipe with certificates made on the spot.

use super::*;
use crate::config::CertLoginFrom;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

/// An authority, a server certificate for `localhost` and a client certificate, in files.
struct Files {
    dir: PathBuf,
}

impl Files {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("leveret-tls-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let files = Self { dir };
        let authority = authority();
        files.write("ca.pem", &authority.pem());
        files.signed("server", &authority, &[(DnType::CommonName, "localhost")]);
        files.signed(
            "client",
            &authority,
            &[
                (DnType::CountryName, "DE"),
                (DnType::OrganizationName, "Hare, Inc"),
                (DnType::CommonName, "reader"),
            ],
        );
        files
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.dir.join(name), text).unwrap();
    }

    fn signed(
        &self,
        name: &str,
        authority: &CertifiedIssuer<'_, KeyPair>,
        subject: &[(DnType, &str)],
    ) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name = distinguished_name(subject);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, authority).unwrap();
        self.write(&format!("{name}.pem"), &certificate.pem());
        self.write(&format!("{name}.key"), &key.serialize_pem());
    }

    fn tls(&self) -> Tls {
        Tls {
            certfile: Some(self.dir.join("server.pem")),
            keyfile: Some(self.dir.join("server.key")),
            ..Tls::default()
        }
    }

    fn mutual(&self, fail_if_no_peer_cert: bool) -> Tls {
        Tls {
            cacertfile: Some(self.dir.join("ca.pem")),
            verify: Verify::VerifyPeer,
            fail_if_no_peer_cert,
            ..self.tls()
        }
    }

    fn client(&self, with_certificate: bool) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        for certificate in certificates("", &self.dir.join("ca.pem")).unwrap() {
            roots.add(certificate).unwrap();
        }
        let builder =
            ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots);
        let config = if with_certificate {
            let chain = certificates("", &self.dir.join("client.pem")).unwrap();
            let key = PrivateKeyDer::from_pem_file(self.dir.join("client.key")).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        } else {
            builder.with_no_client_auth()
        };
        TlsConnector::from(Arc::new(config))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.dir);
    }
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name = distinguished_name(&[(DnType::CommonName, "Test authority")]);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn distinguished_name(parts: &[(DnType, &str)]) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    for (kind, value) in parts {
        name.push(kind.clone(), *value);
    }
    name
}

/// Shakes hands, carries one byte each way, and returns what the server knows then.
async fn handshake(acceptor: Acceptor, connector: TlsConnector) -> std::io::Result<TlsFacts> {
    let (near, far) = duplex(16 * 1024);
    let server = async {
        let mut stream = acceptor.rustls.accept(far).await?;
        let byte = stream.read_u8().await?;
        stream.write_u8(byte + 1).await?;
        stream.flush().await?;
        Ok::<_, std::io::Error>(facts(stream.get_ref().1, acceptor.login_from))
    };
    let client = async {
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = connector.connect(name, near).await?;
        stream.write_u8(41).await?;
        stream.flush().await?;
        stream.read_u8().await
    };
    let (server, client) = tokio::join!(server, client);
    let facts = server?;
    assert_eq!(client?, 42);
    Ok(facts)
}

#[tokio::test]
async fn a_client_without_certificate_is_served_and_has_no_name() {
    let files = Files::new("server");
    let facts = handshake(acceptor(&files.tls()).unwrap(), files.client(false)).await.unwrap();
    assert_eq!(facts.protocol, Some("tlsv1.3"));
    assert!(facts.cipher.unwrap().starts_with("TLS13_"));
    assert_eq!(facts.certificate, None);
}

#[tokio::test]
async fn a_verified_client_is_known_by_its_subject() {
    let files = Files::new("mutual");
    let mut tls = files.mutual(true);
    tls.cert_login_from = CertLoginFrom::CommonName;
    let acceptor = acceptor(&tls).unwrap();
    let facts = handshake(acceptor, files.client(true)).await.unwrap();
    assert_eq!(facts.login.as_deref(), Some("reader"));
    let certificate = facts.certificate.unwrap();
    assert_eq!(certificate.subject, r"CN=reader,O=Hare\, Inc,C=DE");
    assert_eq!(certificate.issuer, "CN=Test authority");
    assert_eq!(
        certificate.login(CertLoginFrom::DistinguishedName),
        Some(r"CN=reader,O=Hare\, Inc,C=DE")
    );
    assert_eq!(certificate.login(CertLoginFrom::CommonName), Some("reader"));
    assert!(certificate.validity.contains("Z - "), "{}", certificate.validity);
}

#[tokio::test]
async fn a_certificate_can_be_demanded_or_left_to_the_client() {
    let files = Files::new("demand");
    let refused = handshake(acceptor(&files.mutual(true)).unwrap(), files.client(false)).await;
    assert!(refused.is_err());
    let served = handshake(acceptor(&files.mutual(false)).unwrap(), files.client(false)).await;
    assert_eq!(served.unwrap().certificate, None);
}

#[tokio::test]
async fn a_certificate_of_strangers_is_refused() {
    let (files, strangers) = (Files::new("ours"), Files::new("theirs"));
    for name in ["client.pem", "client.key"] {
        std::fs::copy(strangers.dir.join(name), files.dir.join(name)).unwrap();
    }
    let refused = handshake(acceptor(&files.mutual(false)).unwrap(), files.client(true)).await;
    assert!(refused.is_err());
}

#[test]
fn files_that_are_not_what_they_should_be_are_named() {
    let files = Files::new("wrong");
    let message = |tls: &Tls| acceptor(tls).map(|_| ()).unwrap_err().to_string();
    let mut tls = files.tls();
    tls.certfile = Some(files.dir.join("absent.pem"));
    assert!(message(&tls).contains("tls.certfile") && message(&tls).contains("absent.pem"));
    tls.certfile = Some(files.dir.join("server.key"));
    assert!(message(&tls).contains("there is none in it"), "{}", message(&tls));
    let mut tls = files.tls();
    tls.keyfile = Some(files.dir.join("client.key"));
    assert!(message(&tls).contains("cannot be used"), "{}", message(&tls));
}
