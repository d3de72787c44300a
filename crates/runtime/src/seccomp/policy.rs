//! What happens to each system call, by name.

use std::collections::BTreeMap;

use coffer_runtime_spec::{Action, SeccompRule};

use super::abi::Abi;

/// Names and numbers.
const CALLS: &str = include_str!("tables/calls.tsv");
/// Names and what happens.
const POLICY: &str = include_str!("tables/policy.tsv");

const EPERM: u16 = 1;
const ENOSYS: u16 = 38;

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is made.
    Allow,
    /// It is made unless it types into a terminal or drives the virtual console: `ioctl`.
    Terminal,
    /// It fails.
    Errno(u16),
    /// The process is killed.
    Kill,
}

impl Verdict {
    /// What the filter returns. Source: linux/seccomp.h, `SECCOMP_RET_…`.
    pub(super) fn value(self) -> u32 {
        match self {
            Self::Allow | Self::Terminal => 0x7fff_0000,
            Self::Errno(errno) => 0x0005_0000 | u32::from(errno),
            Self::Kill => 0x8000_0000,
        }
    }

    /// What happens to calls that are in no table.
    pub(super) const UNKNOWN: Self = Self::Errno(ENOSYS);
}

/// The verdict on every call that is in the tables.
#[derive(Debug)]
pub(super) struct Policy(BTreeMap<&'static str, Verdict>);

/// Why there is no filter.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum PolicyError {
    /// A rule names no call.
    #[error("seccomp rule names {0:?}, which is no system call that this program knows")]
    UnknownCall(String),
    /// The filter is longer than the kernel takes.
    #[error("the seccomp filter would have {0} instructions, which is more than the kernel takes")]
    TooLong(usize),
}

impl Policy {
    /// The policy, changed by rules; later ones win.
    pub(super) fn with_rules(rules: &[SeccompRule]) -> Result<Self, PolicyError> {
        let mut verdicts: BTreeMap<&'static str, Verdict> = lines(POLICY).filter_map(verdict).collect();
        for rule in rules {
            let Some(verdict) = verdicts.get_mut(rule.call.as_str()) else {
                return Err(PolicyError::UnknownCall(rule.call.clone()));
            };
            *verdict = match rule.action {
                Action::Allow => Verdict::Allow,
                Action::Errno(errno) => Verdict::Errno(errno.min(4095)),
                Action::Kill => Verdict::Kill,
            };
        }
        Ok(Self(verdicts))
    }

    /// The verdicts by the numbers of an ABI, in their order.
    pub(super) fn numbered(&self, abi: Abi) -> BTreeMap<u32, Verdict> {
        let numbered = lines(CALLS).filter_map(|line| {
            let mut fields = line.split('\t');
            let name = fields.next()?;
            let number = fields.nth(abi.column)?.parse().ok()?;
            Some((number, self.0.get(name).copied().unwrap_or(Verdict::UNKNOWN)))
        });
        numbered.collect()
    }
}

fn lines(table: &'static str) -> impl Iterator<Item = &'static str> {
    table.lines().filter(|line| !line.starts_with('#'))
}

fn verdict(line: &'static str) -> Option<(&'static str, Verdict)> {
    let (action, name) = line.split_once('\t')?;
    let verdict = match (action, name) {
        ("allow", "ioctl") => Verdict::Terminal,
        ("allow", _) => Verdict::Allow,
        ("eperm", _) => Verdict::Errno(EPERM),
        _ => Verdict::Errno(ENOSYS),
    };
    Some((name, verdict))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A call that a newer table brings must be decided on, not forgotten.
    #[test]
    fn every_call_is_decided_on_once() {
        let named: Vec<&str> = lines(CALLS).filter_map(|line| line.split('\t').next()).collect();
        let decided: Vec<&str> = lines(POLICY).filter_map(|line| line.split('\t').nth(1)).collect();
        assert_eq!(named, decided);
        for line in lines(POLICY) {
            assert!(["allow\t", "eperm\t", "enosys\t"].iter().any(|action| line.starts_with(action)), "{line}");
        }
        assert!(lines(CALLS).all(|line| line.split('\t').count() == 5));
    }

    #[test]
    fn numbers_are_the_kernels() {
        let policy = Policy::with_rules(&[]).unwrap();
        let native = policy.numbered(super::super::abi::NATIVE[0]);
        for (number, verdict) in [
            (libc_number("read"), Verdict::Allow),
            (libc_number("ioctl"), Verdict::Terminal),
            (libc_number("kexec_load"), Verdict::Errno(EPERM)),
            (libc_number("io_uring_setup"), Verdict::Errno(ENOSYS)),
        ] {
            assert_eq!(native.get(&number), Some(&verdict), "{number}");
        }
    }

    fn libc_number(name: &str) -> u32 {
        coffer_sys::seccomp::call_number(name).unwrap()
    }
}
