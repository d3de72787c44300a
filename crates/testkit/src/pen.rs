//! The place a test's daemon lives in: its own network, mounts and cgroups.

use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The environment's search path for everything that runs in a pen.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Namespaces and cgroups that are held as long as this value lives; everything in them ends with it.
#[derive(Debug)]
pub struct Pen {
    name: String,
    inside: u32,
    holder: Child,
    /// The holder waits for the end of this pipe: it comes with our own end at the latest.
    leash: Option<ChildStdin>,
}

impl Pen {
    /// Makes a pen whose cgroups look like the top of every hierarchy from inside.
    ///
    /// # Panics
    /// The program `coffer-test-pen` is not built, or the kernel refuses the namespaces.
    #[must_use]
    #[track_caller]
    pub fn new() -> Self {
        Self::hold("own-cgroups")
    }

    /// Makes a pen that sees the host's cgroups: for liblxc, which wants to see the cgroup of process 1.
    ///
    /// # Panics
    /// As [`Pen::new`].
    #[must_use]
    #[track_caller]
    pub fn with_host_cgroups() -> Self {
        Self::hold("host-cgroups")
    }

    #[track_caller]
    fn hold(view: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("coffer-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut command = Command::new(program("coffer-test-pen"));
        command.args(["hold", &name, view]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = command.spawn().expect("the pen's holder");
        let leash = holder.stdin.take();
        let mut line = String::new();
        let stdout = holder.stdout.take().expect("the holder's output, asked for above");
        BufReader::new(stdout).read_line(&mut line).expect("a line from the pen's holder");
        let inside = line.trim().strip_prefix("ready ").and_then(|pid| pid.parse().ok());
        let inside = inside.expect("a pen that is ready; see what its holder wrote to standard error");
        Self { name, inside, holder, leash }
    }

    /// Prepares a program that runs in the pen's network and mount namespaces, with a clean environment.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.inside.to_string(), "--net", "--mount", "--", program]);
        command.env_clear().env("PATH", PATH).env("LC_ALL", "C.UTF-8");
        command
    }

    /// Prepares a program that runs in the pen's namespaces and in the daemon's cgroup.
    #[must_use]
    pub fn daemon_command(&self, program: &str) -> Command {
        let mut command = Command::new(self::program("coffer-test-pen"));
        command.args(["join", &format!("{}/daemon", self.name)]);
        command.args(["nsenter", "--target", &self.inside.to_string(), "--net", "--mount", "--cgroup", "--", program]);
        command.env_clear().env("PATH", PATH).env("LC_ALL", "C.UTF-8");
        command
    }

    /// Runs work in the pen's network: sockets made there stay there.
    ///
    /// # Panics
    /// The work panics, or the namespace can't be entered.
    pub fn in_network<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let namespace = std::fs::File::open(format!("/proc/{}/ns/net", self.inside)).expect("the pen's network namespace");
        // Only the thread that enters a namespace is in it.
        std::thread::scope(|scope| {
            let entered = scope.spawn(|| {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).expect("entering the pen's network");
                work()
            });
            entered.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// The process that holds the pen's namespaces, by its number on the host.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.inside
    }

    /// The pen's folder in each mounted cgroup hierarchy of the host.
    #[must_use]
    pub fn cgroups(&self) -> Vec<PathBuf> {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let points = mounts.lines().filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let (point, kind) = (fields.next()?, fields.next()?);
            kind.starts_with("cgroup").then(|| Path::new(point).join(&self.name))
        });
        let mut points: Vec<_> = points.filter(|path| path.is_dir()).collect();
        points.sort();
        points.dedup();
        points
    }
}

impl Default for Pen {
    fn default() -> Self {
        Self::new()
    }
}

impl Pen {
    /// Ends everything in the pen; what is mounted only there is unmounted with it.
    pub fn end(&mut self) {
        drop(self.leash.take());
        let _ = self.holder.wait();
    }
}

impl Drop for Pen {
    fn drop(&mut self) {
        self.end();
    }
}

/// The build directory that the running test lies in.
pub(crate) fn build_directory() -> Option<PathBuf> {
    let exe = std::env::current_exe().ok()?;
    exe.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file()).map(Path::to_path_buf)
}

/// Finds one of the programs that this workspace builds, beside the running test.
///
/// # Panics
/// It is not built.
#[must_use]
#[track_caller]
pub fn program(name: &str) -> PathBuf {
    if let Some(folder) = std::env::var_os("COFFER_TEST_PROGRAMS") {
        let found = Path::new(&folder).join(name);
        if found.is_file() {
            return found;
        }
    }
    let exe = std::env::current_exe().expect("the running program's path");
    // Tests lie in `deps/` below the folder that programs lie in; programs beside each other.
    let found = exe.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{name} is not built; run `cargo build --workspace --bins`, or `cargo xtask test`, which does"))
}
