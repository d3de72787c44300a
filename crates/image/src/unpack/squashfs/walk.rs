//! Going through the tree from its root: members in the order of their names, each directory before what is in it.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::budget::Budget;
use super::super::entry::{Entry, Kind, MAX_PATH, Time, link_text};
use super::super::failure::Failure;
use super::super::order::Limits;
use super::blocks::{Block, Pool, stored_size};
use super::inode::{self, Data, Inode, NONE};
use super::superblock::{Fields, Image, damaged};
use super::table::{Cursor, Metadata, fragment, ids};
use super::xattr::Xattrs;
use super::{Item, Part};

/// Fragments kept, each holding the ends of many small files.
const FRAGMENTS: usize = 16;

/// Hands every member and piece of content to `emit`, which says whether it wants more.
pub(super) fn walk(image: &Image, pool: Option<Pool>, limits: Limits, emit: &mut dyn FnMut(Item) -> bool) -> Result<(), Failure> {
    let mut metadata = Metadata::new(image);
    let ids = ids(image, &mut metadata)?;
    let xattrs = Xattrs::open(image)?;
    let mut walk = Walk { image, metadata, ids, xattrs, pool, fragments: Vec::new(), links: HashMap::new(), budget: Budget::new(limits) };
    let root = Cursor::refer(image.superblock.inode_table, image.superblock.root_inode)?;
    let root = inode::read(&mut walk.metadata, root)?;
    if !matches!(root.data, Data::Directory { .. }) {
        return Err(damaged("its root is no directory"));
    }
    let mut levels = vec![Level { path: Vec::new(), names: Vec::new() }];
    if !walk.visit(Vec::new(), root, &mut levels, emit)? {
        return Ok(());
    }
    while let Some(level) = levels.last_mut() {
        let Some((name, reference)) = level.names.pop() else {
            levels.pop();
            continue;
        };
        walk.budget.release(name.len());
        let path = if level.path.is_empty() { name } else { [level.path.as_slice(), &name].join(&b'/') };
        if path.len() > MAX_PATH {
            return Err(Failure::refused(&path, "its name is too long"));
        }
        let at = Cursor::refer(image.superblock.inode_table, reference)?;
        let inode = inode::read(&mut walk.metadata, at)?;
        if !walk.visit(path, inode, &mut levels, emit)? {
            return Ok(());
        }
    }
    Ok(())
}

/// A directory on the way down: what is left of its listing, last first.
struct Level {
    path: Vec<u8>,
    names: Vec<(Vec<u8>, u64)>,
}

struct Walk<'i> {
    image: &'i Image,
    metadata: Metadata<'i>,
    ids: Vec<u32>,
    xattrs: Option<Xattrs>,
    pool: Option<Pool>,
    /// Fragments asked for last, the newest at the end.
    fragments: Vec<(u32, Arc<Block>)>,
    /// The first name of each inode that has several.
    links: HashMap<u32, Vec<u8>>,
    budget: Budget,
}

impl Walk<'_> {
    /// Emits a member with its content and, for a directory, opens its listing.
    fn visit(&mut self, path: Vec<u8>, inode: Inode, levels: &mut Vec<Level>, emit: &mut dyn FnMut(Item) -> bool) -> Result<bool, Failure> {
        let directory = matches!(inode.data, Data::Directory { .. });
        if !directory && inode.links > 1 {
            if let Some(first) = self.links.get(&inode.number) {
                let entry = self.entry(&path, &inode, Kind::Hardlink(first.clone()))?;
                return Ok(emit(Item::Entry(Box::new(entry))));
            }
            self.budget.hold(path.len())?;
            self.links.insert(inode.number, path.clone());
        }
        let kind = match &inode.data {
            Data::Directory { .. } => Kind::Directory,
            Data::File { size, .. } => Kind::File(*size),
            Data::Symlink(text) => Kind::Symlink(link_text(&path, text)?),
            Data::Fifo => Kind::Fifo,
            Data::Device(numbers) => Kind::Device(Some(*numbers)),
            Data::Socket => Kind::Socket,
        };
        let entry = self.entry(&path, &inode, kind)?;
        if !emit(Item::Entry(Box::new(entry))) {
            return Ok(false);
        }
        match inode.data {
            Data::Directory { block, offset, length } => {
                let names = self.listing(&path, block, offset, length)?;
                levels.push(Level { path, names });
                Ok(true)
            }
            Data::File { .. } if self.pool.is_some() => Ok(self.content(&inode.data, emit)? && emit(Item::EndOfContent)),
            Data::File { .. } | Data::Symlink(_) | Data::Fifo | Data::Device(_) | Data::Socket => Ok(true),
        }
    }

    fn entry(&mut self, path: &[u8], inode: &Inode, kind: Kind) -> Result<Entry, Failure> {
        let id = |index: u16| self.ids.get(usize::from(index)).copied().ok_or_else(|| damaged("an owner is not in the table of ids"));
        let (uid, gid) = (id(inode.uid)?, id(inode.gid)?);
        let xattrs = match &self.xattrs {
            Some(xattrs) => xattrs.of(&mut self.metadata, inode.xattr)?,
            None => Vec::new(),
        };
        let mtime = Time { seconds: inode.mtime.into(), nanoseconds: 0 };
        Ok(Entry { path: path.to_vec(), kind, mode: inode.mode & 0o7777, uid, gid, mtime, xattrs })
    }

    /// Reads a directory's names and where their inodes are, last first.
    fn listing(&mut self, path: &[u8], block: u32, offset: u16, length: u32) -> Result<Vec<(Vec<u8>, u64)>, Failure> {
        let start = self.image.superblock.directory_table.checked_add(block.into());
        let mut at = Cursor { block: start.ok_or_else(|| damaged("a directory is out of range"))?, offset: offset.into() };
        let mut left = i64::from(length);
        let mut names = Vec::new();
        while left > 0 {
            let head = self.metadata.array::<12>(&mut at)?;
            let mut fields = Fields::new(&head);
            let (count, inodes) = (fields.u32()?, fields.u32()?);
            if count >= 256 {
                return Err(damaged("a directory's header counts too many names"));
            }
            left -= 12;
            for _ in 0..=count {
                self.budget.file()?;
                let head = self.metadata.array::<8>(&mut at)?;
                let mut fields = Fields::new(&head);
                let (offset, _number, _kind, size) = (fields.u16()?, fields.u16()?, fields.u16()?, fields.u16()?);
                let name = self.metadata.bytes(&mut at, usize::from(size) + 1)?;
                if matches!(name.as_slice(), b"." | b"..") || name.iter().any(|byte| matches!(byte, 0 | b'/')) {
                    return Err(Failure::refused(&[path, &name].join(&b'/'), "no file can have such a name"));
                }
                self.budget.hold(name.len())?;
                left -= 8 + name.len() as i64;
                names.push((name, u64::from(inodes) << 16 | u64::from(offset)));
            }
        }
        names.reverse();
        Ok(names)
    }

    /// Asks for a file's blocks and emits its pieces.
    fn content(&mut self, data: &Data, emit: &mut dyn FnMut(Item) -> bool) -> Result<bool, Failure> {
        let Data::File { start, size, fragment, fragment_offset, mut sizes } = *data else { return Ok(true) };
        let block_size = self.image.superblock.block_size;
        let (mut at, mut left) = (start, size);
        while left > 0 {
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(block_size);
            if length < block_size && fragment != NONE {
                let block = self.fragment(fragment)?;
                return Ok(emit(Item::Piece(Part::Block { block, from: fragment_offset as usize, length })));
            }
            let field = self.metadata.u32(&mut sizes)?;
            let part = if field == 0 { Part::Hole(length as u64) } else { Part::Block { block: self.fetch(at, field)?, from: 0, length } };
            if !emit(Item::Piece(part)) {
                return Ok(false);
            }
            at = at.checked_add(stored_size(field)).ok_or_else(|| damaged("a file is out of range"))?;
            left -= length as u64;
        }
        Ok(true)
    }

    fn fetch(&self, at: u64, field: u32) -> Result<Arc<Block>, Failure> {
        self.pool.as_ref().ok_or_else(|| damaged("content was asked for where only names are read"))?.fetch(at, field)
    }

    fn fragment(&mut self, index: u32) -> Result<Arc<Block>, Failure> {
        if let Some((_, block)) = self.fragments.iter().find(|(kept, _)| *kept == index) {
            return Ok(Arc::clone(block));
        }
        let (at, field) = fragment(self.image, &mut self.metadata, index)?;
        let block = self.fetch(at, field)?;
        if self.fragments.len() == FRAGMENTS {
            self.fragments.remove(0);
        }
        self.fragments.push((index, Arc::clone(&block)));
        Ok(block)
    }
}
