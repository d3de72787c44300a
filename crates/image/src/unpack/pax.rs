//! Extended headers of PAX archives, and of star's and GNU tar's kinds of them.

use super::acl;
use super::entry::{Time, Xattr};
use super::failure::Failure;

/// What extended headers say about a member.
#[derive(Clone, Debug, Default)]
pub(super) struct Extended {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<Time>,
    pub(super) xattrs: Vec<Xattr>,
    pub(super) sparse: SparseRecords,
}

/// What a sparse member's records say, in the three forms that GNU tar has written.
#[derive(Clone, Debug, Default)]
pub(super) struct SparseRecords {
    pub(super) major: Option<u64>,
    pub(super) minor: Option<u64>,
    pub(super) name: Option<Vec<u8>>,
    pub(super) real_size: Option<u64>,
    /// Offsets and lengths, alternating.
    pub(super) map: Vec<u64>,
}

impl Extended {
    /// Takes over the records of one extended header.
    pub(super) fn apply(&mut self, part: &str, data: &[u8]) -> Result<(), Failure> {
        let mut rest = data;
        // Some writers fill the block with zeros.
        while !rest.is_empty() && rest[0] != 0 {
            let (key, value, after) = record(rest).ok_or_else(|| Failure::damaged(part, "an extended header is malformed"))?;
            self.set(part, key, value)?;
            rest = after;
        }
        Ok(())
    }

    fn set(&mut self, part: &str, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        let number = || decimal(value).ok_or_else(|| Failure::damaged(part, "an extended header's number is none"));
        match key {
            // An empty value takes a global header's back.
            b"path" => self.path = (!value.is_empty()).then(|| value.to_vec()),
            b"linkpath" => self.link = (!value.is_empty()).then(|| value.to_vec()),
            b"size" => self.size = Some(number()?),
            b"uid" => self.uid = Some(number()?),
            b"gid" => self.gid = Some(number()?),
            b"mtime" => self.mtime = Some(time(value).ok_or_else(|| Failure::damaged(part, "an extended header's time is none"))?),
            b"GNU.sparse.major" => self.sparse.major = Some(number()?),
            b"GNU.sparse.minor" => self.sparse.minor = Some(number()?),
            b"GNU.sparse.name" => self.sparse.name = Some(value.to_vec()),
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => self.sparse.real_size = Some(number()?),
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => self.sparse.map.push(number()?),
            b"GNU.sparse.map" => {
                let numbers = value.split(|&byte| byte == b',').map(decimal).collect::<Option<Vec<u64>>>();
                self.sparse.map = numbers.ok_or_else(|| Failure::damaged(part, "a sparse member's map is malformed"))?;
            }
            b"SCHILY.acl.access" => self.xattrs.push((acl::ACCESS.to_vec(), acl::parse(part, value)?)),
            b"SCHILY.acl.default" => self.xattrs.push((acl::DEFAULT.to_vec(), acl::parse(part, value)?)),
            key => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.".as_slice()) {
                    self.xattrs.push((decoded(name), value.to_vec()));
                }
            }
        }
        Ok(())
    }
}

/// An attribute's name: GNU tar writes the two bytes so that a key cannot hold.
fn decoded(name: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&byte, after)) = rest.split_first() {
        let (byte, after) = match rest {
            [b'%', b'2', b'5', after @ ..] => (b'%', after),
            [b'%', b'3', b'D', after @ ..] => (b'=', after),
            _ => (byte, after),
        };
        plain.push(byte);
        rest = after;
    }
    plain
}

/// Splits off one record, `LENGTH KEY=VALUE\n`. The length rules: values may hold any byte, newlines too.
fn record(data: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = data.iter().take(21).position(|&byte| byte == b' ')?;
    let length = usize::try_from(decimal(&data[..space])?).ok()?;
    let body = data.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|&byte| byte == b'=')?;
    Some((&body[..equals], &body[equals + 1..], &data[length..]))
}

/// Reads a whole number without sign.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    let plain = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| plain)?.parse().ok()
}

/// Reads seconds with an optional fraction and sign.
fn time(text: &[u8]) -> Option<Time> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanoseconds = u32::try_from(decimal(digits.as_bytes())?).ok()?;
    let seconds: i64 = whole.parse().ok()?;
    // Before 1970 the fraction counts downwards, and the kernel wants it upwards.
    if text.starts_with('-') && nanoseconds > 0 {
        return Some(Time { seconds: seconds.checked_sub(1)?, nanoseconds: 1_000_000_000 - nanoseconds });
    }
    Some(Time { seconds, nanoseconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(key: &str, value: &[u8]) -> Vec<u8> {
        let body = key.len() + value.len() + 3;
        let length = (body + 1..).find(|length| length.to_string().len() + body == *length).unwrap();
        [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
    }

    #[test]
    fn values_may_hold_newlines() {
        let data = [line("SCHILY.xattr.security.capability", b"a\nb=\n\n"), line("mtime", b"12.5"), line("uid", b"70000")].concat();
        let mut extended = Extended::default();
        extended.apply("rootfs", &data).unwrap();
        assert_eq!(extended.xattrs, [(b"security.capability".to_vec(), b"a\nb=\n\n".to_vec())]);
        assert_eq!(extended.mtime, Some(Time { seconds: 12, nanoseconds: 500_000_000 }));
        assert_eq!(extended.uid, Some(70000));
    }

    #[test]
    fn malformed_records() {
        for data in ["x", "5 a=b", "99 path=x\n", "6 a=b\n7", "0 a=b\n", "4 ab\n", "12 size=-12\n", "99999999999999999999999 a=b\n"] {
            assert!(Extended::default().apply("rootfs", data.as_bytes()).is_err(), "{data:?}");
        }
    }

    #[test]
    fn times() {
        assert_eq!(time(b"-1.25"), Some(Time { seconds: -2, nanoseconds: 750_000_000 }));
        assert_eq!(time(b"7"), Some(Time { seconds: 7, nanoseconds: 0 }));
        assert_eq!(time(b"7.1234567891"), Some(Time { seconds: 7, nanoseconds: 123_456_789 }));
        assert_eq!(time(b"x"), None);
        assert_eq!(time(b""), None);
    }
}
