//! What a server says.

use crate::fields::{Fields, Malformed, packet, put_string, put_u32};
use crate::{Attributes, Name, Names, Status, VERSION};

const VERSION_IS: u8 = 2;
const STATUS: u8 = 101;
const HANDLE: u8 = 102;
const DATA: u8 = 103;
pub(crate) const NAME: u8 = 104;
const ATTRIBUTES: u8 = 105;
const EXTENDED: u8 = 201;

/// What a server says to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// How it went.
    Status(Status, &'a [u8]),
    /// A file or directory was opened.
    Handle(&'a [u8]),
    /// Content.
    Data(&'a [u8]),
    /// Names: of a directory, or the one that was asked for.
    Names(Vec<Name>),
    /// What a file is.
    Attributes(Attributes),
    /// What an extension answers.
    Extended(&'a [u8]),
}

impl<'a> Reply<'a> {
    /// Reads a packet; the number is that of the request.
    ///
    /// # Errors
    /// If it is none of a server's.
    pub fn read(packet: &'a [u8]) -> Result<(u32, Self), Malformed> {
        let mut fields = Fields(packet);
        let kind = fields.byte()?;
        let id = fields.u32()?;
        let reply = match kind {
            STATUS => {
                let status = Status::from_code(fields.u32()?);
                // Old servers send no text.
                Self::Status(status, if fields.is_empty() { b"" } else { fields.string()? })
            }
            HANDLE => Self::Handle(fields.string()?),
            DATA => Self::Data(fields.string()?),
            NAME => Self::Names(Names::read(&mut fields)?),
            ATTRIBUTES => Self::Attributes(Attributes::read(&mut fields)?),
            EXTENDED => Self::Extended(fields.0),
            _ => return Err(Malformed("a server does not send its type")),
        };
        Ok((id, reply))
    }

    /// Writes a packet; `more` says whether the client asked for more codes than version 3 has.
    pub fn write(&self, id: u32, more: bool, out: &mut Vec<u8>) {
        let kind = match self {
            Self::Status(..) => STATUS,
            Self::Handle(_) => HANDLE,
            Self::Data(_) => DATA,
            Self::Names(_) => NAME,
            Self::Attributes(_) => ATTRIBUTES,
            Self::Extended(_) => EXTENDED,
        };
        packet(out, kind, |out| {
            put_u32(out, id);
            match self {
                Self::Status(status, text) => {
                    put_u32(out, status.code(more));
                    put_string(out, text);
                    put_string(out, b"en");
                }
                Self::Handle(bytes) | Self::Data(bytes) => put_string(out, bytes),
                Self::Names(names) => {
                    put_u32(out, names.len() as u32);
                    for name in names {
                        put_string(out, &name.name);
                        put_string(out, &name.name);
                        name.attributes.write(out);
                    }
                }
                Self::Attributes(attributes) => attributes.write(out),
                Self::Extended(bytes) => out.extend_from_slice(bytes),
            }
        });
    }
}

/// Writes an answer of content that `read` puts where it is to be sent from: it gets room for `most` bytes and says how many
/// it filled. Writes nothing if that fails or gives none.
///
/// # Errors
/// `read`'s.
pub fn write_data<E>(id: u32, most: usize, out: &mut Vec<u8>, read: impl FnOnce(&mut [u8]) -> Result<usize, E>) -> Result<usize, E> {
    const HEAD: usize = 13;
    let start = out.len();
    out.resize(start + HEAD + most, 0);
    let count = match read(&mut out[start + HEAD..]) {
        Ok(count) if count > 0 => count,
        other => {
            out.truncate(start);
            return other;
        }
    };
    out.truncate(start + HEAD + count);
    let head = &mut out[start..start + HEAD];
    head[..4].copy_from_slice(&((HEAD - 4 + count) as u32).to_be_bytes());
    head[4] = DATA;
    head[5..9].copy_from_slice(&id.to_be_bytes());
    head[9..].copy_from_slice(&(count as u32).to_be_bytes());
    Ok(count)
}

/// Writes a server's first packet: its version and extensions.
pub fn write_version(extensions: &[(&str, &str)], out: &mut Vec<u8>) {
    packet(out, VERSION_IS, |out| {
        put_u32(out, VERSION);
        for (name, data) in extensions {
            put_string(out, name.as_bytes());
            put_string(out, data.as_bytes());
        }
    });
}

/// Reads a server's first packet; the answer are its extensions.
pub(crate) fn read_version(packet: &[u8]) -> Result<Vec<String>, Malformed> {
    let mut fields = Fields(packet);
    if fields.byte()? != VERSION_IS || fields.u32()? < VERSION {
        return Err(Malformed("the server does not speak version 3"));
    }
    let mut extensions = Vec::new();
    while !fields.is_empty() {
        extensions.push(String::from_utf8_lossy(fields.string()?).into_owned());
        fields.string()?;
    }
    Ok(extensions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(reply: Reply<'_>) {
        let mut out = Vec::new();
        reply.write(7, true, &mut out);
        assert_eq!(u32::from_be_bytes([out[0], out[1], out[2], out[3]]) as usize, out.len() - 4);
        assert_eq!(Reply::read(&out[4..]), Ok((7, reply)));
    }

    #[test]
    fn what_is_written_is_read() {
        check(Reply::Status(Status::NotEmpty, b"directory not empty"));
        check(Reply::Handle(b"\0\0\0\x01"));
        check(Reply::Data(b"content"));
        check(Reply::Names(vec![Name { name: b"a".to_vec(), attributes: Attributes::default() }]));
        check(Reply::Attributes(Attributes { size: Some(3), ..Attributes::default() }));
        check(Reply::Extended(b"x"));
    }

    #[test]
    fn content_is_written_in_place() {
        let mut out = Vec::new();
        write_data::<()>(7, 10, &mut out, |room| {
            room[..3].copy_from_slice(b"abc");
            Ok(3)
        })
        .unwrap();
        assert_eq!(Reply::read(&out[4..]), Ok((7, Reply::Data(b"abc"))));
        assert_eq!(write_data::<()>(8, 10, &mut out, |_| Ok(0)), Ok(0));
        assert_eq!(write_data(8, 10, &mut out, |_| Err("no")), Err("no"));
        assert_eq!(out.len(), 16);
    }

    #[test]
    fn versions() {
        let mut out = Vec::new();
        write_version(&[("statvfs@openssh.com", "2")], &mut out);
        assert_eq!(read_version(&out[4..]), Ok(vec!["statvfs@openssh.com".to_owned()]));
        assert!(read_version(&[2, 0, 0, 0, 2]).is_err());
    }
}
