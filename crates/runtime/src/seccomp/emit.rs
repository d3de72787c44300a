//! Writing the filter as classic BPF: a binary search over ranges of numbers that share a verdict.

use coffer_sys::seccomp::Instruction;

use super::HARMLESS;
use super::abi::Abi;
use super::policy::{Ask, Policy, Verdict};

/// Offsets in `struct seccomp_data`. Source: linux/seccomp.h.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
/// The low half of the second argument, on little-endian machines.
const SECOND_ARGUMENT: u32 = 24;

/// `TIOCSTI` types into a terminal, `TIOCLINUX` drives the virtual console. Source: asm-generic/ioctls.h.
const INJECTIONS: [u32; 2] = [0x5412, 0x541c];
const EPERM: Verdict = Verdict::Errno(1);

/// The kind of a file in its mode, and a character device's. Source: stat.h.
const FILE_KIND: u32 = 0xf000;
const CHARACTER_DEVICE: u32 = 0x2000;

/// Scheduling classes, and what may be said beside one. Source: sched.h.
const REAL_TIME: [u32; 2] = [1, 2];
const RESET_ON_FORK: u32 = 0x4000_0000;

/// What `mount` does with something that is mounted already: change, bind, move. Source: linux/mount.h.
const OF_MOUNTED: u32 = 0x20 | 0x1000 | 0x2000;

/// Writes the filter for these ABIs.
pub(super) fn filter(abis: &[Abi], policy: &Policy<'_>) -> Vec<Instruction> {
    let mut code = vec![load(ARCHITECTURE)];
    for abi in abis {
        let body = body(*abi, policy);
        // Jumps by condition reach only 255 instructions: step over a long one.
        code.push(jump_if_equal(abi.audit, 1, 0));
        code.push(jump(body.len() as u32));
        code.extend(body);
    }
    code.push(give(policy.unknown()));
    code
}

fn body(abi: Abi, policy: &Policy<'_>) -> Vec<Instruction> {
    let mut code = vec![load(NUMBER)];
    if let Some(bit) = abi.foreign_bit {
        code.push(jump_if_at_least(bit, 0, 1));
        code.push(give(policy.unknown()));
    }
    code.extend(search(&ranges(abi, policy)));
    code
}

/// The verdicts as ranges: each begins at its number and goes on to the next one's.
fn ranges(abi: Abi, policy: &Policy<'_>) -> Vec<(u32, Verdict)> {
    let mut ranges = vec![(0, policy.unknown())];
    let mut next = 0;
    let mut add = |at: u32, verdict: Verdict| {
        if ranges.last().is_some_and(|(last, _)| *last == at) {
            ranges.pop();
        }
        if ranges.last().is_none_or(|(_, before)| *before != verdict) {
            ranges.push((at, verdict));
        }
    };
    for (number, verdict) in policy.numbered(abi) {
        if number > next {
            add(next, policy.unknown());
        }
        add(number, verdict);
        next = number + 1;
    }
    add(next, policy.unknown());
    ranges
}

/// Searches ranges, of which there is at least one.
fn search(ranges: &[(u32, Verdict)]) -> Vec<Instruction> {
    if let [(_, verdict)] = ranges {
        return leaf(*verdict);
    }
    let (low, high) = ranges.split_at(ranges.len() / 2);
    let (below, above) = (search(low), search(high));
    let border = high[0].0;
    let mut code = match u8::try_from(below.len()) {
        Ok(length) => vec![jump_if_at_least(border, length, 0)],
        Err(_) => vec![jump_if_at_least(border, 0, 1), jump(below.len() as u32)],
    };
    code.extend(below);
    code.extend(above);
    code
}

fn leaf(verdict: Verdict) -> Vec<Instruction> {
    match verdict {
        Verdict::Terminal => {
            let [one, other] = INJECTIONS;
            // Only the low half: the kernel looks at no more, whatever is in the other.
            vec![load(SECOND_ARGUMENT), jump_if_equal(one, 2, 0), jump_if_equal(other, 1, 0), give(verdict), give(EPERM)]
        }
        Verdict::Ask(Ask::Node(mode)) => {
            let mut code = vec![load(argument(mode)), keep(FILE_KIND), jump_if_equal(CHARACTER_DEVICE, 1, 0), give(Verdict::Allow)];
            code.push(load(argument(mode + 1)));
            code.extend(one_of(&HARMLESS.map(|(major, minor)| major << 8 | minor), verdict));
            code
        }
        Verdict::Ask(Ask::RealTime) => {
            let mut code = vec![load(SECOND_ARGUMENT), keep(!RESET_ON_FORK)];
            code.extend(one_of(&REAL_TIME, verdict));
            code
        }
        Verdict::Ask(Ask::NewMount(flags)) => {
            let mut code = vec![load(argument(flags)), keep(OF_MOUNTED)];
            code.extend(one_of(&[0], verdict));
            code
        }
        Verdict::Allow | Verdict::Errno(_) | Verdict::Kill | Verdict::Ask(Ask::Always) => vec![give(verdict)],
    }
}

/// Gives a verdict to what is one of some values, and lets everything else through.
fn one_of(values: &[u32], verdict: Verdict) -> Vec<Instruction> {
    let last = values.len();
    let found = |(at, value): (usize, &u32)| jump_if_equal(*value, u8::try_from(last - at).unwrap_or(u8::MAX), 0);
    let mut code: Vec<Instruction> = values.iter().enumerate().map(found).collect();
    code.extend([give(Verdict::Allow), give(verdict)]);
    code
}

/// Where the low half of an argument is: the kernel takes no more of these.
fn argument(number: u8) -> u32 {
    16 + 8 * u32::from(number)
}

fn keep(bits: u32) -> Instruction {
    Instruction { code: 0x54, jump_true: 0, jump_false: 0, operand: bits }
}

fn load(offset: u32) -> Instruction {
    Instruction { code: 0x20, jump_true: 0, jump_false: 0, operand: offset }
}

fn jump(over: u32) -> Instruction {
    Instruction { code: 0x05, jump_true: 0, jump_false: 0, operand: over }
}

fn jump_if_equal(value: u32, jump_true: u8, jump_false: u8) -> Instruction {
    Instruction { code: 0x15, jump_true, jump_false, operand: value }
}

fn jump_if_at_least(value: u32, jump_true: u8, jump_false: u8) -> Instruction {
    Instruction { code: 0x35, jump_true, jump_false, operand: value }
}

fn give(verdict: Verdict) -> Instruction {
    Instruction { code: 0x06, jump_true: 0, jump_false: 0, operand: verdict.value() }
}
