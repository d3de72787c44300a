//! `cargo xtask try`: from a fresh checkout to a container's own output, in one command.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use coffer_test_images::busybox;

use crate::images::explain;
use crate::run::{as_root, build_directory, command, finish, installed, is_root, show};
use crate::{Outcome, packages};

/// What the container is asked to say.
const SCRIPT: &str = "echo Hello from $(hostname), process $$ of an init of its own; id; ip -4 address show eth0";

/// Builds (unless that is done), starts a private daemon, runs a container in it, shows how to go on, cleans up.
///
/// # Errors
/// Whatever went wrong, as the user sees it.
pub fn run(built: bool) -> Outcome {
    packages::ensure(&["build", "run", "try"])?;
    if !is_root() && !installed("sudo") {
        return Err("a container needs root: run this as root, or install sudo".into());
    }
    if !built {
        let programs = ["cofferd", "coffer", "coffer-monitor", "coffer-unpack", "coffer-files"];
        show("cargo", ["build", "--bins"].into_iter().chain(programs.into_iter().flat_map(|program| ["--package", program])))?;
    }
    let target = build_directory()?;
    let image = busybox(&target.join("images")).map_err(|error| explain("busybox", &error))?;
    let stage = Stage::set(&target)?;
    let outcome = stage.play(&image.unified);
    stage.clear();
    outcome?;
    stage.show_how_to_go_on();
    Ok(())
}

/// A private daemon: its programs and its state directory.
struct Stage {
    programs: PathBuf,
    dir: PathBuf,
}

impl Stage {
    fn set(target: &Path) -> Result<Self, String> {
        let stamp = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        // Short, because the path of a unix socket holds 107 bytes at most.
        let dir = PathBuf::from(format!("/tmp/coffer-try-{}-{stamp}", std::process::id()));
        let programs = target.join("debug");
        fs::create_dir(&dir).map_err(|error| format!("creating {}: {error}", dir.display()))?;
        Ok(Self { programs, dir })
    }

    fn play(&self, image: &Path) -> Outcome {
        let mut daemon = self.start_daemon()?;
        let played = self.scenes(image);
        let stopped = if played.is_ok() { self.coffer(&["admin", "shutdown", "--timeout", "60"]) } else { Ok(()) };
        if played.is_err() || stopped.is_err() {
            self.coffer_quietly(&["admin", "shutdown", "--timeout", "10"]);
            let _ = daemon.kill();
            self.print_log();
        }
        let _ = daemon.wait();
        played.and(stopped)
    }

    fn scenes(&self, image: &Path) -> Outcome {
        self.coffer(&["admin", "waitready", "--timeout", "60"])?;
        self.coffer(&["image", "import", &image.display().to_string(), "--alias", "small"])?;
        self.coffer(&["launch", "small", "first"])?;
        self.coffer(&["exec", "first", "--", "sh", "-c", SCRIPT])?;
        self.coffer(&["list"])?;
        self.coffer(&["delete", "--force", "first"])
    }

    fn start_daemon(&self) -> Result<Child, String> {
        let log = self.dir.join("daemon.log");
        let log = fs::File::create(&log).map_err(|error| format!("creating {}: {error}", log.display()))?;
        println!("+ COFFER_DIR={} cofferd   (in network and mount namespaces of its own)", self.dir.join("state").display());
        let mut command = self.command(&["unshare", "--net", "--mount", "--propagation", "private"], "cofferd", &[]);
        let errors = log.try_clone().map_err(|error| format!("sharing the daemon's log: {error}"))?;
        command.stdout(log).stderr(errors).spawn().map_err(|error| format!("starting cofferd: {error}"))
    }

    fn coffer(&self, words: &[&str]) -> Outcome {
        println!("+ coffer {}", words.join(" "));
        finish(&format!("coffer {}", words[0]), self.command(&[], "coffer", words).status())
    }

    fn coffer_quietly(&self, words: &[&str]) {
        let _ = self.command(&[], "coffer", words).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }

    /// Prepares one of our programs, in this stage's state directory, as root, behind the words of `wrapper`.
    fn command(&self, wrapper: &[&str], program: &str, words: &[&str]) -> Command {
        let mut whole: Vec<String> = as_root().into_iter().map(str::to_owned).collect();
        whole.extend(["env".to_owned(), format!("COFFER_DIR={}", self.dir.join("state").display())]);
        whole.extend(wrapper.iter().map(|&word| word.to_owned()));
        whole.push(self.programs.join(program).display().to_string());
        whole.extend(words.iter().map(|&word| word.to_owned()));
        command(&whole[0], &whole[1..])
    }

    fn print_log(&self) {
        let log = fs::read_to_string(self.dir.join("daemon.log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        println!("The daemon's last words:\n  {}", lines[lines.len().saturating_sub(20)..].join("\n  "));
    }

    /// Removes the state directory. Bridges and mounts went with the daemon's namespaces.
    fn clear(&self) {
        let mut whole = as_root();
        let dir = self.dir.display().to_string();
        whole.extend(["rm", "--recursive", "--force", "--one-file-system", &dir]);
        let _ = command(whole[0], &whole[1..]).status();
    }

    fn show_how_to_go_on(&self) {
        let programs = self.programs.display();
        let images = self.programs.with_file_name("images").display().to_string();
        println!(
            "\nThat was a container, from nothing to its own output; everything is removed again.\n\
             To go on, as root, with a daemon that stays:\n\n  \
             export COFFER_DIR=/var/lib/coffer PATH={programs}:$PATH\n  \
             cofferd &\n  \
             coffer admin waitready && coffer admin init --auto\n  \
             coffer image import {images}/busybox-*/unified.tar.xz --alias small\n  \
             coffer launch small first && coffer shell first\n\n\
             `coffer --help` lists the commands; the genuine lxc command works too, with LXD_DIR=$COFFER_DIR."
        );
    }
}
