//! Starting programs, visibly.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Outcome;

/// Returns the top of the repository.
pub fn top() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Returns the build directory: the one this program was built into.
///
/// # Errors
/// The running program does not lie in a build directory.
pub fn build_directory() -> Result<PathBuf, String> {
    let exe = std::env::current_exe().map_err(|error| format!("finding the running program: {error}"))?;
    let found = exe.ancestors().find(|dir| dir.join("CACHEDIR.TAG").is_file());
    found.map(Path::to_path_buf).ok_or_else(|| format!("{} does not lie in a build directory", exe.display()))
}

/// Prepares a program that runs at the top of the repository, without standard input.
pub fn command<A: AsRef<std::ffi::OsStr>>(program: impl AsRef<std::ffi::OsStr>, args: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(top()).stdin(Stdio::null());
    command
}

/// Prepares a program that runs at the top of the repository, without standard input and with nothing but a path to
/// find programs by: what it does must not hang on who runs it.
pub fn quiet<A: AsRef<std::ffi::OsStr>>(program: impl AsRef<std::ffi::OsStr>, args: impl IntoIterator<Item = A>) -> Command {
    let mut command = command(program, args);
    command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C.UTF-8");
    command.envs(std::env::vars_os().filter(|(name, _)| name.to_string_lossy().to_lowercase().ends_with("_proxy")));
    command
}

/// Says what is run, and runs it with this program's own output.
///
/// # Errors
/// The program is missing or did not succeed.
pub fn show<A: AsRef<std::ffi::OsStr>>(program: &str, args: impl IntoIterator<Item = A>) -> Outcome {
    let mut command = command(program, args);
    println!("+ {}", line(&command));
    finish(program, command.status())
}

/// Runs a program and returns what it wrote to standard output.
///
/// # Errors
/// The program is missing or did not succeed.
pub fn capture<A: AsRef<std::ffi::OsStr>>(program: &str, args: impl IntoIterator<Item = A>) -> Result<String, String> {
    let output = command(program, args).stderr(Stdio::inherit()).output().map_err(|error| format!("starting {program}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{program} failed: {}", output.status));
    }
    String::from_utf8(output.stdout).map_err(|_| format!("{program} wrote something that is no UTF-8"))
}

/// Turns the end of a program into an outcome.
///
/// # Errors
/// The program could not be started or did not succeed.
pub fn finish(program: &str, status: std::io::Result<std::process::ExitStatus>) -> Outcome {
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{program} failed: {status}")),
        Err(error) => Err(format!("starting {program}: {error}")),
    }
}

/// Writes a command as one would type it.
pub fn line(command: &Command) -> String {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// Says whether a program is installed.
pub fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(system).any(|dir| dir.join(program).is_file())
}

/// Returns the words that a command needing root starts with: none as root, else `sudo`.
pub fn as_root() -> Vec<&'static str> {
    if is_root() { Vec::new() } else { vec!["sudo"] }
}

/// Says whether this machine has this kind of processor.
pub fn on_this_processor(kind: &str) -> bool {
    std::env::consts::ARCH == kind
}

/// Says whether this process runs as root.
pub fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    uid.and_then(|ids| ids.split_whitespace().nth(1)) == Some("0")
}
