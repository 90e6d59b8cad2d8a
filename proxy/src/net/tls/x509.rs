//! The fields of a certificate that the proxy reads itself (RFC 5280, section 4.1).
//!
//! webpki verifies certificates, and reads only those of version 3. What it does not tell is read here: how long a certificate is
//! valid, what it lacks, and what one of version 1 or 2 holds. A malformed certificate has no fields; nothing here can panic or
//! recurse.

/// The tags of the values that are read (X.690, section 8).
mod tag {
    pub(super) const BIT_STRING: u8 = 0x03;
    pub(super) const UTC_TIME: u8 = 0x17;
    pub(super) const GENERALIZED_TIME: u8 = 0x18;
    pub(super) const SEQUENCE: u8 = 0x30;
    /// `version`
    pub(super) const CONTEXT_0: u8 = 0xa0;
    /// `extensions`
    pub(super) const CONTEXT_3: u8 = 0xa3;
}

/// The object identifier 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// The object identifier 2.5.29.17.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

/// A certificate that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Certificate<'a> {
    /// The part that is signed, with its header.
    pub(super) signed: &'a [u8],
    /// The version: 1, 2 or 3.
    pub(super) version: u8,
    /// The algorithm that it is signed with: the body of an `AlgorithmIdentifier`.
    pub(super) signature_algorithm: &'a [u8],
    /// The signature.
    pub(super) signature: &'a [u8],
    /// The body of the issuer's name.
    pub(super) issuer: &'a [u8],
    /// The body of the subject's name.
    pub(super) subject: &'a [u8],
    /// The first second of its validity, since 1970.
    pub(super) not_before: u64,
    /// The last second of its validity, since 1970.
    pub(super) not_after: u64,
    /// The `SubjectPublicKeyInfo`, with its header.
    pub(super) key_info: &'a [u8],
    /// The body of its extensions; empty if it has none.
    extensions: &'a [u8],
}

/// The public key of a certificate (RFC 5280, `SubjectPublicKeyInfo`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PublicKey<'a> {
    /// The body of the key's `AlgorithmIdentifier`.
    pub(super) algorithm: &'a [u8],
    /// The key itself.
    pub(super) bits: &'a [u8],
}

impl<'a> Certificate<'a> {
    /// Reads a certificate in DER form; `None` if it is malformed.
    pub(super) fn read(der: &'a [u8]) -> Option<Self> {
        let mut outer = Reader(Reader(der).expect(tag::SEQUENCE)?.body);
        let signed = outer.expect(tag::SEQUENCE)?;
        let signature_algorithm = outer.expect(tag::SEQUENCE)?.body;
        let signature = bits(outer.expect(tag::BIT_STRING)?.body)?;
        let mut fields = Reader(signed.body);
        let mut next = fields.next()?;
        let mut version = 1;
        if next.tag == tag::CONTEXT_0 {
            version = Reader(next.body).next()?.body.first()?.checked_add(1)?;
            next = fields.next()?;
        }
        // That was the serial number.
        let _ = next;
        fields.expect(tag::SEQUENCE)?;
        let issuer = fields.expect(tag::SEQUENCE)?.body;
        let mut validity = Reader(fields.expect(tag::SEQUENCE)?.body);
        let (not_before, not_after) = (time(validity.next()?)?, time(validity.next()?)?);
        let subject = fields.expect(tag::SEQUENCE)?.body;
        let key_info = fields.expect(tag::SEQUENCE)?.whole;
        let mut extensions: &[u8] = &[];
        for field in fields {
            if field.tag == tag::CONTEXT_3 {
                extensions = Reader(field.body).expect(tag::SEQUENCE)?.body;
            }
        }
        Some(Self {
            signed: signed.whole,
            version,
            signature_algorithm,
            signature,
            issuer,
            subject,
            not_before,
            not_after,
            key_info,
            extensions,
        })
    }

    /// The subject's common name, if it has one.
    pub(super) fn common_name(&self) -> Option<String> {
        // A set of attributes for each part of the name, nearly always of one attribute.
        let attributes = Reader(self.subject).flat_map(|set| Reader(set.body));
        let names = attributes.filter_map(|attribute| {
            let mut attribute = Reader(attribute.body);
            (attribute.next()?.body == COMMON_NAME).then(|| attribute.next())?
        });
        names.last().map(|name| String::from_utf8_lossy(name.body).into_owned())
    }

    /// Whether it says for which names it is valid in the way that clients look for (RFC 9525, section 6).
    pub(super) fn has_alternative_names(&self) -> bool {
        Reader(self.extensions).any(|extension| {
            Reader(extension.body).next().is_some_and(|identifier| identifier.body == SUBJECT_ALT_NAME)
        })
    }

    /// Reads the public key of the certificate; `None` if it is malformed.
    pub(super) fn key(&self) -> Option<PublicKey<'a>> {
        PublicKey::read(Reader(self.key_info).expect(tag::SEQUENCE)?.body)
    }
}

impl<'a> PublicKey<'a> {
    /// Reads the body of a `SubjectPublicKeyInfo`.
    pub(super) fn read(body: &'a [u8]) -> Option<Self> {
        let mut info = Reader(body);
        let algorithm = info.expect(tag::SEQUENCE)?.body;
        Some(Self { algorithm, bits: bits(info.expect(tag::BIT_STRING)?.body)? })
    }
}

/// The values in a piece of DER, one after the other. It ends at the first that is malformed.
struct Reader<'a>(&'a [u8]);

/// One value in DER, which is a tag, a length and a body.
#[derive(Clone, Copy)]
struct Value<'a> {
    tag: u8,
    body: &'a [u8],
    /// The body together with the tag and the length before it.
    whole: &'a [u8],
}

impl<'a> Reader<'a> {
    /// The next value, which must have this tag.
    fn expect(&mut self, tag: u8) -> Option<Value<'a>> {
        self.next().filter(|value| value.tag == tag)
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        let (&[tag, first], rest) = self.0.split_first_chunk()?;
        // No certificate has 16 MiB.
        let (len_len, len) = match first {
            0..=0x7f => (0, usize::from(first)),
            0x81..=0x83 => {
                let len_len = usize::from(first & 0x7f);
                (len_len, rest.get(..len_len)?.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)))
            }
            _ => return None,
        };
        let end = 2 + len_len + len;
        let (whole, after) = self.0.split_at_checked(end)?;
        self.0 = after;
        Some(Value { tag, body: whole.get(2 + len_len..)?, whole })
    }
}

/// The bytes of a bit string, whose number of bits must be a multiple of eight.
fn bits(body: &[u8]) -> Option<&[u8]> {
    body.split_first().and_then(|(unused, bits)| (*unused == 0).then_some(bits))
}

/// The time in seconds since 1970. Times before that are 0.
fn time(value: Value<'_>) -> Option<u64> {
    let digits = value.body.strip_suffix(b"Z")?;
    let (year_len, len) = match value.tag {
        tag::UTC_TIME => (2, 12),
        tag::GENERALIZED_TIME => (4, 14),
        _ => return None,
    };
    if digits.len() != len || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let (year, rest) = digits.split_at_checked(year_len)?;
    let number = |digits: &[u8]| digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0'));
    let year = match number(year) {
        year @ 0..50 if year_len == 2 => 2000 + year,
        year if year_len == 2 => 1900 + year,
        year => year,
    };
    let mut pairs = rest.chunks(2).map(number);
    let mut next = || pairs.next();
    let (month, day, hour, minute, second) = (next()?, next()?, next()?, next()?, next()?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    Some(u64::try_from(seconds).unwrap_or_default())
}

/// The days from 1970-01-01 to a date of the Gregorian calendar. Years are counted from March, so that a leap day is the last day
/// of one.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};

    use super::*;

    fn issued(names: &[&str], common_name: Option<&str>) -> Vec<u8> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = Default::default();
        if let Some(name) = common_name {
            params.distinguished_name.push(DnType::OrganizationName, "an organization");
            params.distinguished_name.push(DnType::CommonName, name);
        }
        (params.not_before, params.not_after) = (date_time_ymd(2024, 2, 29), date_time_ymd(2051, 12, 31));
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn the_fields_of_a_certificate_are_read() {
        let der = issued(&["redis.example"], Some("caf\u{e9}"));
        let certificate = Certificate::read(&der).unwrap();
        assert_eq!(
            (certificate.version, certificate.not_before, certificate.not_after),
            (3, 1_709_164_800, 2_587_593_600)
        );
        assert_eq!(certificate.common_name().as_deref(), Some("caf\u{e9}"));
        assert!(certificate.has_alternative_names() && certificate.key().is_some());
        let der = issued(&[], None);
        let certificate = Certificate::read(&der).unwrap();
        assert_eq!((certificate.common_name(), certificate.has_alternative_names()), (None, false));
    }

    #[test]
    fn times_are_read_in_both_notations() {
        let read = |tag, body: &str| time(Value { tag, body: body.as_bytes(), whole: &[] });
        for (tag, body, seconds) in [
            (tag::UTC_TIME, "700101000000Z", Some(0)),
            (tag::UTC_TIME, "491231235959Z", Some(2_524_607_999)),
            (tag::UTC_TIME, "500101000000Z", Some(0)),
            (tag::GENERALIZED_TIME, "20000229120000Z", Some(951_825_600)),
            (tag::GENERALIZED_TIME, "99991231235959Z", Some(253_402_300_799)),
            (tag::UTC_TIME, "7001010000Z", None),
            (tag::UTC_TIME, "701301000000Z", None),
            (tag::UTC_TIME, "700101000000+0100", None),
            (tag::GENERALIZED_TIME, "700101000000Z", None),
        ] {
            assert_eq!(read(tag, body), seconds, "{body}");
        }
    }

    #[test]
    fn what_is_cut_off_or_changed_is_malformed_or_read_and_never_a_panic() {
        let der = issued(&["redis.example"], Some("redis"));
        for len in 0..der.len() {
            assert_eq!(Certificate::read(&der[..len]), None, "{len}");
        }
        for at in 0..der.len() {
            for byte in [0, 0x30, 0x7f, 0x80, 0x81, 0x83, 0x84, 0xff] {
                let mut changed = der.clone();
                changed[at] = byte;
                if let Some(certificate) = Certificate::read(&changed) {
                    let _ = (certificate.common_name(), certificate.has_alternative_names(), certificate.key());
                }
            }
        }
    }
}
