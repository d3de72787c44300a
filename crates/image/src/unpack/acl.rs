//! POSIX access control lists: between the text in archives and the form that the kernel takes.

use super::failure::Failure;
use super::pax::decimal;

/// The attribute that holds a file's access list.
pub(crate) const ACCESS: &[u8] = b"system.posix_acl_access";

/// The attribute that holds the list a directory gives to what is made in it.
pub(crate) const DEFAULT: &[u8] = b"system.posix_acl_default";

const VERSION: u32 = 2;
const NO_ID: u32 = u32::MAX;

/// Bytes of an entry in the kernel's form: tag, permissions, id.
const ENTRY: usize = 8;

/// Reads entries such as `user::rwx,user:1000:r--,mask::r--`, as star and GNU tar write them.
///
/// A fourth field is the number that star adds after a name. A name alone is refused unless it is `root`: who it means can
/// only be said inside the instance.
///
/// Source: `struct posix_acl_xattr_entry` in linux/posix_acl_xattr.h.
pub(super) fn parse(part: &str, text: &[u8]) -> Result<Vec<u8>, Failure> {
    // LXD writes the kernel's form under the text's key.
    if text.starts_with(&VERSION.to_le_bytes()) && text.len() % ENTRY == 4 {
        return Ok(text.to_vec());
    }
    let bad = |entry: &[u8]| Failure::damaged(part, format!("the access list entry {:?} is malformed", super::failure::printable(entry)));
    let mut entries = Vec::new();
    for entry in text.split(|byte| matches!(byte, b',' | b'\n')) {
        let entry = entry.split(|&byte| byte == b'#').next().unwrap_or_default().trim_ascii();
        if !entry.is_empty() {
            entries.push(parse_entry(entry).ok_or_else(|| bad(entry))?);
        }
    }
    // The kernel demands this order.
    entries.sort_unstable();
    let mut value = VERSION.to_le_bytes().to_vec();
    for (tag, id, permissions) in entries {
        value.extend_from_slice(&tag.to_le_bytes());
        value.extend_from_slice(&permissions.to_le_bytes());
        value.extend_from_slice(&id.to_le_bytes());
    }
    Ok(value)
}

/// Writes a list in the kernel's form as text; none if it is not in that form.
pub(crate) fn text(value: &[u8]) -> Option<String> {
    let entries = value.strip_prefix(&VERSION.to_le_bytes())?;
    let (entries, odd) = entries.as_chunks::<ENTRY>();
    let entry = |entry: &[u8; ENTRY]| {
        let [tag, _, permissions, _, a, b, c, d] = *entry;
        let id = u32::from_le_bytes([a, b, c, d]);
        let (kind, named) = match tag {
            0x01 => ("user", false),
            0x02 => ("user", true),
            0x04 => ("group", false),
            0x08 => ("group", true),
            0x10 => ("mask", false),
            0x20 => ("other", false),
            _ => return None,
        };
        let letter = |bit: u8, letter: char| if permissions & bit == 0 { '-' } else { letter };
        let who = if named { id.to_string() } else { String::new() };
        Some(format!("{kind}:{who}:{}{}{}", letter(4, 'r'), letter(2, 'w'), letter(1, 'x')))
    };
    let lines: Option<Vec<String>> = entries.iter().map(entry).collect();
    if odd.is_empty() { Some(lines?.join(",")) } else { None }
}

/// Changes the ids of a list in the kernel's form.
pub(crate) fn change_ids(value: &mut [u8], change: impl Fn(u32) -> u32) {
    let Some(entries) = value.get_mut(4..) else { return };
    for entry in entries.as_chunks_mut::<ENTRY>().0 {
        let id = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
        if id != NO_ID {
            entry[4..].copy_from_slice(&change(id).to_le_bytes());
        }
    }
}

fn parse_entry(entry: &[u8]) -> Option<(u16, u32, u16)> {
    let fields: Vec<&[u8]> = entry.split(|&byte| byte == b':').collect();
    let (kind, who, permissions, number) = match fields[..] {
        // Linux' own text has no empty second field for mask and other.
        [kind @ (b"mask" | b"m" | b"other" | b"o"), permissions] => (kind, b"".as_slice(), permissions, None),
        [kind, who, permissions] => (kind, who, permissions, None),
        [kind, who, permissions, number] => (kind, who, permissions, Some(number)),
        _ => return None,
    };
    let id = match (who, number) {
        (b"", None) => NO_ID,
        (b"root", None) => 0,
        (who, number) => u32::try_from(decimal(number.unwrap_or(who))?).ok()?,
    };
    let tag = match (kind, id == NO_ID) {
        (b"user" | b"u", true) => 0x01,
        (b"user" | b"u", false) => 0x02,
        (b"group" | b"g", true) => 0x04,
        (b"group" | b"g", false) => 0x08,
        (b"mask" | b"m", true) => 0x10,
        (b"other" | b"o", true) => 0x20,
        _ => return None,
    };
    Some((tag, id, mode(permissions)?))
}

fn mode(text: &[u8]) -> Option<u16> {
    text.iter().try_fold(0, |mode, byte| match byte {
        b'r' => Some(mode | 4),
        b'w' => Some(mode | 2),
        b'x' => Some(mode | 1),
        b'-' => Some(mode),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_the_kernels_form() {
        let value = parse("rootfs", b"user::rw-,other::---,user:1000:r--,group::r-x,mask::r--,group:adm:rwx:4").unwrap();
        let mut expect = vec![2, 0, 0, 0];
        for (tag, permissions, id) in [(1, 6, NO_ID), (2, 4, 1000), (4, 5, NO_ID), (8, 7, 4), (0x10, 4, NO_ID), (0x20, 0, NO_ID)] {
            expect.extend_from_slice(&[tag, 0, permissions, 0]);
            expect.extend_from_slice(&u32::to_le_bytes(id));
        }
        assert_eq!(value, expect);
    }

    #[test]
    fn the_kernels_form_becomes_text_and_is_taken_as_it_is() {
        let words = "user::rw-,user:1000:r--,group::r-x,mask::r--,other::---";
        let value = parse("rootfs", words.as_bytes()).unwrap();
        assert_eq!(text(&value).unwrap(), words);
        assert_eq!(parse("rootfs", &value).unwrap(), value);
        let mut moved = value;
        change_ids(&mut moved, |id| id + 5);
        assert_eq!(text(&moved).unwrap(), words.replace("1000", "1005"));
        assert_eq!(text(b"\x02\0\0\0odd"), None);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for text in ["user:joe:rwx", "mask:3:rwx", "user::rwz", "user", "king::rwx", "user:99999999999:rwx"] {
            assert!(parse("rootfs", text.as_bytes()).is_err(), "{text}");
        }
    }
}
