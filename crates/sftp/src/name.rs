//! Names in answers.

use crate::Attributes;
use crate::fields::{Fields, Malformed, packet, put_string, put_u32};

/// A name with what is known of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The name, or a path.
    pub name: Vec<u8>,
    /// What it is.
    pub attributes: Attributes,
}

/// An answer of names that is being written.
#[derive(Debug, Default)]
pub struct Names {
    count: u32,
    entries: Vec<u8>,
}

impl Names {
    /// Adds a name; `line` is what a listing shows for it.
    pub fn add(&mut self, name: &[u8], line: &[u8], attributes: &Attributes) {
        self.count += 1;
        put_string(&mut self.entries, name);
        put_string(&mut self.entries, line);
        attributes.write(&mut self.entries);
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// How many bytes they take.
    #[must_use]
    pub fn length(&self) -> usize {
        self.entries.len()
    }

    /// Writes the packet.
    pub fn write(&self, id: u32, out: &mut Vec<u8>) {
        packet(out, crate::reply::NAME, |out| {
            put_u32(out, id);
            put_u32(out, self.count);
            out.extend_from_slice(&self.entries);
        });
    }

    pub(crate) fn read(fields: &mut Fields<'_>) -> Result<Vec<Name>, Malformed> {
        let count = fields.u32()?;
        let mut names = Vec::new();
        for _ in 0..count {
            let name = fields.string()?.to_vec();
            fields.string()?;
            names.push(Name { name, attributes: Attributes::read(fields)? });
        }
        Ok(names)
    }
}
