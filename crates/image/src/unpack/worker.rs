//! The program `coffer-unpack`: takes one order from its socket, locks itself in, does it, reports.

use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;

use coffer_sys::process::{die_with_parent, exit_now, set_dumpable};
use coffer_sys::socket::PacketSocket;
use rustix::fs::{Mode, OFlags, mkdirat, openat};
use rustix::io::Errno;

use super::archive;
use super::budget::Budget;
use super::confine;
use super::entry::{Content, Entry, Kind};
use super::failure::Failure;
use super::layout::{Layout, Sink, virtual_machine};
use super::look::Look;
use super::order::{Confinement, Limits, Line, MAX_ORDER, Order, Task, Unpacked};
use super::report::Reporter;
use super::squashfs;
use super::stream::Stream;
use super::tree::Tree;
use crate::format::{Compression, Format, MAGIC_BYTES};
use crate::receive::size_of;

/// The exit status after a panic, as the standard library has it.
const PANICKED: u8 = 101;

/// Does what the daemon asks for over standard error, which is a socket: the only descriptor it gave us.
#[must_use]
pub fn main() -> ExitCode {
    // A thread that panics would leave the others waiting for what it was to bring.
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("{panic}");
        exit_now(PANICKED);
    }));
    match obey() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Whoever started us by hand reads it on the terminal; the daemon puts it into its own error.
            let _ = rustix::io::write(rustix::stdio::stderr(), format!("coffer-unpack: {error}\n").as_bytes());
            ExitCode::FAILURE
        }
    }
}

/// Why there was no order to obey.
#[derive(Debug, thiserror::Error)]
enum ObeyError {
    #[error("this program is started by cofferd only; its standard error is no socket with an order")]
    Socket(#[source] std::io::Error),
    #[error("the order is not understood")]
    Order,
    #[error("the report cannot be sent")]
    Report(#[source] std::io::Error),
}

fn obey() -> Result<(), ObeyError> {
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stderr(), 3).map_err(|errno| ObeyError::Socket(errno.into()))?;
    let socket = PacketSocket::from_fd(socket);
    let packet = socket.receive(MAX_ORDER).map_err(ObeyError::Socket)?.ok_or(ObeyError::Order)?;
    let order: Order = serde_json::from_slice(&packet.bytes).map_err(|_| ObeyError::Order)?;
    let job = Job::new(order, packet.fds, socket).ok_or(ObeyError::Order)?;
    rustix::process::umask(Mode::empty());
    let ready = die_with_parent().and_then(|()| set_dumpable(false)).map_err(|error| Failure::confine("hiding it", error));
    let done = ready.and_then(|()| confine::run(job.target.as_ref().map(AsFd::as_fd), &|confinement| job.report(confinement)));
    done.or_else(|failure| job.reporter.send(&Line::Failed(failure))).map_err(ObeyError::Report)
}

/// An order with its descriptors.
struct Job {
    order: Order,
    metadata: OwnedFd,
    rootfs: Option<OwnedFd>,
    target: Option<OwnedFd>,
    reporter: Reporter,
}

impl Job {
    fn new(order: Order, fds: Vec<OwnedFd>, socket: PacketSocket) -> Option<Self> {
        let mut fds = fds.into_iter();
        let metadata = fds.next()?;
        let rootfs = if order.split { Some(fds.next()?) } else { None };
        let target = match order.task {
            Task::Unpack => Some(fds.next()?),
            Task::Inspect { .. } => None,
        };
        Some(Self { order, metadata, rootfs, target, reporter: Reporter::new(socket) })
    }

    /// Does the work and sends its result; the answer is the exit status.
    fn report(&self, confinement: Confinement) -> u8 {
        let line = match self.order.task {
            Task::Unpack => self.unpack(confinement).map(Line::Unpacked),
            Task::Inspect { whole } => self.inspect(whole).map(|()| Line::Inspected),
        };
        match self.reporter.send(&line.unwrap_or_else(Line::Failed)) {
            Ok(()) => 0,
            Err(_) => 1,
        }
    }

    fn unpack(&self, confinement: Confinement) -> Result<Unpacked, Failure> {
        let mut unpack = Unpack::new(self.order.limits)?;
        let mut layout = Layout::new(&mut unpack, self.order.split);
        self.first(&mut |entry, content| layout.member(entry, content).map(|_| ControlFlow::Continue(())))?;
        let skipped_members = layout.finish()?;
        self.second(true, &mut |entry, content| unpack.rootfs(entry, content).map(ControlFlow::Continue))?;
        unpack.finish(Unpacked { skipped_members, confinement, ..Unpacked::default() })
    }

    fn inspect(&self, whole: bool) -> Result<(), Failure> {
        let mut look = Look::new(self.order.limits);
        let mut layout = Layout::new(&mut look, self.order.split);
        self.first(&mut |entry, content| {
            let enough = layout.member(entry, content)?;
            Ok(if whole { ControlFlow::Continue(()) } else { enough })
        })?;
        layout.finish()?;
        if whole {
            self.second(false, &mut |entry, content| look.rootfs(entry, content).map(ControlFlow::Continue))?;
        } else if let Some(rootfs) = &self.rootfs {
            format_of("rootfs", rootfs.as_fd())?;
        }
        let text = String::from_utf8(look.text.unwrap_or_default());
        let text = text.map_err(|_| Failure::refused(b"metadata.yaml", "it is not UTF-8 text"))?;
        self.reporter.metadata(&text).map_err(|error| Failure::confine("sending the metadata", error))
    }

    /// Reads the unified archive or the metadata's.
    fn first(&self, visit: &mut Visitor<'_>) -> Result<(), Failure> {
        match format_of("metadata", self.metadata.as_fd())? {
            Format::Tar(compression) => self.archive("metadata", self.metadata.as_fd(), compression, visit)?,
            Format::Squashfs => {
                let instead = "its metadata must be a tar archive; import a squashfs as the second file".to_owned();
                return Err(Failure::Unsupported { what: "a unified image in squashfs".into(), instead });
            }
            Format::Qcow2 => return Err(virtual_machine()),
        }
        self.reporter.file_done(size_of(self.metadata.as_fd()).unwrap_or(0));
        Ok(())
    }

    /// Reads the root file system's file, if there is one.
    fn second(&self, content: bool, visit: &mut Visitor<'_>) -> Result<(), Failure> {
        let Some(rootfs) = &self.rootfs else { return Ok(()) };
        match format_of("rootfs", rootfs.as_fd())? {
            Format::Tar(compression) => self.archive("rootfs", rootfs.as_fd(), compression, visit),
            Format::Squashfs => squashfs::read(duplicate(rootfs.as_fd())?, self.order.limits, content, &self.reporter, visit),
            Format::Qcow2 => Err(virtual_machine()),
        }
    }

    fn archive(&self, part: &'static str, file: BorrowedFd<'_>, compression: Compression, visit: &mut Visitor<'_>) -> Result<(), Failure> {
        let limit = self.order.limits.archive_bytes();
        archive::read(&mut Stream::open(part, duplicate(file)?, compression, limit, &self.reporter)?, visit)
    }
}

type Visitor<'a> = dyn FnMut(Entry, &mut dyn Content) -> Result<ControlFlow<()>, Failure> + 'a;

fn duplicate(file: BorrowedFd<'_>) -> Result<OwnedFd, Failure> {
    file.try_clone_to_owned().map_err(|error| Failure::confine("copying a descriptor", error))
}

fn format_of(part: &str, file: BorrowedFd<'_>) -> Result<Format, Failure> {
    let mut start = vec![0; MAGIC_BYTES];
    let count = rustix::io::pread(file, &mut start, 0);
    let count = count.map_err(|errno| Failure::Read { part: part.to_owned(), errno: errno.raw_os_error() })?;
    Format::of(&start[..count]).ok_or_else(|| Failure::Format { part: part.to_owned() })
}

/// Takes members into the root directory, which is the target.
struct Unpack {
    target: OwnedFd,
    rootfs: Option<Tree>,
    templates: Option<Tree>,
    budget: Budget,
}

impl Unpack {
    fn new(limits: Limits) -> Result<Self, Failure> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let target = openat(rustix::fs::CWD, "/", flags, Mode::empty()).map_err(|errno| Failure::write("opening", b"/", errno))?;
        Ok(Self { target, rootfs: None, templates: None, budget: Budget::new(limits) })
    }

    fn finish(mut self, mut unpacked: Unpacked) -> Result<Unpacked, Failure> {
        let Some(rootfs) = &mut self.rootfs else { return Err(Failure::NoRootfs) };
        rootfs.finish()?;
        (unpacked.skipped_devices, unpacked.skipped_xattrs) = (rootfs.skipped_devices, rootfs.skipped_xattrs);
        if let Some(templates) = &mut self.templates {
            templates.finish()?;
        }
        (unpacked.files, unpacked.bytes) = self.budget.counted();
        Ok(unpacked)
    }
}

impl Sink for Unpack {
    fn metadata(&mut self, text: Vec<u8>) -> Result<(), Failure> {
        const NAME: &str = "metadata.yaml";
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let failed = |errno| Failure::write("writing", NAME.as_bytes(), errno);
        self.budget.bytes(text.len() as u64)?;
        let file = openat(&self.target, NAME, flags, Mode::from_raw_mode(0o644)).map_err(failed)?;
        let mut rest = text.as_slice();
        while !rest.is_empty() {
            rest = &rest[rustix::io::write(&file, rest).map_err(failed)?..];
        }
        Ok(())
    }

    fn template(&mut self, mut entry: Entry, content: &mut dyn Content) -> Result<(), Failure> {
        // Only the host reads templates, so who owned them where the image was made means nothing.
        (entry.uid, entry.gid, entry.mode) = (0, 0, if entry.kind == Kind::Directory { 0o755 } else { 0o644 });
        entry.xattrs.clear();
        let tree = tree(&mut self.templates, self.target.as_fd(), "templates")?;
        tree.put(entry, content, &mut self.budget)
    }

    fn rootfs(&mut self, entry: Entry, content: &mut dyn Content) -> Result<(), Failure> {
        let tree = tree(&mut self.rootfs, self.target.as_fd(), "rootfs")?;
        tree.put(entry, content, &mut self.budget)
    }
}

/// The tree at a name in the target, made at its first member.
fn tree<'t>(tree: &'t mut Option<Tree>, target: BorrowedFd<'_>, name: &str) -> Result<&'t mut Tree, Failure> {
    match tree {
        Some(tree) => Ok(tree),
        None => {
            let failed = |errno| Failure::write("making the directory", name.as_bytes(), errno);
            match mkdirat(target, name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(failed(errno)),
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            Ok(tree.insert(Tree::new(openat(target, name, flags, Mode::empty()).map_err(failed)?)?))
        }
    }
}
