//! How readily the kernel kills processes of the instance when memory runs out.

use coffer_runtime_spec::Stage;
use rustix::io::Errno;

use crate::failed::{At, Failed};

/// Sets our own, from outside still: root of the instance may not go below what it began with.
pub(crate) fn set(score: Option<i16>, warnings: &mut Vec<String>) -> Result<(), Failed> {
    write("/proc/self/oom_score_adj", score, warnings)
}

/// Sets that of init, a child of ours.
pub(crate) fn set_of(pid: u32, score: Option<i16>, warnings: &mut Vec<String>) -> Result<(), Failed> {
    write(&format!("/proc/{pid}/oom_score_adj"), score, warnings)
}

/// Source: proc_pid_oom_score_adj(5).
fn write(path: &str, score: Option<i16>, warnings: &mut Vec<String>) -> Result<(), Failed> {
    let Some(score) = score else { return Ok(()) };
    match std::fs::write(path, score.to_string()) {
        Err(error) if matches!(error.raw_os_error().map(Errno::from_raw_os_error), Some(Errno::ACCESS | Errno::PERM)) => {
            warnings.push(format!("limits.memory.oom_priority {score} is not permitted on this host"));
            Ok(())
        }
        other => other.at(Stage::Rlimits, || format!("writing {score} to {path}")),
    }
}
