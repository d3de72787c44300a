//! A place for one test: a busybox root, a spec, a monitor, and a look around afterwards that nothing is left.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "a test fails that way")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use coffer_runtime::{ClientError, Monitor, MonitorClient, MonitorProgram};
use coffer_runtime_spec::request::Listen;
use coffer_runtime_spec::{
    Answer, Exec, ExecId, ExecState, ExitReason, ExitRecord, IdMap, IdRange, Init, Refusal, Report, Request, Root, Signal, Source, Spec,
    Status, Streams,
};
use coffer_sys::process::{self, Child, Ended};
use rustix::event::{PollFd, PollFlags, poll};

/// How long anything may take before a test gives up.
const DEADLINE: Duration = Duration::from_secs(60);

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A test's own directory with a root file system, and its instance.
pub struct Place {
    pub dir: tempfile::TempDir,
    pub spec: Spec,
}

/// What a command did.
#[derive(Debug, PartialEq, Eq)]
pub struct Done {
    pub status: i32,
    pub output: String,
    pub errors: String,
}

/// A running instance.
pub struct Running {
    pub client: MonitorClient,
    pub child: Guard,
    pub warnings: Vec<String>,
    cgroup: String,
}

/// A monitor that does not outlive a test that failed; its instance dies with it.
pub struct Guard(pub Child);

impl Drop for Guard {
    fn drop(&mut self) {
        if matches!(process::try_wait(self.0.pidfd.as_fd()), Ok(None)) {
            let _ = process::signal(self.0.pidfd.as_fd(), 9);
            let _ = process::wait(self.0.pidfd.as_fd());
        }
    }
}

impl Place {
    /// Makes a busybox root whose init is `argv`.
    pub fn new(argv: &[&str]) -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        for below in ["bin", "sbin", "etc", "tmp", "root", "proc", "sys", "dev", "mnt"] {
            std::fs::create_dir_all(root.join(below)).unwrap();
        }
        std::fs::copy(busybox(), root.join("bin/busybox")).unwrap();
        for applet in APPLETS {
            symlink("/bin/busybox", root.join("bin").join(applet)).unwrap();
        }
        symlink("/bin/busybox", root.join("sbin/init")).unwrap();
        std::fs::write(root.join("etc/inittab"), "::sysinit:/bin/true\nconsole::respawn:/bin/sh\n").unwrap();
        std::fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
        let range = IdRange { inside: 0, host: 1_000_000 + (number + std::process::id() % 1000 * 16) * 65_536, count: 65_536 };
        let name = format!("t{}-{number}", std::process::id());
        let spec = Spec {
            cgroup: format!("coffer/test-{name}/{name}"),
            hostname: name.clone(),
            name,
            idmap: IdMap::Mapped { uids: vec![range], gids: vec![range] },
            root: Root { source: Source::Path(root), readonly: false, idmapped: true },
            init: Init { argv: argv.iter().map(|text| (*text).to_owned()).collect(), ..Init::default() },
            halt_signal: None,
            mounts: Vec::new(),
            devices: Vec::new(),
            proxies: Vec::new(),
            nics: Vec::new(),
            limits: Default::default(),
            rlimits: Vec::new(),
            oom_score: None,
            sysctls: BTreeMap::new(),
            security: Default::default(),
            console: Default::default(),
            log: None,
            time: None,
        };
        Self { dir, spec }
    }

    /// An instance whose init is a shell that ends by SIGTERM and does nothing else.
    pub fn idle() -> Self {
        let mut place = Self::new(&["/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1000 & wait $!; done"]);
        place.spec.halt_signal = Some(Signal::TERM);
        place
    }

    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("monitor")
    }

    pub fn record(&self) -> Option<ExitRecord> {
        let text = std::fs::read(self.dir.path().join("monitor.exit")).ok()?;
        Some(serde_json::from_slice(&text).unwrap())
    }

    /// Starts it with these descriptors for the spec.
    pub fn try_start(&self, fds: &[OwnedFd]) -> Result<Running, Refusal> {
        let Monitor { connection, process: child } = program().spawn().unwrap();
        let mut client = MonitorClient::new(connection);
        client.call(Request::Subscribe, &[]).unwrap();
        // As the daemon does; what is wrong with it the start says too.
        let _ = client.call(Request::Prepare { cgroup: self.spec.cgroup.clone() }, &[]);
        let dir = std::fs::File::open(self.dir.path()).unwrap();
        let mut all: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        all.push(dir.as_fd());
        let listen = Some(Listen { directory: fds.len() as u32, name: "monitor".into() });
        let started = client.call(Request::Start { spec: Box::new(self.spec.clone()), listen }, &all);
        let mut running = Running { client, child: Guard(child), warnings: Vec::new(), cgroup: self.spec.cgroup.clone() };
        match started {
            Ok((Answer::Started { warnings, .. }, _)) => {
                running.warnings = warnings;
                Ok(running)
            }
            Ok(other) => panic!("{other:?}"),
            Err(ClientError::Refused(refusal)) => {
                assert_eq!(process::wait(running.child.0.pidfd.as_fd()).unwrap(), Ended::Exited(0));
                check_clean(&self.spec.cgroup, self.dir.path());
                Err(refusal)
            }
            Err(error) => panic!("{error:?}"),
        }
    }

    #[track_caller]
    pub fn start(&self) -> Running {
        self.try_start(&[]).unwrap_or_else(|refusal| panic!("{refusal}"))
    }

    /// Checks that the start fails with exactly this message, and that nothing stays behind.
    #[track_caller]
    pub fn check_refused(&self, expect: &str) {
        match self.try_start(&[]) {
            Ok(running) => {
                self.end(running, ExitReason::Signal(Signal::KILL));
                panic!("it started, instead of: {expect}");
            }
            Err(refusal) => assert_eq!(refusal.to_string(), expect),
        }
    }

    /// Kills it and checks that nothing stays behind.
    #[track_caller]
    pub fn kill(&self, mut running: Running) {
        running.client.call(Request::Kill { signal: Signal::KILL }, &[]).unwrap();
        self.end(running, ExitReason::Signal(Signal::KILL));
    }

    /// Waits for its end and checks the reason and that nothing stays behind.
    #[track_caller]
    pub fn end(&self, mut running: Running, expect: ExitReason) {
        assert_eq!(running.exit(), expect);
        assert_eq!(process::wait(running.child.0.pidfd.as_fd()).unwrap(), Ended::Exited(0));
        assert_eq!(self.record().map(|record| record.reason), Some(expect));
        assert!(!self.socket().exists());
        check_clean(&running.cgroup, self.dir.path());
    }
}

impl Running {
    /// Runs a command with pipes to its end.
    #[track_caller]
    pub fn run(&mut self, argv: &[&str]) -> Done {
        self.run_with(command(argv), b"").unwrap()
    }

    /// Runs a shell line and returns what it wrote.
    #[track_caller]
    pub fn sh(&mut self, line: &str) -> String {
        let done = self.run(&["/bin/sh", "-c", line]);
        format!("{}{}", done.output, done.errors)
    }

    pub fn run_with(&mut self, exec: Exec, input: &[u8]) -> Result<Done, Refusal> {
        let (id, fds) = self.exec(exec)?;
        let [stdin, stdout, stderr] = <[OwnedFd; 3]>::try_from(fds).unwrap().map(std::fs::File::from);
        let input = input.to_vec();
        let feeding = std::thread::spawn(move || {
            let mut stdin = stdin;
            let _ = stdin.write_all(&input);
        });
        let reading = std::thread::spawn(move || read_all(stderr));
        let output = read_all(stdout);
        feeding.join().unwrap();
        let errors = reading.join().unwrap();
        let status = self.wait(id).shell_status().unwrap();
        Ok(Done { status, output, errors })
    }

    pub fn exec(&mut self, exec: Exec) -> Result<(ExecId, Vec<OwnedFd>), Refusal> {
        match self.client.call(Request::Exec(exec), &[]) {
            Ok((Answer::Executed { id, .. }, fds)) => Ok((id, fds)),
            Err(ClientError::Refused(refusal)) => Err(refusal),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub fn wait(&mut self, id: ExecId) -> ExecState {
        match self.client.call(Request::ExecWait { id }, &[]) {
            Ok((Answer::ExecEnded(status), _)) => status.state,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub fn ask(&mut self, request: Request) -> Result<Answer, Refusal> {
        match self.client.call(request, &[]) {
            Ok((answer, _)) => Ok(answer),
            Err(ClientError::Refused(refusal)) => Err(refusal),
            Err(error) => panic!("{error:?}"),
        }
    }

    #[track_caller]
    pub fn status(&mut self) -> Status {
        match self.ask(Request::Status) {
            Ok(Answer::Status(status)) => *status,
            other => panic!("{other:?}"),
        }
    }

    /// Waits for the report of its end.
    #[track_caller]
    pub fn exit(&mut self) -> ExitReason {
        loop {
            match self.report() {
                Report::Exited { reason } => return reason,
                Report::Warning(text) => panic!("warning: {text}"),
                _ => {}
            }
        }
    }

    /// Waits for the next report.
    #[track_caller]
    pub fn report(&mut self) -> Report {
        self.client.next_report().unwrap()
    }
}

/// A command with pipes, as root.
pub fn command(argv: &[&str]) -> Exec {
    Exec {
        argv: argv.iter().map(|text| (*text).to_owned()).collect(),
        env: BTreeMap::from([("PATH".into(), "/bin:/sbin".into())]),
        cwd: "/".into(),
        uid: 0,
        gid: 0,
        groups: Vec::new(),
        streams: Streams::Pipes,
        label: None,
    }
}

/// The sealed monitor, one for all tests of a file.
pub fn program() -> &'static MonitorProgram {
    static PROGRAM: std::sync::OnceLock<MonitorProgram> = std::sync::OnceLock::new();
    PROGRAM.get_or_init(load_program)
}

pub fn load_program() -> MonitorProgram {
    MonitorProgram::load(Path::new(env!("CARGO_BIN_EXE_coffer-monitor"))).unwrap()
}

/// Checks that nothing of an instance is left: no control group, no mount of its directory.
#[track_caller]
pub fn check_clean(cgroup: &str, dir: &Path) {
    let top = cgroup.rsplit_once('/').unwrap().0;
    assert!(!top.contains(".."), "no place to look for leftovers: {top}");
    for hierarchy in std::fs::read_dir("/sys/fs/cgroup").unwrap() {
        let left = hierarchy.unwrap().path().join(top);
        assert!(!left.exists(), "{} is left", left.display());
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(dir.to_str().unwrap()), "a mount is left:\n{mounts}");
}

/// Waits until a descriptor is readable.
#[track_caller]
pub fn wait_readable(fd: impl AsFd) {
    let timeout = rustix::time::Timespec { tv_sec: DEADLINE.as_secs() as i64, tv_nsec: 0 };
    let ready = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout)).unwrap();
    assert_eq!(ready, 1, "nothing came in time");
}

/// Reads until `text` has come and returns everything so far.
#[track_caller]
pub fn read_until(mut file: impl Read + AsFd, text: &str) -> String {
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(&all).contains(text) {
        wait_readable(&file);
        let length = file.read(&mut buffer).unwrap_or(0);
        assert_ne!(length, 0, "it ended before {text:?}: {:?}", String::from_utf8_lossy(&all));
        all.extend_from_slice(&buffer[..length]);
    }
    String::from_utf8_lossy(&all).into_owned()
}

fn read_all(mut file: impl Read) -> String {
    let mut all = Vec::new();
    // A terminal whose other side is gone ends with an error.
    let _ = file.read_to_end(&mut all);
    String::from_utf8_lossy(&all).into_owned()
}

fn busybox() -> &'static str {
    ["/usr/bin/busybox", "/bin/busybox"].into_iter().find(|path| Path::new(path).exists()).expect("busybox-static is installed")
}

const APPLETS: [&str; 44] = [
    "sh", "cat", "ls", "id", "sleep", "true", "false", "echo", "env", "pwd", "hostname", "ps", "kill", "stty", "tty", "mount", "umount",
    "ip", "grep", "dd", "yes", "head", "tail", "touch", "mkdir", "rm", "reboot", "poweroff", "halt", "test", "readlink", "stat", "wc",
    "chmod", "sync", "seq", "mknod", "ln", "unshare", "chroot", "cut", "tr", "ping", "sysctl",
];
