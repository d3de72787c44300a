//! Squashfs file systems, version 4, member by member.
//!
//! Read here and not by `unsquashfs`, so that one writer with one set of limits and one set of refusals serves every format, and
//! the sandbox needs no program, library or path of the host. A thread walks the tree; others decompress; the main thread writes.

mod blocks;
mod inode;
mod superblock;
mod table;
mod walk;
mod xattr;

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};

use super::entry::{Content, Entry, Piece, Visit};
use super::failure::Failure;
use super::order::Limits;
use super::report::Reporter;
use blocks::{Block, Pool};
use superblock::Image;

/// Members and blocks that the walk may be ahead of the writer.
const AHEAD: usize = 64;

/// What the walk hands to the writer, in order.
enum Item {
    /// A member; its blocks follow until `pieces` of them have come.
    Entry(Box<Entry>),
    Piece(Part),
    EndOfContent,
}

/// A part of a file's content.
enum Part {
    /// Bytes `from..from + length` of a block that is being decompressed.
    Block {
        block: Arc<Block>,
        from: usize,
        length: usize,
    },
    Hole(u64),
}

/// Visits every member. With `content` false, files come without their content, which then must not be asked for.
pub(super) fn read(file: OwnedFd, limits: Limits, content: bool, reporter: &Reporter, visit: Visit<'_>) -> Result<(), Failure> {
    let image = Arc::new(Image::open(file)?);
    if u64::from(image.superblock.inode_count) > limits.files {
        return Err(Failure::Limit { limit: limits.files, unit: "files".into() });
    }
    let done = Arc::new(AtomicU64::new(0));
    let (items, ordered) = sync_channel(AHEAD);
    let pool = if content { Some(Pool::start(&image, &done)?) } else { None };
    let walker = Arc::clone(&image);
    let walk = move || {
        let end = walk::walk(&walker, pool, limits, &mut |item| items.send(Ok(item)).is_ok());
        if let Err(failure) = end {
            // Nobody listens any more if the writer failed first.
            let _ = items.send(Err(failure));
        }
    };
    let thread = std::thread::Builder::new().name("walk".into()).spawn(walk);
    thread.map_err(|error| Failure::confine("starting the squashfs thread", error))?;
    let mut items = Items { ordered, held: VecDeque::new(), current: None };
    while let Some(item) = items.next()? {
        let Item::Entry(entry) = item else { continue };
        reporter.progress(done.load(Ordering::Relaxed));
        let mut content = FileContent { items: &mut items, over: false };
        if let ControlFlow::Break(()) = visit(*entry, &mut content)? {
            return Ok(());
        }
    }
    Ok(())
}

/// The items as they come.
struct Items {
    ordered: Receiver<Result<Item, Failure>>,
    held: VecDeque<Item>,
    current: Option<Arc<Block>>,
}

impl Items {
    fn next(&mut self) -> Result<Option<Item>, Failure> {
        if let Some(item) = self.held.pop_front() {
            return Ok(Some(item));
        }
        self.ordered.recv().ok().transpose()
    }
}

/// The content of the member that was just visited.
struct FileContent<'i> {
    items: &'i mut Items,
    over: bool,
}

impl Content for FileContent<'_> {
    fn piece(&mut self) -> Result<Option<Piece<'_>>, Failure> {
        if self.over {
            return Ok(None);
        }
        match self.items.next()? {
            Some(Item::Piece(Part::Hole(length))) => Ok(Some(Piece::Hole(length))),
            Some(Item::Piece(Part::Block { block, from, length })) => {
                let block = self.items.current.insert(block);
                let bytes = block.wait()?;
                let slice = bytes.get(from..from + length);
                Ok(Some(Piece::Bytes(slice.ok_or_else(|| superblock::damaged("a block is shorter than the file that ends in it"))?)))
            }
            Some(entry @ Item::Entry(_)) => {
                self.items.held.push_back(entry);
                self.over = true;
                Ok(None)
            }
            Some(Item::EndOfContent) | None => {
                self.over = true;
                Ok(None)
            }
        }
    }
}
