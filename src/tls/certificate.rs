//! The user that a client's certificate names (RFC 5280 section 4.1).
//!
//! Only for certificates that were verified; nothing here verifies. What cannot be read has no
//! name.

use crate::config::tls::LoginFrom;
use x509_cert::Certificate;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::der::asn1::{BmpString, ObjectIdentifier};
use x509_cert::der::{Decode, Tag, Tagged};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::Name;

/// A user's name goes into a short string (AMQP 0-9-1 section 4.2.5.3).
const NAME_BYTES_MAX: usize = 255;

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// The parts of names that have a word, as RabbitMQ writes them (`rabbit_cert_info`); others are
/// written as numbers.
const WORDS: &[(ObjectIdentifier, &str)] = &[
    (COMMON_NAME, "CN"),
    (ObjectIdentifier::new_unwrap("2.5.4.4"), "SN"),
    (ObjectIdentifier::new_unwrap("2.5.4.5"), "SERIALNUMBER"),
    (ObjectIdentifier::new_unwrap("2.5.4.6"), "C"),
    (ObjectIdentifier::new_unwrap("2.5.4.7"), "L"),
    (ObjectIdentifier::new_unwrap("2.5.4.8"), "ST"),
    (ObjectIdentifier::new_unwrap("2.5.4.10"), "O"),
    (ObjectIdentifier::new_unwrap("2.5.4.11"), "OU"),
    (ObjectIdentifier::new_unwrap("2.5.4.12"), "TITLE"),
    (ObjectIdentifier::new_unwrap("2.5.4.42"), "GIVENNAME"),
    (ObjectIdentifier::new_unwrap("0.9.2342.19200300.100.1.25"), "DC"),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.1"), "EMAILADDRESS"),
];

/// The name in that part of `certificate`, if there is one that a user could have.
pub(super) fn name(certificate: &[u8], part: LoginFrom) -> Option<String> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let subject = certificate.tbs_certificate().subject();
    let name = match part {
        LoginFrom::DistinguishedName => distinguished_name(subject)?,
        LoginFrom::CommonName => common_name(subject)?,
        LoginFrom::SubjectAlternativeName => alternative_name(&certificate)?,
    };
    let fits = (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.contains(char::is_control);
    fits.then_some(name)
}

/// Whose a certificate is, and until when it is valid, in milliseconds since 1970.
pub(super) fn validity(certificate: &[u8]) -> Option<(String, u64)> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let ends = certificate.tbs_certificate().validity().not_after.to_unix_duration();
    let subject = distinguished_name(certificate.tbs_certificate().subject()).unwrap_or_default();
    Some((subject.escape_debug().to_string(), ends.as_secs().saturating_mul(1000)))
}

/// RFC 4514: the last part first.
fn distinguished_name(subject: &Name) -> Option<String> {
    let mut parts = Vec::new();
    for part in subject.iter_rdn() {
        let mut values = Vec::new();
        for attribute in part.iter() {
            let word = WORDS.iter().find(|(of, _)| *of == attribute.oid);
            let word = word.map_or_else(|| attribute.oid.to_string(), |(_, word)| (*word).to_owned());
            values.push(format!("{word}={}", escaped(&value(attribute)?)));
        }
        parts.push(values.join("+"));
    }
    parts.reverse();
    Some(parts.join(","))
}

/// None of several is as good as another, so then there is none.
fn common_name(subject: &Name) -> Option<String> {
    let mut names = subject.iter().filter(|attribute| attribute.oid == COMMON_NAME);
    let name = names.next().filter(|_| names.next().is_none())?;
    value(name)
}

/// The first mail address, host or URI.
fn alternative_name(certificate: &Certificate) -> Option<String> {
    let (_, SubjectAltName(names)) = certificate.tbs_certificate().get_extension().ok()??;
    names.into_iter().find_map(|name| match name {
        GeneralName::Rfc822Name(name)
        | GeneralName::DnsName(name)
        | GeneralName::UniformResourceIdentifier(name) => Some(name.to_string()),
        _ => None,
    })
}

fn value(attribute: &AttributeTypeAndValue) -> Option<String> {
    let bytes = attribute.value.value();
    match attribute.value.tag() {
        Tag::Utf8String | Tag::NumericString | Tag::PrintableString | Tag::TeletexString | Tag::Ia5String => {
            String::from_utf8(bytes.to_vec()).ok()
        }
        Tag::BmpString => Some(BmpString::from_ucs2(bytes).ok()?.to_string()),
        _ => None,
    }
}

/// RFC 4514 section 2.4.
fn escaped(value: &str) -> String {
    let mut text = String::new();
    let last = value.len().saturating_sub(1);
    for (at, c) in value.char_indices() {
        let at_the_edge = (at == 0 && matches!(c, ' ' | '#')) || (at == last && c == ' ');
        if at_the_edge || matches!(c, '"' | '+' | ',' | ';' | '<' | '>' | '\\') {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    fn certificate(parts: Vec<(DnType, &str)>, alternatives: Vec<SanType>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in parts {
            params.distinguished_name.push(kind, value);
        }
        params.subject_alt_names = alternatives;
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn names_are_written_as_rabbitmq_does() {
        let of_field = vec![
            (DnType::CountryName, "NZ"),
            (DnType::OrganizationName, "Field, Inc"),
            (DnType::CommonName, " hare#1 "),
            (DnType::from_oid(&[1, 3, 6, 1, 4, 1, 300, 7]), "x+y"),
        ];
        let names = vec![
            SanType::IpAddress([10, 0, 0, 1].into()),
            SanType::Rfc822Name("hare@field.example".try_into().unwrap()),
            SanType::DnsName("field.example".try_into().unwrap()),
        ];
        let certificate = certificate(of_field, names);
        let name = |part| name(&certificate, part).unwrap();
        assert_eq!(
            name(LoginFrom::DistinguishedName),
            r"1.3.6.1.4.1.300.7=x\+y,CN=\ hare#1\ ,O=Field\, Inc,C=NZ"
        );
        assert_eq!(name(LoginFrom::CommonName), " hare#1 ");
        assert_eq!(name(LoginFrom::SubjectAlternativeName), "hare@field.example");
    }

    #[test]
    fn what_is_missing_or_no_name_is_none() {
        let nameless = certificate(vec![(DnType::OrganizationName, "Field")], vec![]);
        assert_eq!(name(&nameless, LoginFrom::CommonName), None);
        assert_eq!(name(&nameless, LoginFrom::SubjectAlternativeName), None);
        let strange = certificate(vec![(DnType::CommonName, "a\nb")], vec![]);
        assert_eq!(name(&strange, LoginFrom::CommonName), None);
        assert_eq!(name(&strange, LoginFrom::DistinguishedName), None);
        let long = "x".repeat(256);
        let long = certificate(vec![(DnType::CommonName, &long)], vec![]);
        assert_eq!(name(&long, LoginFrom::CommonName), None);
    }

    #[test]
    fn no_bytes_are_too_broken() {
        let parts = [LoginFrom::DistinguishedName, LoginFrom::CommonName, LoginFrom::SubjectAlternativeName];
        let alternatives = vec![SanType::DnsName("a.example".try_into().unwrap())];
        let whole = certificate(vec![(DnType::CommonName, "hare")], alternatives);
        for part in parts {
            for at in 0..whole.len() {
                name(&whole[..at], part);
                for byte in [0, 0x30, 0x7F, 0x80, 0x84, 0xFF] {
                    let mut broken = whole.clone();
                    broken[at] = byte;
                    name(&broken, part);
                }
            }
        }
    }
}
