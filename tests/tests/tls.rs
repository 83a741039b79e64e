//! TLS: the handshake, mutual TLS, and logging in with a certificate (EXTERNAL). Every certificate is made
//! by the test.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use leveret_tests::codec::REFUSAL;
use leveret_tests::{Broker, Client, Closed, Login, Management, Options, Outgoing, PATIENCE};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

/// An authority, a server certificate for localhost, and client certificates, in a folder of its own.
struct Certificates {
    dir: PathBuf,
    authority: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Certificates {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("leveret-tls-{}-{name}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "Test authority");
        let certificate = params.self_signed(&key).unwrap();
        fs::write(dir.join("ca.pem"), certificate.pem()).unwrap();
        let authority = certificate.der().clone();
        let this = Self { dir, authority, issuer: Issuer::new(params, key) };
        let (certificate, key) = this.issue("localhost", &["localhost".to_owned()]);
        fs::write(this.dir.join("server.pem"), certificate.pem()).unwrap();
        fs::write(this.dir.join("server.key"), key.serialize_pem()).unwrap();
        this
    }

    fn issue(&self, common_name: &str, names: &[String]) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate, key)
    }

    fn options(&self) -> Options {
        let options = Options { tls: true, ..Options::default() };
        options
            .set("LEVERET_TLS_CERTFILE", self.dir.join("server.pem"))
            .set("LEVERET_TLS_KEYFILE", self.dir.join("server.key"))
    }

    fn mutual(&self) -> Options {
        self.options()
            .set("LEVERET_TLS_CACERTFILE", self.dir.join("ca.pem"))
            .set("LEVERET_TLS_VERIFY", "verify_peer")
            .set("LEVERET_TLS_FAIL_IF_NO_PEER_CERT", "true")
            .set("LEVERET_TLS_CERT_LOGIN_FROM", "common_name")
    }

    /// A client's configuration, with a certificate for `common_name` where there is one.
    fn client(&self, common_name: Option<&str>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.clone()).unwrap();
        let provider = Arc::new(crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match common_name {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let (certificate, key) = self.issue(name, &[]);
                let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
                builder.with_client_auth_cert(vec![certificate.der().clone()], key).unwrap()
            }
        };
        Arc::new(config)
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A client that is let in.
fn log_in(broker: &Broker, config: Arc<ClientConfig>, login: &Login) -> Client {
    let mut client = Client::mute_tls(broker.amqp_tls(), config).unwrap();
    client.try_log_in(login).unwrap();
    client
}

/// A client that is turned away before a word of AMQP.
fn expect_refusal(broker: &Broker, config: Arc<ClientConfig>) {
    // In TLS 1.3 the client's handshake may be over before the broker has seen its certificate.
    if let Ok(mut client) = Client::mute_tls(broker.amqp_tls(), config) {
        // The socket may be closed already.
        let _ = client.try_send_bytes(&REFUSAL);
        client.expect_silent_end(PATIENCE);
    }
}

/// Publishes and consumes bodies of many sizes.
fn exchange(mut client: Client) {
    client.open(1);
    client.confirms(1);
    let queue = client.declare_own(1);
    client.consume(1, &queue, "", true);
    for size in [0, 1, 16_384, 16_385, 1_000_000] {
        let body: Vec<u8> = (0..size).map(|i: u32| (i % 251) as u8).collect();
        client.publish(1, &Outgoing::new("", &queue, body.clone()));
        assert!(client.next_message(1).body == body, "{size} bytes");
        assert!(client.next_confirm(1).2);
    }
    client.close();
}

#[test]
fn messages_pass_over_tls() {
    let certificates = Certificates::new("plain");
    let Some(broker) = Broker::own(&certificates.options()) else { return };
    let config = certificates.client(None);
    exchange(log_in(&broker, config, &Login::default()));
    // The plain listener is there as well.
    let _ = Client::connect(&broker);
}

#[test]
fn client_that_speaks_plain_to_the_tls_port_disturbs_nobody() {
    let certificates = Certificates::new("confused");
    let Some(broker) = Broker::own(&certificates.options()) else { return };
    let mut confused = Client::mute(broker.amqp_tls());
    confused.send_bytes(&REFUSAL);
    let mut unfinished = Client::mute(broker.amqp_tls());
    unfinished.send_bytes(&[0x16, 3, 1, 0, 200, 1]);
    exchange(log_in(&broker, certificates.client(None), &Login::default()));
}

#[test]
fn client_without_certificate_is_refused_where_one_is_demanded() {
    let certificates = Certificates::new("demanded");
    let Some(broker) = Broker::own(&certificates.mutual()) else { return };
    let config = certificates.client(None);
    expect_refusal(&broker, config);
    let config = certificates.client(Some("guest"));
    exchange(log_in(&broker, config, &Login::default()));
}

#[test]
fn certificate_of_another_authority_is_refused() {
    let certificates = Certificates::new("ours");
    let others = Certificates::new("theirs");
    let Some(broker) = Broker::own(&certificates.mutual()) else { return };
    let (stranger, key) = others.issue("guest", &[]);
    let mut roots = RootCertStore::empty();
    roots.add(certificates.authority.clone()).unwrap();
    let provider = Arc::new(crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(
            vec![stranger.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    expect_refusal(&broker, Arc::new(config));
}

#[test]
fn certificate_is_the_login_with_external() {
    let certificates = Certificates::new("external");
    let Some(broker) = Broker::own(&certificates.mutual()) else { return };
    let management = Management(broker.management());
    let external = Login { mechanism: "EXTERNAL", response: Vec::new(), ..Login::default() };
    let user = r#"{"password_hash":"","tags":""}"#;
    assert!(management.request("PUT", "/api/users/robot", user).0 < 300);
    let permission = r#"{"configure":".*","write":".*","read":".*"}"#;
    assert!(management.request("PUT", "/api/permissions/%2f/robot", permission).0 < 300);
    let config = certificates.client(Some("robot"));
    exchange(log_in(&broker, config, &external));

    // A certificate in order, but nobody of that name.
    let config = certificates.client(Some("nobody"));
    let mut client = Client::mute_tls(broker.amqp_tls(), config).unwrap();
    let refused = client.try_log_in(&external).unwrap_err();
    let text = "ACCESS_REFUSED - Login was refused using authentication mechanism EXTERNAL. For \
                details see the broker logfile.";
    assert_eq!(refused, Closed { channel: 0, code: 403, text: text.to_owned() });
}

#[test]
fn external_is_not_offered_without_tls() {
    let certificates = Certificates::new("offer");
    let Some(broker) = Broker::own(&certificates.mutual()) else { return };
    let start = Client::mute(broker.amqp()).greet();
    let mechanisms = start.mechanisms.to_string();
    let offered: Vec<_> = mechanisms.split(' ').collect();
    assert!(offered.contains(&"PLAIN") && !offered.contains(&"EXTERNAL"), "{offered:?}");
}
