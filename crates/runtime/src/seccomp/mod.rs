//! The seccomp filter: an allow-list over every ABI of the machine; what is in no table answers `ENOSYS`.
//!
//! A system container runs init systems, package managers and other containers, so nearly everything that the kernel
//! itself judges by namespace is allowed. Refused is what reaches the host, has no use inside, or has been a way out:
//! `tables/policy.tsv` decides by name for all ABIs at once, `tables/calls.tsv` has the numbers.

mod abi;
mod emit;
#[cfg(test)]
mod interpret;
mod policy;

use coffer_runtime_spec::{IdMap, Intercept, Seccomp, Security};
use coffer_sys::seccomp::{Instruction, MOST_INSTRUCTIONS};

pub(crate) use policy::PolicyError;

/// Character devices whose nodes do nobody any harm, by major and minor number: `null`, `zero`, `full`, `random`, `urandom`, `tty`,
/// and `console`, which can be made but not opened. The kernel lets everybody make an overlay's whiteout.
pub(crate) const HARMLESS: [(u32, u32); 7] = [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1)];

/// The calls that the monitor answers: of an instance that has the host's own ids, the kernel makes them.
pub(crate) fn intercepted(security: &Security, idmap: &IdMap) -> Intercept {
    match idmap {
        IdMap::Privileged => Intercept::default(),
        IdMap::Mapped { .. } => security.intercept,
    }
}

/// The native number of a call that the monitor answers.
pub(crate) fn native_number(call: &str) -> Option<u32> {
    policy::number(call, abi::NATIVE[0])
}

/// The native ABI, as the kernel calls it.
pub(crate) fn native_abi() -> u32 {
    abi::NATIVE[0].audit
}

/// Writes the filter of a spec for this machine; empty if it has none.
///
/// # Errors
/// A rule names no system call, or the rules make the filter too long.
pub(crate) fn filter(security: &Security, intercept: Intercept) -> Result<Vec<Instruction>, PolicyError> {
    let (policy, native_only) = match &security.seccomp {
        Seccomp::Off if !intercept.any() => return Ok(Vec::new()),
        Seccomp::Off => (policy::Policy::open(), false),
        Seccomp::Default { rules, native_only } => (policy::Policy::with_rules(rules)?, *native_only),
    };
    let abis = if native_only { &abi::NATIVE[..1] } else { abi::NATIVE };
    let code = emit::filter(abis, &policy.asking(intercept));
    if code.len() > MOST_INSTRUCTIONS { Err(PolicyError::TooLong(code.len())) } else { Ok(code) }
}

#[cfg(test)]
mod tests {
    use super::abi::{AARCH64, ARM, Abi, I386, X86_64};
    use super::interpret::run;
    use super::*;
    use coffer_runtime_spec::{Action, SeccompRule};
    use coffer_sys::seccomp::{ProbeAbi, probe};

    const ALLOW: u32 = 0x7fff_0000;
    const EPERM: u32 = 0x0005_0001;
    const ENOSYS: u32 = 0x0005_0026;

    fn code(abis: &[Abi], rules: &[SeccompRule]) -> Vec<Instruction> {
        emit::filter(abis, &policy::Policy::with_rules(rules).unwrap())
    }

    /// Every call of every table on every ABI gets what the policy says, by a walk through the code.
    #[test]
    fn the_filter_does_what_the_policy_says() {
        let policy = policy::Policy::with_rules(&[]).unwrap();
        for abis in [&[X86_64, I386][..], &[AARCH64, ARM]] {
            let code = emit::filter(abis, &policy);
            assert!(code.len() < 700, "{} instructions", code.len());
            for abi in abis {
                for (number, verdict) in policy.numbered(*abi) {
                    assert_eq!(run(&code, abi.audit, number, [0; 6]), verdict.value(), "call {number} of {abi:?}");
                }
                for number in [463 + 100, 5000, 0x3fff_ffff, 0x4000_0000, 0x4000_0001, 0x4000_0200, u32::MAX] {
                    assert_eq!(run(&code, abi.audit, number, [0; 6]), ENOSYS, "call {number:#x} of {abi:?}");
                }
            }
            assert_eq!(run(&code, 0x1234, 0, [0; 6]), ENOSYS);
        }
    }

    #[test]
    fn terminal_injection_is_refused_by_the_low_half_of_the_argument() {
        let code = code(&[X86_64, I386], &[]);
        for (abi, ioctl) in [(X86_64, 16), (I386, 54)] {
            for request in [0x5412, 0x541c, 0x1_0000_5412, 0xffff_ffff_0000_541c] {
                assert_eq!(run(&code, abi.audit, ioctl, [0, request, 0, 0, 0, 0]), EPERM, "{request:#x}");
            }
            assert_eq!(run(&code, abi.audit, ioctl, [0, 0x5413, 0, 0, 0, 0]), ALLOW);
        }
    }

    #[test]
    fn rules_change_single_calls() {
        let rule = |call: &str, action| SeccompRule { call: call.into(), action };
        let rules = [rule("mkdirat", Action::Errno(13)), rule("bpf", Action::Allow), rule("ioctl", Action::Kill)];
        let code = code(&[X86_64, I386], &rules);
        assert_eq!(run(&code, X86_64.audit, 258, [0; 6]), 0x0005_000d);
        assert_eq!(run(&code, I386.audit, 296, [0; 6]), 0x0005_000d);
        assert_eq!(run(&code, X86_64.audit, 321, [0; 6]), ALLOW);
        assert_eq!(run(&code, X86_64.audit, 16, [0, 0x5413, 0, 0, 0, 0]), 0x8000_0000);
        let error = policy::Policy::with_rules(&[rule("no_such_call", Action::Allow)]).unwrap_err();
        assert_eq!(error.to_string(), "seccomp rule names \"no_such_call\", which is no system call that this program knows");
    }

    #[test]
    fn only_the_native_abi_where_that_is_asked_for() {
        let security = |native_only| Security { seccomp: Seccomp::Default { rules: Vec::new(), native_only }, ..Security::default() };
        let of = |native_only| filter(&security(native_only), Intercept::default()).unwrap();
        let (one, both) = (of(true), of(false));
        let [native, other] = abi::NATIVE else { panic!("two ABIs") };
        // `getpid` has the number 39 or 20 on x86, 172 or 20 on ARM; the allow-list has all of these.
        assert_eq!((run(&both, other.audit, 20, [0; 6]), run(&one, other.audit, 20, [0; 6])), (ALLOW, ENOSYS));
        let number = if native.column == 0 { 39 } else { 172 };
        assert_eq!(run(&one, native.audit, number, [0; 6]), ALLOW);
    }

    #[test]
    fn the_monitor_is_asked_about_what_it_may_do_and_nothing_else() {
        const ASK: u32 = 0x7fc0_0000;
        let all = Intercept { mknod: true, setxattr: true, sysinfo: true, sched_setscheduler: true, mount: true };
        let native = abi::NATIVE[0];
        let number = |call| native_number(call).unwrap_or(u32::MAX);
        for seccomp in [Seccomp::default(), Seccomp::Off] {
            let security = Security { seccomp, ..Security::default() };
            let code = filter(&security, all).unwrap();
            let verdict = |call, arguments| run(&code, native.audit, number(call), arguments);
            let null = 0x103;
            let unset = 0xffff_ffff_0000_0000;
            for (arguments, expect) in [
                ([0, 0, unset | 0x21b6, unset | null, 0, 0], ASK),
                ([0, 0, 0x2000, 0x501, 0, 0], ASK),
                ([0, 0, 0x2000, 0x108, 0, 0], ASK),
                ([0, 0, 0x2000, 0x101, 0, 0], ALLOW),
                ([0, 0, 0x2000, 0, 0, 0], ALLOW),
                ([0, 0, 0x6000, null, 0, 0], ALLOW),
                ([0, 0, 0x1000, null, 0, 0], ALLOW),
            ] {
                assert_eq!(verdict("mknodat", arguments), expect, "{arguments:x?}");
            }
            for (class, expect) in [(0, ALLOW), (1, ASK), (2, ASK), (0x4000_0001, ASK), (3, ALLOW), (6, ALLOW)] {
                assert_eq!(verdict("sched_setscheduler", [0, class, 0, 0, 0, 0]), expect, "{class:x}");
            }
            for (flags, expect) in
                [(0, ASK), (1, ASK), (0xc0ed_0000, ASK), (0x20, ALLOW), (0x1001, ALLOW), (0x5000, ALLOW), (0x2000, ALLOW)]
            {
                assert_eq!(verdict("mount", [0, 0, 0, unset | flags, 0, 0]), expect, "{flags:x}");
            }
            assert_eq!(verdict("fsopen", [0; 6]), ENOSYS, "nobody could answer for it");
            assert_eq!((verdict("sysinfo", [0; 6]), verdict("lsetxattr", [0; 6]), verdict("getpid", [0; 6])), (ASK, ASK, ALLOW));
            for other in &abi::NATIVE[1..] {
                assert_eq!(run(&code, other.audit, policy::number("sysinfo", *other).unwrap(), [0; 6]), ALLOW);
                assert_eq!(run(&code, other.audit, policy::number("mount", *other).unwrap(), [0; 6]), ALLOW);
                assert_eq!(run(&code, other.audit, policy::number("fsopen", *other).unwrap(), [0; 6]), ENOSYS);
            }
        }
        // Without any of it the filter is the one that there always was; without a filter there is none.
        let plain = Security::default();
        assert_eq!(filter(&plain, Intercept::default()).unwrap(), code(abi::NATIVE, &[]));
        assert_eq!(filter(&Security { seccomp: Seccomp::Off, ..plain }, Intercept::default()).unwrap(), []);
        // What a rule refuses stays refused.
        let rules = vec![SeccompRule { call: "sysinfo".into(), action: Action::Errno(38) }];
        let refused = Security { seccomp: Seccomp::Default { rules, native_only: false }, ..Security::default() };
        assert_eq!(run(&filter(&refused, all).unwrap(), native.audit, number("sysinfo"), [0; 6]), ENOSYS);
    }

    /// Every refused and every unknown call on every ABI of this machine, made for real.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_kernel_refuses_for_real() {
        let refused = std::thread::spawn(|| {
            let policy = policy::Policy::with_rules(&[]).unwrap();
            coffer_sys::cred::set_no_new_privs().unwrap();
            coffer_sys::seccomp::install(&emit::filter(abi::NATIVE, &policy)).unwrap();
            let mut wrong = Vec::new();
            let mut check = |how: ProbeAbi, number: u32, expect: i32| {
                let got = probe(how, number);
                if got != -i64::from(expect) {
                    wrong.push(format!("{how:?} {number:#x}: {got}, not -{expect}"));
                }
            };
            for (abi, how) in [(X86_64, ProbeAbi::Native), (I386, ProbeAbi::I386)] {
                for (number, verdict) in policy.numbered(abi) {
                    match verdict {
                        policy::Verdict::Errno(errno) => check(how, number, i32::from(errno)),
                        policy::Verdict::Allow | policy::Verdict::Terminal | policy::Verdict::Kill | policy::Verdict::Ask(_) => {}
                    }
                }
                (470..700).for_each(|number| check(how, number, 38));
            }
            // x32: every number, allowed or not in the other ABIs.
            (0..700).for_each(|number| check(ProbeAbi::Native, 0x4000_0000 | number, 38));
            wrong
        });
        assert_eq!(refused.join().unwrap(), Vec::<String>::new());
    }
}
