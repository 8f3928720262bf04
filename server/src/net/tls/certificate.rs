//! The names in a certificate (RFC 5280 section 4.1), for logs. rustls decides which certificates are
//! trusted. This parser only reads names, and returns none for bytes that are not a certificate.

use std::fmt::{self, Display};

use crate::text::escape;

/// The ASN.1 tag of the optional version of a certificate.
const VERSION: u8 = 0xa0;

/// The short names of attributes of a distinguished name (RFC 4514 section 3), by the last number of
/// their object identifiers 2.5.4.x.
const ATTRIBUTES: [(u8, &str); 6] =
    [(3, "CN"), (6, "C"), (7, "L"), (8, "ST"), (10, "O"), (11, "OU")];

/// The subject and the issuer of a certificate, and the end of its validity.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CertificateNames {
    subject: String,
    issuer: String,
    /// The date of the last day, as 2030-12-31.
    until: String,
}

impl CertificateNames {
    /// Reads a certificate in DER.
    pub(super) fn of(der: &[u8]) -> Option<CertificateNames> {
        let (_, certificate, _) = element(der)?;
        let (_, to_be_signed, _) = element(certificate)?;
        let mut fields = elements(to_be_signed).skip_while(|(tag, _)| *tag == VERSION);
        // The serial number and the algorithm of the signature come first.
        let (_, issuer) = fields.nth(2)?;
        let (_, validity) = fields.next()?;
        let (_, subject) = fields.next()?;
        let (tag, until) = elements(validity).nth(1)?;
        Some(CertificateNames {
            subject: name(subject),
            issuer: name(issuer),
            until: date(tag, until)?,
        })
    }
}

impl Display for CertificateNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CertificateNames { subject, issuer, until } = self;
        write!(f, "subject {subject}; issuer {issuer}; valid until {until}")
    }
}

/// The first element of `bytes`: its tag, its content, and the bytes after it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let [tag, length, rest @ ..] = bytes else { return None };
    let (length, rest) = match length {
        0..=0x7f => (usize::from(*length), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(length - 0x80))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

/// The elements of a sequence or a set, up to the first invalid one.
fn elements(mut content: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (tag, inner, rest) = element(content)?;
        content = rest;
        Some((tag, inner))
    })
}

/// A distinguished name, as `CN=example.net, O=Example`.
fn name(content: &[u8]) -> String {
    let attributes = elements(content).flat_map(|(_, set)| elements(set));
    let texts = attributes.filter_map(|(_, attribute)| {
        let mut parts = elements(attribute);
        let ((_, kind), (_, value)) = (parts.next()?, parts.next()?);
        let known = ATTRIBUTES.iter().find(|(last, _)| kind == [0x55, 4, *last]);
        Some(format!("{}={}", known.map_or("other", |(_, name)| name), escape::bytes(value)))
    });
    let texts: Vec<String> = texts.collect();
    if texts.is_empty() { "(empty)".to_owned() } else { texts.join(", ") }
}

/// The date of a UTCTime (tag 23, years of two digits) or a GeneralizedTime.
fn date(tag: u8, time: &[u8]) -> Option<String> {
    let text = str::from_utf8(time).ok().filter(|text| text.is_ascii())?;
    let text = match (tag, time.first()?) {
        (23, b'0'..=b'4') => format!("20{text}"),
        (23, _) => format!("19{text}"),
        _ => text.to_owned(),
    };
    Some(format!("{}-{}-{}", text.get(..4)?, text.get(4..6)?, text.get(6..8)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An element with a short or a long length.
    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = content.len() as u8;
        let head = if length < 0x80 { vec![tag, length] } else { vec![tag, 0x81, length] };
        [&head, content].concat()
    }

    fn attribute(last: u8, value: &str) -> Vec<u8> {
        let parts = [der(6, &[0x55, 4, last]), der(12, value.as_bytes())].concat();
        der(0x31, &der(0x30, &parts))
    }

    fn certificate(version: &[u8]) -> Vec<u8> {
        let validity = [der(23, b"250101000000Z"), der(24, b"20991231235959Z")].concat();
        let issuer = [attribute(10, "Ex\x1bample"), attribute(3, "CA")].concat();
        let fields = [
            version.to_vec(),
            der(2, &[1]),
            der(0x30, &[]),
            der(0x30, &issuer),
            der(0x30, &validity),
            der(0x30, &attribute(3, "example.net")),
        ];
        der(0x30, &der(0x30, &fields.concat()))
    }

    #[test]
    fn the_names_and_the_end_of_a_certificate_are_read() {
        for version in [&[][..], &der(VERSION, &der(2, &[2]))] {
            let names = CertificateNames::of(&certificate(version)).unwrap().to_string();
            assert_eq!(
                names,
                "subject CN=example.net; issuer O=Ex\\x1bample, CN=CA; valid until 2099-12-31"
            );
        }
        assert_eq!(name(&[]), "(empty)");
        assert_eq!(date(23, b"491231235959Z").unwrap(), "2049-12-31");
        assert_eq!(date(23, b"501231235959Z").unwrap(), "1950-12-31");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, at: prop::sample::Index, byte: u8) {
            CertificateNames::of(&bytes);
            let mut certificate = certificate(&[]);
            let at = at.index(certificate.len());
            certificate[at] = byte;
            CertificateNames::of(&certificate);
            CertificateNames::of(&certificate[..at]);
        }
    }
}
