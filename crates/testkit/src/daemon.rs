//! A real daemon in a pen of its own, and the clients that talk to it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::api::Api;
use crate::invocation::Invocation;
use crate::pen::{Pen, program};
use crate::terminal::Terminal;
use crate::world::World;
use crate::{images, wait};

/// Where the distribution puts the genuine client.
pub const GENUINE_CLIENT: &str = "/usr/bin/lxc";

/// Where the distribution puts genuine LXD.
pub const GENUINE_LXD: &str = "/usr/bin/lxd";

/// How long a daemon may take to start or to stop, in seconds.
const PATIENCE: u64 = 30;

/// How to start a daemon.
#[derive(Debug, Clone, Default)]
pub struct Options {
    environment: Vec<(String, String)>,
    state_size: Option<u64>,
    hidden_files: Vec<&'static str>,
    host_cgroups: bool,
    group: Option<u32>,
    verbose: bool,
}

impl Options {
    /// Lets the daemon log also what goes as it should.
    #[must_use]
    pub fn verbose(mut self) -> Self {
        self.verbose = true;
        self
    }

    /// Lets members of this group use the daemon's socket.
    #[must_use]
    pub fn group(mut self, group: u32) -> Self {
        self.group = Some(group);
        self
    }

    /// Sets a variable of the daemon's environment.
    #[must_use]
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.environment.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Puts the state directory on a file system that holds only this many bytes.
    #[must_use]
    pub fn state_size(mut self, bytes: u64) -> Self {
        self.state_size = Some(bytes);
        self
    }

    /// Lets the daemon see the host's cgroups instead of its pen's alone.
    #[must_use]
    pub fn host_cgroups(mut self) -> Self {
        self.host_cgroups = true;
        self
    }

    /// Lets the daemon see an empty file in this one's place.
    #[must_use]
    pub fn empty_file(mut self, path: &'static str) -> Self {
        self.hidden_files.push(path);
        self
    }
}

/// A running daemon with a state directory, a network, mounts and cgroups of its own.
#[derive(Debug)]
pub struct Daemon {
    process: Option<Child>,
    /// Several daemons may live in one.
    pen: Arc<Pen>,
    dir: PathBuf,
    options: Options,
    genuine_lxd: bool,
}

impl Daemon {
    /// Starts a daemon and waits until it answers.
    ///
    /// # Panics
    /// It is not built, or does not start.
    #[must_use]
    #[track_caller]
    pub fn start() -> Self {
        Self::start_with(Options::default())
    }

    /// Starts a daemon in its own way and waits until it answers.
    ///
    /// # Panics
    /// It is not built, or does not start.
    #[must_use]
    #[track_caller]
    pub fn start_with(options: Options) -> Self {
        let mut daemon = Self::prepare(options);
        daemon.launch();
        daemon
    }

    /// Starts LXD itself in the same surroundings: the benchmark's other side.
    ///
    /// # Panics
    /// It is not installed, or does not start.
    #[must_use]
    #[track_caller]
    pub fn start_genuine_lxd() -> Self {
        let mut daemon = Self::prepare(Options::default().host_cgroups());
        daemon.genuine_lxd = true;
        daemon.launch();
        daemon
    }

    /// Starts LXD itself in the surroundings of one of our daemons: they share its network.
    ///
    /// # Panics
    /// It is not installed, or does not start.
    #[must_use]
    #[track_caller]
    pub fn start_genuine_lxd_beside(other: &Self) -> Self {
        let mut daemon = Self::prepare_in(other.pen.clone(), Options::default());
        daemon.genuine_lxd = true;
        daemon.launch();
        daemon
    }

    /// Makes the surroundings without starting anything in them.
    #[must_use]
    #[track_caller]
    pub fn prepare(options: Options) -> Self {
        let pen = if options.host_cgroups { Pen::with_host_cgroups() } else { Pen::new() };
        Self::prepare_in(Arc::new(pen), options)
    }

    /// Starts another daemon in the surroundings of one that is there: they share its network.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    #[track_caller]
    pub fn start_beside(other: &Self, options: Options) -> Self {
        let mut daemon = Self::prepare_in(other.pen.clone(), options);
        daemon.launch();
        daemon
    }

    #[track_caller]
    fn prepare_in(pen: Arc<Pen>, options: Options) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // Short: the path of a unix socket below it holds 107 bytes at most.
        let dir = PathBuf::from(format!("/tmp/coffer-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
        // A killed run whose process number came round again may have left one.
        let _ = fs::remove_dir_all(&dir);
        for sub in ["state", "client", "lxc", "home"] {
            fs::create_dir_all(dir.join(sub)).expect("a directory for the test");
        }
        // Without a file of its own the genuine client greets its user and shows the way to `lxd init`.
        // Without a map of aliases it cannot add one: it writes to a map that is none.
        fs::write(dir.join("lxc/config.yml"), "default-remote: local\naliases: {}\n").expect("the client's configuration");
        let daemon = Self { process: None, pen, dir, options, genuine_lxd: false };
        daemon.set_up_mounts();
        daemon
    }

    fn set_up_mounts(&self) {
        if let Some(size) = self.options.state_size {
            let size = format!("size={size},mode=711");
            self.inside("mount", ["-t", "tmpfs", "-o", &size, "tmpfs", &self.state().display().to_string()]).ok();
        }
        if !self.options.hidden_files.is_empty() {
            let empty = self.dir.join("empty");
            fs::write(&empty, "").expect("an empty file");
            for hidden in &self.options.hidden_files {
                self.inside("mount", ["--bind", &empty.display().to_string(), hidden]).ok();
            }
        }
    }

    /// Starts the daemon's process and waits until it answers.
    ///
    /// # Panics
    /// It does not start.
    #[track_caller]
    pub fn launch(&mut self) {
        self.spawn();
        if let Err(why) = self.wait_ready() {
            panic!("{why}\n{}", self.log());
        }
    }

    /// Starts the daemon's process without waiting for it.
    ///
    /// # Panics
    /// It cannot be started.
    #[track_caller]
    pub fn spawn(&mut self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log_path()).expect("the daemon's log");
        let mut command = if self.genuine_lxd {
            let mut command = self.pen.daemon_command(GENUINE_LXD);
            command.args(["--group", "root"]);
            command
        } else {
            let mut command = self.pen.daemon_command(&program("cofferd").display().to_string());
            command.args(self.options.verbose.then_some("--verbose"));
            command.args(self.options.group.iter().flat_map(|group| ["--group".to_owned(), group.to_string()]));
            command
        };
        self.surround(&mut command);
        command.envs(self.options.environment.iter().map(|(key, value)| (key, value)));
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("another descriptor of the log")).stderr(log);
        self.process = Some(command.spawn().expect("the daemon's process"));
    }

    /// Waits until the daemon answers.
    ///
    /// # Errors
    /// It ends, or does not answer in time; the text says which.
    pub fn wait_ready(&mut self) -> Result<(), String> {
        let pid = self.pid();
        let api = self.api();
        // The socket is there a moment before it listens, and neither tells when: hence questions instead of an event.
        let ready = wait::until(pid, wait::patience(PATIENCE), || {
            api.request("GET", "/internal/ready", None).is_ok_and(|answer| answer.status == 200)
        });
        if ready {
            return Ok(());
        }
        match self.process.as_mut().map(Child::try_wait) {
            Some(Ok(Some(status))) => {
                self.process = None;
                Err(format!("the daemon ended: {status}"))
            }
            _ => Err(format!("the daemon did not get ready within {:?}", wait::patience(PATIENCE))),
        }
    }

    /// Sets a variable of the environment that the daemon's next start has.
    pub fn set_env(&mut self, key: &str, value: &str) {
        self.unset_env(key);
        self.options.environment.push((key.to_owned(), value.to_owned()));
    }

    /// Takes a variable out of the environment that the daemon's next start has.
    pub fn unset_env(&mut self, key: &str) {
        self.options.environment.retain(|(name, _)| name != key);
    }

    /// The daemon's process number.
    ///
    /// # Panics
    /// It does not run.
    #[must_use]
    #[track_caller]
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("a daemon that runs").id()
    }

    /// The daemon's state directory.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// The same directory as the daemon sees it, with what is mounted there only in its pen.
    #[must_use]
    pub fn state_seen(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{}", self.pen.pid(), self.state().display()))
    }

    /// A directory that belongs to the test and goes with it.
    #[must_use]
    pub fn scratch(&self) -> PathBuf {
        self.dir.join("home")
    }

    /// The pen that the daemon lives in.
    #[must_use]
    pub fn pen(&self) -> &Pen {
        &self.pen
    }

    /// The daemon's API.
    #[must_use]
    pub fn api(&self) -> Api {
        Api::new(&self.state_seen().join("unix.socket"))
    }

    /// Prepares the genuine `lxc`, as a user of this daemon.
    #[must_use]
    pub fn lxc<A: AsRef<str>>(&self, args: impl IntoIterator<Item = A>) -> Invocation {
        self.client(GENUINE_CLIENT, "lxc", args)
    }

    /// Prepares our own command.
    #[must_use]
    #[track_caller]
    pub fn coffer<A: AsRef<str>>(&self, args: impl IntoIterator<Item = A>) -> Invocation {
        self.client(&program("coffer").display().to_string(), "coffer", args)
    }

    /// Prepares any program in the daemon's network and mount namespaces.
    #[must_use]
    pub fn inside<A: AsRef<str>>(&self, program: &str, args: impl IntoIterator<Item = A>) -> Invocation {
        self.client(program, program, args)
    }

    /// Prepares a client outside the daemon's namespaces: a unix socket is reached from anywhere, and entering takes time.
    #[must_use]
    #[track_caller]
    pub fn client_outside<A: AsRef<str>>(&self, args: impl IntoIterator<Item = A>) -> Invocation {
        let (path, name) = if self.genuine_lxd { (PathBuf::from(GENUINE_CLIENT), "lxc") } else { (program("coffer"), "coffer") };
        let args: Vec<_> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        let mut command = Command::new(path);
        command.args(&args).env_clear().env("PATH", crate::pen::PATH).env("LC_ALL", "C.UTF-8");
        self.surround(&mut command);
        Invocation::new(command, format!("{name} {}", args.join(" ")))
    }

    fn client<A: AsRef<str>>(&self, path: &str, name: &str, args: impl IntoIterator<Item = A>) -> Invocation {
        let mut command = self.pen.command(path);
        let mut words = name.to_owned();
        for arg in args {
            command.arg(arg.as_ref());
            words.push(' ');
            words.push_str(arg.as_ref());
        }
        self.surround(&mut command);
        Invocation::new(command, words)
    }

    /// Starts a client's command on a terminal.
    #[must_use]
    #[track_caller]
    pub fn on_terminal(&self, invocation: Invocation, columns: u16, rows: u16) -> Terminal {
        Terminal::start(&invocation.into_command(), columns, rows)
    }

    fn surround(&self, command: &mut Command) {
        let state = self.state();
        command.env("COFFER_DIR", &state).env("LXD_DIR", &state);
        command.env("LXD_CONF", self.dir.join("lxc")).env("COFFER_CONF", self.dir.join("client")).env("HOME", self.dir.join("home"));
    }

    /// Ends the daemon as `kill -9` does.
    #[track_caller]
    pub fn kill9(&mut self) {
        let mut process = self.process.take().expect("a daemon that runs");
        let _ = process.kill();
        let _ = process.wait();
    }

    /// Stops the daemon with SIGTERM; instances live on.
    ///
    /// # Panics
    /// It does not end well.
    #[track_caller]
    pub fn stop(&mut self) {
        let mut process = self.process.take().expect("a daemon that runs");
        let pid = rustix::process::Pid::from_child(&process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("a signal to our own child");
        assert!(wait::ended(process.id(), wait::patience(PATIENCE)), "the daemon did not end on SIGTERM\n{}", self.log());
        let status = process.wait().expect("the end of a child");
        assert!(status.success(), "the daemon ended with {status}\n{}", self.log());
    }

    /// Waits until the daemon ends by itself, as after a failure point; true if it did.
    pub fn wait_end(&mut self, time: Duration) -> bool {
        let Some(process) = self.process.as_mut() else { return true };
        let ended = wait::ended(process.id(), time);
        if ended {
            let _ = process.wait();
            self.process = None;
        }
        ended
    }

    /// Stops the daemon with SIGTERM and starts it again.
    ///
    /// # Panics
    /// It does not.
    #[track_caller]
    pub fn restart(&mut self) {
        self.stop();
        self.launch();
    }

    /// Makes a pool `default`, a bridge `testbr0` and puts both into the default profile.
    ///
    /// # Panics
    /// The daemon refuses.
    #[track_caller]
    pub fn initialise(&self, driver: &str) {
        self.initialise_with(driver, &if driver == "btrfs" { json!({"size": "2GiB"}) } else { json!({}) });
    }

    /// Like [`Daemon::initialise`], with keys of the pool's own.
    ///
    /// # Panics
    /// The daemon refuses.
    #[track_caller]
    pub fn initialise_with(&self, driver: &str, config: &Value) {
        let api = self.api();
        api.expect("POST", "/1.0/storage-pools", Some(&json!({"name": "default", "driver": driver, "config": config})));
        let bridge = json!({"ipv4.address": "10.99.7.1/24", "ipv4.nat": "true", "ipv6.address": "none"});
        api.expect("POST", "/1.0/networks", Some(&json!({"name": "testbr0", "type": "bridge", "config": bridge})));
        let devices = json!({
            "root": {"type": "disk", "path": "/", "pool": "default"},
            "eth0": {"type": "nic", "network": "testbr0", "name": "eth0"},
        });
        api.expect("PUT", "/1.0/profiles/default", Some(&json!({"config": {}, "description": "", "devices": devices})));
    }

    /// Makes a pool `default` and puts it into the default profile; no network.
    ///
    /// # Panics
    /// The daemon refuses.
    #[track_caller]
    pub fn initialise_storage(&self) {
        let api = self.api();
        api.expect("POST", "/1.0/storage-pools", Some(&json!({"name": "default", "driver": "dir", "config": {}})));
        let devices = json!({"root": {"type": "disk", "path": "/", "pool": "default"}});
        api.expect("PUT", "/1.0/profiles/default", Some(&json!({"config": {}, "description": "", "devices": devices})));
    }

    /// Uploads an image and gives it an alias.
    ///
    /// # Panics
    /// The daemon refuses.
    #[track_caller]
    pub fn import(&self, archive: &Path, alias: &str) -> String {
        let bytes = fs::read(archive).unwrap_or_else(|error| panic!("reading {}: {error}", archive.display()));
        let headers = [("Content-Type", "application/octet-stream"), ("X-LXD-filename", "unified.tar.xz")];
        let answer = self.api().send("POST", "/1.0/images", &headers, &bytes).expect("an answer to the upload").json();
        let operation = answer["operation"].as_str().unwrap_or_else(|| panic!("uploading an image: {answer}"));
        let end = self.api().get(&format!("{operation}/wait?timeout=60"));
        assert_eq!(end["status_code"], 200, "uploading an image: {end}");
        let fingerprint = end["metadata"]["fingerprint"].as_str().unwrap_or_else(|| panic!("an image without a fingerprint: {end}"));
        self.api().expect("POST", "/1.0/images/aliases", Some(&json!({"name": alias, "target": fingerprint})));
        fingerprint.to_owned()
    }

    /// Uploads the busybox image as `small`.
    ///
    /// # Panics
    /// It cannot be made, or the daemon refuses.
    #[track_caller]
    pub fn import_busybox(&self) -> String {
        self.import(&images::busybox().unified, "small")
    }

    /// Creates an instance from an image's alias and starts it.
    ///
    /// # Panics
    /// The daemon refuses.
    #[track_caller]
    pub fn run_instance(&self, alias: &str, name: &str) {
        self.create_instance(alias, name);
        self.change_state(name, "start");
    }

    /// Creates an instance from an image's alias.
    ///
    /// # Panics
    /// The daemon refuses.
    #[track_caller]
    pub fn create_instance(&self, alias: &str, name: &str) {
        self.api().expect("POST", "/1.0/instances", Some(&json!({"name": name, "source": {"type": "image", "alias": alias}})));
    }

    /// Creates an instance from an image's fingerprint and starts it.
    ///
    /// # Panics
    /// The daemon refuses.
    #[track_caller]
    pub fn run_instance_of(&self, fingerprint: &str, name: &str) {
        let source = json!({"type": "image", "fingerprint": fingerprint});
        self.api().expect("POST", "/1.0/instances", Some(&json!({"name": name, "source": source})));
        self.change_state(name, "start");
    }

    /// Changes an instance's state: `start`, `stop` (at once), `restart` (at once), `freeze`, `unfreeze`.
    ///
    /// # Panics
    /// The daemon refuses.
    #[track_caller]
    pub fn change_state(&self, name: &str, action: &str) {
        let force = matches!(action, "stop" | "restart");
        let body = json!({"action": action, "timeout": 30, "force": force});
        self.api().expect("PUT", &format!("/1.0/instances/{name}/state"), Some(&body));
    }

    /// Returns an instance's state object.
    ///
    /// # Panics
    /// The daemon refuses.
    #[must_use]
    #[track_caller]
    pub fn instance_state(&self, name: &str) -> Value {
        self.api().get(&format!("/1.0/instances/{name}/state"))
    }

    /// Returns an instance's global IPv4 address on this interface, waiting for it.
    ///
    /// # Panics
    /// It does not come in time.
    #[must_use]
    #[track_caller]
    pub fn ipv4(&self, name: &str, interface: &str) -> String {
        let mut found = None;
        wait::until(self.pid(), wait::patience(PATIENCE), || {
            let state = self.instance_state(name);
            let addresses = state["network"][interface]["addresses"].as_array().cloned().unwrap_or_default();
            let address = addresses.iter().find(|address| address["family"] == "inet" && address["scope"] == "global");
            found = address.and_then(|address| address["address"].as_str().map(str::to_owned));
            found.is_some()
        });
        found.unwrap_or_else(|| panic!("{name} got no IPv4 address on {interface}: {}", self.instance_state(name)))
    }

    /// Takes a picture of everything the daemon can leave behind.
    #[must_use]
    #[track_caller]
    pub fn world(&self) -> World {
        World::of(&self.pen, &self.state(), &self.state_seen())
    }

    /// Waits until the world holds nothing that was not there before.
    ///
    /// # Panics
    /// Something stays.
    #[track_caller]
    pub fn expect_nothing_since(&self, before: &World) {
        let mut left = Vec::new();
        // Network links and cgroups of a dead instance go when the kernel gets to it, which it does not announce.
        wait::until(self.pen.pid(), wait::patience(10), || {
            left = self.world().since(before);
            left.is_empty()
        });
        assert!(left.is_empty(), "left behind:\n  {}\n{}", left.join("\n  "), self.log());
    }

    /// Waits until nothing in the world is called by this name.
    ///
    /// # Panics
    /// Something stays.
    #[track_caller]
    pub fn expect_no_trace(&self, name: &str) {
        let mut left = Vec::new();
        wait::until(self.pen.pid(), wait::patience(10), || {
            left = self.world().about(name);
            left.is_empty()
        });
        assert!(left.is_empty(), "left behind of {name}:\n  {}\n{}", left.join("\n  "), self.log());
    }

    /// Waits until `question` is answered with true, the daemon dies, or half a minute is over; returns the last answer.
    pub fn eventually(&self, question: impl FnMut() -> bool) -> bool {
        wait::until(self.pen.pid(), wait::patience(PATIENCE), question)
    }

    /// The end of what the daemon wrote to its log.
    #[must_use]
    pub fn log(&self) -> String {
        let text = fs::read_to_string(self.log_path()).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        format!("the daemon's last words:\n  {}", lines[lines.len().saturating_sub(40)..].join("\n  "))
    }

    fn log_path(&self) -> PathBuf {
        self.dir.join("daemon.log")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.log());
        }
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
        // What is mounted in the pen must go before the directory can.
        if let Some(pen) = Arc::get_mut(&mut self.pen) {
            pen.end();
        }
        if std::env::var_os("COFFER_TEST_KEEP").is_some() {
            println!("kept: {}", self.dir.display());
            return;
        }
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            println!("removing {}: {error}", self.dir.display());
        }
    }
}

/// Says whether the daemon was built with its failure points; else prints why the test is skipped.
#[must_use]
#[track_caller]
pub fn has_fault_points() -> bool {
    let bytes = fs::read(program("cofferd")).unwrap_or_default();
    let marker = b"COFFER_FAULT";
    let there = bytes.windows(marker.len()).any(|window| window == marker);
    if !there {
        crate::skipped("cofferd is built without its failure points; `cargo xtask test` builds it with them");
    }
    there
}
