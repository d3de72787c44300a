//! Whose a build is: so that what a killed one left is told from what another one is using.

use std::fs;

/// The key that says whose an instance is.
pub(super) const OWNER: &str = "user.coffer.build.owner";

/// A process, so that no later one is taken for it: the boot, the process namespace, the number and the time of its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The boot and the namespace.
    place: String,
    pid: u32,
    started: u64,
}

/// What can be said of an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It lives.
    Alive,
    /// It is gone.
    Gone,
    /// It is on another machine, or in another container: nobody here can say.
    Elsewhere,
}

impl Owner {
    /// This process.
    #[must_use]
    pub fn this() -> Self {
        let pid = std::process::id();
        Self { place: place(), pid, started: started(pid).unwrap_or(0) }
    }

    /// What is written down of it.
    pub(super) fn text(&self) -> String {
        format!("{} {} {}", self.place, self.pid, self.started)
    }

    /// What can be said of an owner that was written down.
    pub(super) fn state(text: &str) -> State {
        let mut words = text.split(' ');
        let (Some(theirs), Some(pid), Some(start)) = (words.next(), words.next(), words.next()) else { return State::Gone };
        match (pid.parse(), start.parse()) {
            _ if theirs != place() => State::Elsewhere,
            (Ok(pid), Ok(start)) if started(pid) == Some(start) => State::Alive,
            _ => State::Gone,
        }
    }
}

/// The boot and the process namespace.
fn place() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace = fs::read_link("/proc/self/ns/pid").map(|link| link.display().to_string()).unwrap_or_default();
    format!("{}/{namespace}", boot.trim())
}

/// When a process started, in ticks since the boot; none if there is no such process.
///
/// Source: proc_pid_stat(5), field 22; the second, in parentheses, may hold anything.
fn started(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    if fields.next() == Some("Z") { None } else { fields.nth(18)?.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_living_are_told_from_the_dead() {
        let this = Owner::this();
        assert_eq!(Owner::state(&this.text()), State::Alive);
        assert_eq!(Owner::state(&Owner { started: this.started + 1, ..this.clone() }.text()), State::Gone);
        assert_eq!(Owner::state(&Owner { place: "another".into(), ..this }.text()), State::Elsewhere);
        assert_eq!(Owner::state(""), State::Gone);
    }
}
