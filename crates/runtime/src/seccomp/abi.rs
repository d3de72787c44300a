//! The ABIs by which programs call the kernel.

/// One ABI. A machine has a native one and may have others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Abi {
    /// What the kernel calls it. Source: linux/audit.h, `AUDIT_ARCH_…`.
    pub(super) audit: u32,
    /// Its column in the table of numbers.
    pub(super) column: usize,
    /// Numbers with this bit belong to an ABI in disguise, of which none is allowed: x32.
    pub(super) foreign_bit: Option<u32>,
}

/// 64-bit x86.
#[cfg_attr(not(any(target_arch = "x86_64", test)), expect(dead_code, reason = "another machine's"))]
pub(super) const X86_64: Abi = Abi { audit: 0xc000_003e, column: 0, foreign_bit: Some(0x4000_0000) };
/// 32-bit x86.
#[cfg_attr(not(any(target_arch = "x86_64", test)), expect(dead_code, reason = "another machine's"))]
pub(super) const I386: Abi = Abi { audit: 0x4000_0003, column: 1, foreign_bit: None };
/// 64-bit ARM.
#[cfg_attr(not(any(target_arch = "aarch64", test)), expect(dead_code, reason = "another machine's"))]
pub(super) const AARCH64: Abi = Abi { audit: 0xc000_00b7, column: 2, foreign_bit: None };
/// 32-bit ARM.
#[cfg_attr(not(any(target_arch = "aarch64", test)), expect(dead_code, reason = "another machine's"))]
pub(super) const ARM: Abi = Abi { audit: 0x4000_0028, column: 3, foreign_bit: None };

/// The ABIs of this machine, the native one first.
#[cfg(target_arch = "x86_64")]
pub(super) const NATIVE: &[Abi] = &[X86_64, I386];
/// The ABIs of this machine, the native one first.
#[cfg(target_arch = "aarch64")]
pub(super) const NATIVE: &[Abi] = &[AARCH64, ARM];
