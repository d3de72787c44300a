//! The eBPF program that judges the use of devices on version 2.
//!
//! It gets `struct bpf_cgroup_dev_ctx { u32 access_type; u32 major; u32 minor; }`, where the access is in the upper 16
//! bits (1 make, 2 read, 4 write) and the kind in the lower ones (1 block, 2 character), and returns 1 to allow.
//! Source: linux/bpf.h.

use coffer_runtime_spec::DeviceKind;
use coffer_sys::bpf::Instruction;

use super::Rule;

/// Writes the program for these rules: the first that fits allows; none forbids.
pub(super) fn program(rules: &[Rule]) -> Vec<Instruction> {
    let mut code =
        vec![load(KIND, 0), move_register(ACCESS, KIND), and(KIND, 0xffff), shift_right(ACCESS, 16), load(MAJOR, 4), load(MINOR, 8)];
    for rule in rules {
        let kind = match rule.kind {
            DeviceKind::Block => 1,
            DeviceKind::Char => 2,
        };
        let mut tests = vec![jump_if_not_equal(KIND, kind)];
        if !rule.open {
            // Reading or writing is asked for: this rule only lets nodes be made.
            tests.push(jump_if_any_bit(ACCESS, 2 | 4));
        }
        tests.extend(rule.major.map(|major| jump_if_not_equal(MAJOR, major as i32)));
        tests.extend(rule.minor.map(|minor| jump_if_not_equal(MINOR, minor as i32)));
        let count = tests.len();
        for (at, test) in tests.into_iter().enumerate() {
            // Over the remaining tests and the two instructions that allow.
            code.push(Instruction { offset: (count - at - 1 + 2) as i16, ..test });
        }
        code.extend([set(RESULT, 1), EXIT]);
    }
    code.extend([set(RESULT, 0), EXIT]);
    code
}

const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

const EXIT: Instruction = Instruction { code: 0x95, registers: 0, offset: 0, immediate: 0 };

fn load(register: u8, offset: i16) -> Instruction {
    Instruction { code: 0x61, registers: CONTEXT << 4 | register, offset, immediate: 0 }
}

fn move_register(to: u8, from: u8) -> Instruction {
    Instruction { code: 0xbc, registers: from << 4 | to, offset: 0, immediate: 0 }
}

fn and(register: u8, value: i32) -> Instruction {
    Instruction { code: 0x54, registers: register, offset: 0, immediate: value }
}

fn shift_right(register: u8, bits: i32) -> Instruction {
    Instruction { code: 0x74, registers: register, offset: 0, immediate: bits }
}

fn set(register: u8, value: i32) -> Instruction {
    Instruction { code: 0xb7, registers: register, offset: 0, immediate: value }
}

fn jump_if_not_equal(register: u8, value: i32) -> Instruction {
    Instruction { code: 0x56, registers: register, offset: 0, immediate: value }
}

fn jump_if_any_bit(register: u8, bits: i32) -> Instruction {
    Instruction { code: 0x46, registers: register, offset: 0, immediate: bits }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the program as the kernel would.
    fn run(code: &[Instruction], access: u32, major: u32, minor: u32) -> i32 {
        let mut registers = [0u32; 6];
        let context = [access, major, minor];
        let mut at = 0usize;
        loop {
            let it = code[at];
            let (to, from) = (usize::from(it.registers & 15), usize::from(it.registers >> 4));
            let mut jump = false;
            match it.code {
                0x61 => registers[to] = context[it.offset as usize / 4],
                0xbc => registers[to] = registers[from],
                0x54 => registers[to] &= it.immediate as u32,
                0x74 => registers[to] >>= it.immediate,
                0xb7 => registers[to] = it.immediate as u32,
                0x56 => jump = registers[to] != it.immediate as u32,
                0x46 => jump = registers[to] & it.immediate as u32 != 0,
                0x95 => return registers[0] as i32,
                other => panic!("instruction {other:#x}"),
            }
            at += 1 + if jump { it.offset as usize } else { 0 };
        }
    }

    #[test]
    fn only_what_a_rule_names_is_allowed() {
        let make = Rule { kind: DeviceKind::Char, major: None, minor: None, open: false };
        let null = Rule { kind: DeviceKind::Char, major: Some(1), minor: Some(3), open: true };
        let code = program(&[make, null]);
        let (read, mknod, block, character) = (2 << 16, 1 << 16, 1, 2);
        assert_eq!(run(&code, read | character, 1, 3), 1);
        assert_eq!(run(&code, read | character, 1, 4), 0);
        assert_eq!(run(&code, read | block, 1, 3), 0);
        assert_eq!(run(&code, mknod | character, 9, 9), 1);
        assert_eq!(run(&code, mknod | block, 9, 9), 0);
        match coffer_sys::bpf::load_device_program(&code) {
            Ok(_) => {}
            Err(error) => println!("skipped: the kernel takes no device program: {error}"),
        }
    }
}
