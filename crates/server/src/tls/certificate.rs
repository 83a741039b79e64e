//! The names in a client's certificate, written as RabbitMQ writes them: the subject is the user
//! name of SASL EXTERNAL, so one letter of difference locks people out.

use crate::config::CertLoginFrom;
use x509_parser::prelude::{FromDer as _, X509Certificate, X509Name};

/// What is read of a client's certificate after it was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The subject as in RFC 4514, most specific part first: `CN=client,O=Example`.
    pub subject: String,
    /// The issuer in the same form.
    pub issuer: String,
    /// The validity, as `2025-01-01T00:00:00Z - 2026-01-01T00:00:00Z`.
    pub validity: String,
    /// The common name of the subject, if it has one.
    pub common_name: Option<String>,
}

impl PeerCertificate {
    /// Reads a certificate in DER. `None` when it cannot be read, which a verified one always can.
    #[must_use]
    pub fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let common_name = certificate
            .subject()
            .iter_common_name()
            .next()
            .and_then(|name| name.as_str().ok())
            .map(str::to_owned);
        let validity = certificate.validity();
        Some(Self {
            subject: rfc4514(certificate.subject()),
            issuer: rfc4514(certificate.issuer()),
            validity: format!("{} - {}", moment(&validity.not_before), moment(&validity.not_after)),
            common_name,
        })
    }

    /// The user name of EXTERNAL.
    #[must_use]
    pub fn login(&self, from: CertLoginFrom) -> Option<&str> {
        match from {
            CertLoginFrom::DistinguishedName => Some(&self.subject),
            CertLoginFrom::CommonName => self.common_name.as_deref(),
        }
    }
}

fn moment(time: &x509_parser::time::ASN1Time) -> String {
    let time = time.to_datetime();
    let date = time.date();
    let (hour, minute, second) = time.time().as_hms();
    format!(
        "{:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z",
        date.year(),
        u8::from(date.month()),
        date.day()
    )
}

// rabbitmq: ssl_cert_login_from = distinguished_name
fn rfc4514(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = Vec::new();
    for relative in name.iter_rdn() {
        let values: Vec<String> = relative
            .iter()
            .map(|attribute| {
                let kind = attribute.attr_type().to_id_string();
                let value = attribute.as_str().map_or_else(|_| String::from("?"), escape);
                format!("{}={value}", short_name(&kind))
            })
            .collect();
        parts.push(values.join("+"));
    }
    parts.reverse();
    parts.join(",")
}

/// The names that RabbitMQ prints; anything else keeps its number.
fn short_name(oid: &str) -> &str {
    match oid {
        "2.5.4.3" => "CN",
        "2.5.4.4" => "SN",
        "2.5.4.5" => "serialNumber",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "2.5.4.12" => "title",
        "2.5.4.42" => "givenName",
        "2.5.4.43" => "initials",
        "2.5.4.44" => "generationQualifier",
        "2.5.4.46" => "dnQualifier",
        "2.5.4.65" => "pseudonym",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        "1.2.840.113549.1.9.1" => "emailAddress",
        other => other,
    }
}

fn escape(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    let mut out = String::with_capacity(value.len());
    for (i, c) in value.chars().enumerate() {
        let special = matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';')
            || (c == '#' && i == 0)
            || (c == ' ' && (i == 0 || i == last));
        if special {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
