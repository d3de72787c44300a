//! Becoming the program.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::io;

use coffer_runtime_spec::{Init, Stage};
use coffer_sys::path::Root;
use coffer_sys::process::{self, Strings};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::failed::{At, Failed};

/// Where a program without a slash is looked up if the environment has no `PATH`.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program ready to be executed.
pub(crate) struct Program {
    candidates: Vec<CString>,
    name: String,
    argv: Strings,
    env: Strings,
}

impl Program {
    /// Prepares a program; one without a slash is looked up in `PATH` of its environment when it is executed.
    ///
    /// # Errors
    /// An argument or variable with a zero byte.
    pub(crate) fn new(argv: &[String], env: &BTreeMap<String, String>) -> Result<Self, Failed> {
        let text = |text: &str| CString::new(text).map_err(|_| Failed::new(Stage::Exec, format!("{text:?} has a zero byte")));
        let name = argv.first().filter(|name| !name.is_empty()).ok_or_else(|| Failed::new(Stage::Exec, "the command is empty"))?;
        let candidates = if name.contains('/') {
            vec![text(name)?]
        } else {
            let path = env.get("PATH").map_or(PATH, String::as_str);
            let dir = |dir: &str| if dir.is_empty() { ".".to_owned() } else { dir.to_owned() };
            path.split(':').map(|part| text(&format!("{}/{name}", dir(part)))).collect::<Result<_, _>>()?
        };
        let variables = env.iter().map(|(key, value)| text(&format!("{key}={value}"))).collect::<Result<_, _>>()?;
        let arguments = argv.iter().map(|argument| text(argument)).collect::<Result<_, _>>()?;
        Ok(Self { candidates, name: name.clone(), argv: Strings::new(arguments), env: Strings::new(variables) })
    }

    /// Becomes the program. Returns only if that failed.
    pub(crate) fn execute(&self) -> Failed {
        // The monitor's own is 0, so that modes are what it says; a program expects the usual one.
        rustix::process::umask(Mode::from_raw_mode(0o022));
        let prepared = process::close_on_exec_from(3).and_then(|()| process::reset_signals());
        if let Err(failed) = prepared.at(Stage::Exec, || "preparing".into()) {
            return failed;
        }
        let mut worst = io::Error::from(Errno::NOENT);
        for path in &self.candidates {
            let error = process::execve(path, &self.argv, &self.env);
            match error.raw_os_error().map(Errno::from_raw_os_error) {
                Some(Errno::NOENT | Errno::NOTDIR) => {}
                // Another directory may have one that we may execute; if not, this is what to tell.
                Some(Errno::ACCESS) => worst = error,
                _ => {
                    worst = error;
                    break;
                }
            }
        }
        Failed { stage: Stage::Exec, errno: worst.raw_os_error(), text: format!("executing {}: {worst}", self.name) }
    }
}

/// Prepares init: its working directory is entered, its environment completed.
pub(crate) fn program(init: &Init, root: &Root) -> Result<Program, Failed> {
    enter(&init.cwd, root)?;
    let mut env = init.env.clone();
    env.entry("PATH".into()).or_insert_with(|| PATH.into());
    env.entry("container".into()).or_insert_with(|| "lxc".into());
    Program::new(&init.argv, &env)
}

/// Enters a working directory. Magic links of `/proc` are refused: they could lead to a directory of the host.
pub(crate) fn enter(cwd: &str, root: &Root) -> Result<(), Failed> {
    use std::os::fd::AsFd;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let dir = coffer_sys::path::openat2(root.as_fd(), cwd, flags, Mode::empty(), resolve);
    dir.and_then(rustix::process::fchdir).at(Stage::WorkingDirectory, || format!("entering {cwd}"))
}
