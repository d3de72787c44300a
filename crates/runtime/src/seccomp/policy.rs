//! What happens to each system call, by name.

use coffer_runtime_spec::{Action, Intercept, SeccompRule};

use super::abi::{Abi, NATIVE};

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
    /// The monitor answers.
    Ask(Ask),
}

/// Which calls of a number the monitor answers; the others are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// All.
    Always,
    /// Those that would make a node of a harmless character device; the file's mode is this argument, the device the next.
    Node(u8),
    /// Those that ask for a real-time class.
    RealTime,
    /// Those that mount something that was not mounted, by their flags, which are this argument.
    NewMount(u8),
}

/// The native calls that the monitor may be asked about.
fn asked(intercept: Intercept) -> impl Iterator<Item = (&'static str, Ask)> {
    let all = [
        (intercept.mknod, "mknod", Ask::Node(1)),
        (intercept.mknod, "mknodat", Ask::Node(2)),
        (intercept.setxattr, "setxattr", Ask::Always),
        (intercept.setxattr, "lsetxattr", Ask::Always),
        (intercept.setxattr, "fsetxattr", Ask::Always),
        (intercept.sysinfo, "sysinfo", Ask::Always),
        (intercept.sched_setscheduler, "sched_setscheduler", Ask::RealTime),
        (intercept.mount, "mount", Ask::NewMount(3)),
    ];
    all.into_iter().filter(|(wanted, ..)| *wanted).map(|(_, name, ask)| (name, ask))
}

impl Verdict {
    /// What the filter returns. Source: linux/seccomp.h, `SECCOMP_RET_…`.
    pub(super) fn value(self) -> u32 {
        match self {
            Self::Allow | Self::Terminal => 0x7fff_0000,
            Self::Errno(errno) => 0x0005_0000 | u32::from(errno),
            Self::Kill => 0x8000_0000,
            Self::Ask(_) => coffer_sys::seccomp::listen::ASK,
        }
    }

    /// What happens to calls that are in no table.
    pub(super) const UNKNOWN: Self = Self::Errno(ENOSYS);
}

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

/// The policy: what the tables say, changed by rules.
#[derive(Debug)]
pub(super) struct Policy<'a> {
    rules: &'a [SeccompRule],
    intercept: Intercept,
    /// Nothing is refused.
    open: bool,
}

impl<'a> Policy<'a> {
    /// The policy, changed by rules; later ones win.
    pub(super) fn with_rules(rules: &'a [SeccompRule]) -> Result<Self, PolicyError> {
        match rules.iter().find(|rule| !lines(CALLS).any(|line| name(line) == rule.call)) {
            Some(rule) => Err(PolicyError::UnknownCall(rule.call.clone())),
            None => Ok(Self { rules, intercept: Intercept::default(), open: false }),
        }
    }

    /// The policy that lets everything through.
    pub(super) fn open() -> Self {
        Self { rules: &[], intercept: Intercept::default(), open: true }
    }

    /// The policy with calls that the monitor answers.
    pub(super) fn asking(self, intercept: Intercept) -> Self {
        Self { intercept, ..self }
    }

    /// What happens to calls that are in no table.
    pub(super) fn unknown(&self) -> Verdict {
        if self.open { Verdict::Allow } else { Verdict::UNKNOWN }
    }

    /// The verdicts by the numbers of an ABI, in their order.
    pub(super) fn numbered(&self, abi: Abi) -> Vec<(u32, Verdict)> {
        let low = TABLES[abi.column].low.iter().enumerate().map(|(number, code)| (number as u32, *code));
        let high = TABLES[abi.column].high.iter().copied();
        let mut verdicts: Vec<(u32, Verdict)> =
            low.chain(high).filter_map(|(number, code)| Some((number, Verdict::from_code(code)?))).collect();
        if self.open {
            verdicts.iter_mut().for_each(|(_, verdict)| *verdict = Verdict::Allow);
        }
        for rule in self.rules {
            let Some(at) = place(&verdicts, &rule.call, abi) else { continue };
            verdicts[at].1 = match rule.action {
                Action::Allow => Verdict::Allow,
                Action::Errno(errno) => Verdict::Errno(errno.min(4095)),
                Action::Kill => Verdict::Kill,
            };
        }
        // Of the native ABI only: the memory of other programs is laid out in another way.
        for (call, ask) in asked(self.intercept).filter(|_| abi == NATIVE[0]) {
            let Some(at) = place(&verdicts, call, abi) else { continue };
            if verdicts[at].1 == Verdict::Allow {
                verdicts[at].1 = Verdict::Ask(ask);
            }
        }
        // What takes several calls could not be answered: programs that are told so go back to `mount`.
        if self.intercept.mount
            && let Some(at) = place(&verdicts, "fsopen", abi)
            && verdicts[at].1 == Verdict::Allow
        {
            verdicts[at].1 = Verdict::Errno(ENOSYS);
        }
        verdicts
    }
}

/// Where a call stands among verdicts by number.
fn place(verdicts: &[(u32, Verdict)], call: &str, abi: Abi) -> Option<usize> {
    let number = number(call, abi)?;
    verdicts.binary_search_by_key(&number, |(number, _)| *number).ok()
}

/// The number of a call.
pub(super) fn number(call: &str, abi: Abi) -> Option<u32> {
    lines(CALLS).find(|line| name(line) == call)?.split('\t').nth(1 + abi.column)?.parse().ok()
}

fn lines(table: &'static str) -> impl Iterator<Item = &'static str> {
    table.lines().filter(|line| !line.starts_with('#'))
}

fn name(line: &'static str) -> &'static str {
    line.split('\t').next().unwrap_or_default()
}

/// The verdicts of one ABI by number, worked out by the compiler: reading the tables takes longer than all else that a
/// filter needs.
#[derive(Clone, Copy)]
struct Table {
    /// For the numbers from 0 on.
    low: [u8; 512],
    /// For numbers beyond, in their order; unused places are [`NONE`].
    high: [(u32, u8); 8],
}

const NONE: u8 = 0;
const ALLOW: u8 = b'a';
const TERMINAL: u8 = b't';
const REFUSE: u8 = b'e';
const HIDE: u8 = b'n';

impl Verdict {
    fn from_code(code: u8) -> Option<Self> {
        match code {
            ALLOW => Some(Self::Allow),
            TERMINAL => Some(Self::Terminal),
            REFUSE => Some(Self::Errno(EPERM)),
            HIDE => Some(Self::Errno(ENOSYS)),
            _ => None,
        }
    }
}

/// Beside each other, by the column of the calls.
static TABLES: [Table; 4] = [read_table(0), read_table(1), read_table(2), read_table(3)];

/// Reads a column of the calls, beside the policy: both files name the same calls in the same order.
const fn read_table(column: usize) -> Table {
    let (calls, policy) = (CALLS.as_bytes(), POLICY.as_bytes());
    let (mut call, mut rule) = (skip_comments(calls), skip_comments(policy));
    let mut table = Table { low: [NONE; 512], high: [(0, NONE); 8] };
    let mut high = 0;
    while call < calls.len() {
        let code = code(policy, rule);
        let mut at = call;
        let mut tabs = 0;
        while tabs < column + 1 {
            if calls[at] == b'\t' {
                tabs += 1;
            }
            at += 1;
        }
        if calls[at] != b'-' {
            let mut number = 0;
            while calls[at].is_ascii_digit() {
                number = number * 10 + (calls[at] - b'0') as usize;
                at += 1;
            }
            if number < table.low.len() {
                table.low[number] = code;
            } else {
                // Inserted in order.
                let mut place = high;
                while place > 0 && table.high[place - 1].0 > number as u32 {
                    table.high[place] = table.high[place - 1];
                    place -= 1;
                }
                table.high[place] = (number as u32, code);
                high += 1;
            }
        }
        call = next_line(calls, call);
        rule = next_line(policy, rule);
    }
    table
}

/// What a line of the policy says.
const fn code(policy: &[u8], at: usize) -> u8 {
    match policy[at] {
        b'a' if starts_with(policy, at, b"allow\tioctl\n") => TERMINAL,
        b'a' => ALLOW,
        b'e' if policy[at + 1] == b'p' => REFUSE,
        _ => HIDE,
    }
}

const fn starts_with(text: &[u8], at: usize, what: &[u8]) -> bool {
    let mut offset = 0;
    while offset < what.len() {
        if at + offset >= text.len() || text[at + offset] != what[offset] {
            return false;
        }
        offset += 1;
    }
    true
}

const fn skip_comments(text: &[u8]) -> usize {
    let mut at = 0;
    while at < text.len() && text[at] == b'#' {
        at = next_line(text, at);
    }
    at
}

const fn next_line(text: &[u8], mut at: usize) -> usize {
    while at < text.len() && text[at] != b'\n' {
        at += 1;
    }
    at + 1
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
        let native = policy.numbered(NATIVE[0]);
        for (number, verdict) in [
            (libc_number("read"), Verdict::Allow),
            (libc_number("ioctl"), Verdict::Terminal),
            (libc_number("kexec_load"), Verdict::Errno(EPERM)),
            (libc_number("io_uring_setup"), Verdict::Errno(ENOSYS)),
        ] {
            assert!(native.contains(&(number, verdict)), "{number}");
        }
    }

    fn libc_number(name: &str) -> u32 {
        coffer_sys::seccomp::call_number(name).unwrap()
    }
}
