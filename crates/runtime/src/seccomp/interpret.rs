//! Running a filter as the kernel does, to see what it says.

use coffer_sys::seccomp::Instruction;

/// What the filter returns for a call.
pub(super) fn run(code: &[Instruction], audit: u32, number: u32, arguments: [u64; 6]) -> u32 {
    let mut data = Vec::new();
    data.extend(number.to_le_bytes());
    data.extend(audit.to_le_bytes());
    data.extend(0u64.to_le_bytes());
    arguments.iter().for_each(|argument| data.extend(argument.to_le_bytes()));
    let (mut at, mut accumulator) = (0, 0);
    loop {
        let it = code[at];
        at += 1;
        let jump = |condition: bool| usize::from(if condition { it.jump_true } else { it.jump_false });
        match it.code {
            0x20 => {
                let from = it.operand as usize;
                accumulator = u32::from_le_bytes(data[from..from + 4].try_into().unwrap());
            }
            0x54 => accumulator &= it.operand,
            0x05 => at += it.operand as usize,
            0x15 => at += jump(accumulator == it.operand),
            0x35 => at += jump(accumulator >= it.operand),
            0x06 => return it.operand,
            other => panic!("instruction {other:#x}"),
        }
    }
}
