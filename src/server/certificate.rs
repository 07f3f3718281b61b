//! The user that a client's certificate names (RFC 5280 section 4.1, in DER: X.690).
//!
//! Only for certificates that were verified; nothing here verifies. What cannot be read has no name.
//!
//! ```text
//! element      tag(1) length(1, or 1 + up to 4) content
//! certificate  30 { 30 tbs { [A0 version] 02 serial, 30 algorithm, 30 issuer, 30 validity, 30 subject, 30 key ..
//!                            [A3 { 30 { 30 extension { 06 id, [01 critical], 04 value } .. } }] } .. }
//! name         30 { 31 { 30 { 06 type, string } .. } .. }
//! alternatives 30 { 81 mail, 82 host, 86 URI .. }
//! ```

use crate::config::tls::LoginFrom;
use std::fmt::Write;

/// A user's name goes into a short string (AMQP 0-9-1 section 4.2.5.3).
const NAME_BYTES_MAX: usize = 255;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_ID: u8 = 0x06;
const OCTETS: u8 = 0x04;
/// The version of a certificate, the first thing in it unless it is the first version.
const VERSION: u8 = 0xA0;
const EXTENSIONS: u8 = 0xA3;

/// 2.5.29.17
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1D, 0x11];
/// 2.5.4.3
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// The parts of names that have a word, as RabbitMQ writes them (`rabbit_cert_info`); others are written as numbers.
const WORDS: &[(&[u8], &str)] = &[
    (COMMON_NAME, "CN"),
    (&[0x55, 0x04, 0x04], "SN"),
    (&[0x55, 0x04, 0x05], "SERIALNUMBER"),
    (&[0x55, 0x04, 0x06], "C"),
    (&[0x55, 0x04, 0x07], "L"),
    (&[0x55, 0x04, 0x08], "ST"),
    (&[0x55, 0x04, 0x0A], "O"),
    (&[0x55, 0x04, 0x0B], "OU"),
    (&[0x55, 0x04, 0x0C], "TITLE"),
    (&[0x55, 0x04, 0x2A], "GIVENNAME"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xF2, 0x2C, 0x64, 0x01, 0x19], "DC"),
    (&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x09, 0x01], "EMAILADDRESS"),
];

/// The name in that part of `certificate`, if there is one that a user could have.
pub(super) fn name(certificate: &[u8], part: LoginFrom) -> Option<String> {
    let name = match part {
        LoginFrom::DistinguishedName => distinguished_name(subject(certificate)?)?,
        LoginFrom::CommonName => common_name(subject(certificate)?)?,
        LoginFrom::SubjectAlternativeName => alternative_name(certificate)?,
    };
    let fits = (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.contains(char::is_control);
    fits.then_some(name)
}

/// The elements that lie side by side in some bytes; they end where something cannot be read.
struct Elements<'a>(&'a [u8]);

impl<'a> Iterator for Elements<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let mut len = usize::from(first);
        if first >= 0x80 {
            let (digits, behind) = rest.split_at_checked(usize::from(first & 0x7F))?;
            if digits.is_empty() || digits.len() > 4 {
                return None;
            }
            len = digits.iter().fold(0, |len, &digit| len << 8 | usize::from(digit));
            rest = behind;
        }
        let (content, behind) = rest.split_at_checked(len)?;
        self.0 = behind;
        Some((tag, content))
    }
}

/// The content of the first element, which has to be of that kind.
fn open(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    Elements(bytes).next().filter(|&(found, _)| found == tag).map(|(_, content)| content)
}

/// What is in the certificate from its serial number on.
fn body(certificate: &[u8]) -> Option<Elements<'_>> {
    let tbs = open(open(certificate, SEQUENCE)?, SEQUENCE)?;
    let mut elements = Elements(tbs);
    if open(tbs, VERSION).is_some() {
        elements.next();
    }
    Some(elements)
}

fn subject(certificate: &[u8]) -> Option<&[u8]> {
    body(certificate)?.nth(4).filter(|&(tag, _)| tag == SEQUENCE).map(|(_, content)| content)
}

/// RFC 4514: the last part first.
fn distinguished_name(subject: &[u8]) -> Option<String> {
    let mut parts = Vec::new();
    for (tag, set) in Elements(subject) {
        let mut values = Vec::new();
        for (_, attribute) in Elements(set).filter(|_| tag == SET) {
            let (id, value) = attribute_of(attribute)?;
            let word = WORDS.iter().find(|(of, _)| *of == id);
            let word = word.map_or_else(|| dotted(id), |(_, word)| (*word).to_owned());
            values.push(format!("{word}={}", escaped(&value)));
        }
        parts.push(values.join("+"));
    }
    parts.reverse();
    Some(parts.join(","))
}

/// None of several is as good as another, so then there is none.
fn common_name(subject: &[u8]) -> Option<String> {
    let attributes = Elements(subject).flat_map(|(_, set)| Elements(set));
    let mut names = attributes.filter_map(|(_, attribute)| attribute_of(attribute));
    let mut names = names.by_ref().filter(|(id, _)| *id == COMMON_NAME).map(|(_, name)| name);
    names.next().filter(|_| names.next().is_none())
}

fn alternative_name(certificate: &[u8]) -> Option<String> {
    let (_, extensions) = body(certificate)?.find(|&(tag, _)| tag == EXTENSIONS)?;
    let names = Elements(open(extensions, SEQUENCE)?).find_map(|(_, extension)| {
        let mut elements = Elements(extension);
        let (_, id) = elements.next()?;
        let (_, value) = elements.find(|&(tag, _)| tag == OCTETS)?;
        (id == ALTERNATIVE_NAMES).then_some(value)
    })?;
    let mut names = Elements(open(names, SEQUENCE)?);
    let (_, name) = names.find(|(tag, _)| matches!(tag, 0x81 | 0x82 | 0x86))?;
    String::from_utf8(name.to_vec()).ok()
}

fn attribute_of(attribute: &[u8]) -> Option<(&[u8], String)> {
    let mut elements = Elements(attribute);
    let (_, id) = elements.next().filter(|&(tag, _)| tag == OBJECT_ID)?;
    let (tag, value) = elements.next()?;
    let value = match tag {
        // UTF8String, NumericString, PrintableString, T61String and IA5String: ASCII or UTF-8.
        0x0C | 0x12 | 0x13 | 0x14 | 0x16 => String::from_utf8(value.to_vec()).ok()?,
        // BMPString.
        0x1E => {
            let units: Vec<u16> =
                value.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
            String::from_utf16(&units).ok()?
        }
        _ => return None,
    };
    Some((id, value))
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

/// An object identifier as numbers (X.690 section 8.19); of numbers too large for a machine word the lower bits.
fn dotted(id: &[u8]) -> String {
    let mut text = String::new();
    let mut number: u64 = 0;
    for byte in id {
        number = number << 7 | u64::from(byte & 0x7F);
        if byte & 0x80 == 0 {
            let written = if text.is_empty() {
                let first = (number / 40).min(2);
                write!(text, "{first}.{}", number - first * 40)
            } else {
                write!(text, ".{number}")
            };
            debug_assert!(written.is_ok(), "a String takes everything");
            number = 0;
        }
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
