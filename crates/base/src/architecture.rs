//! Processor architectures by the kernel's names, and the other names that people and distributions use.

use std::fmt;
use std::str::FromStr;

/// A processor architecture that images may be made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Architecture {
    /// Intel and AMD, 32 bits.
    I686,
    /// Intel and AMD, 64 bits.
    X86_64,
    /// ARM version 6, 32 bits.
    Armv6l,
    /// ARM version 7, 32 bits.
    Armv7l,
    /// ARM version 8 in its 32-bit state.
    Armv8l,
    /// ARM, 64 bits.
    Aarch64,
    /// PowerPC, 32 bits.
    Ppc,
    /// PowerPC, 64 bits, big endian.
    Ppc64,
    /// PowerPC, 64 bits, little endian.
    Ppc64le,
    /// IBM Z.
    S390x,
    /// MIPS, 32 bits.
    Mips,
    /// MIPS, 64 bits.
    Mips64,
    /// RISC-V, 32 bits.
    Riscv32,
    /// RISC-V, 64 bits.
    Riscv64,
    /// LoongArch, 64 bits.
    Loongarch64,
}

/// A text that names no architecture we know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown architecture {0:?}")]
pub struct UnknownArchitecture(pub String);

/// Every architecture with the kernel's name first, then its other names.
const NAMES: &[(Architecture, &[&str])] = &[
    (Architecture::I686, &["i686", "i386", "i586", "386", "x86", "generic_32"]),
    (Architecture::X86_64, &["x86_64", "amd64", "generic_64"]),
    (Architecture::Armv6l, &["armv6l", "armel", "armhfp_v6"]),
    (Architecture::Armv7l, &["armv7l", "armhf", "armhfp", "armv7", "armv7hl", "armv7a_hardfp", "arm"]),
    (Architecture::Armv8l, &["armv8l"]),
    (Architecture::Aarch64, &["aarch64", "arm64", "arm64_generic"]),
    (Architecture::Ppc, &["ppc", "powerpc"]),
    (Architecture::Ppc64, &["ppc64", "powerpc64"]),
    (Architecture::Ppc64le, &["ppc64le", "ppc64el", "powerpc64le"]),
    (Architecture::S390x, &["s390x"]),
    (Architecture::Mips, &["mips", "mipsel", "mipsle"]),
    (Architecture::Mips64, &["mips64", "mips64el", "mips64le"]),
    (Architecture::Riscv32, &["riscv32"]),
    (Architecture::Riscv64, &["riscv64"]),
    (Architecture::Loongarch64, &["loongarch64", "loong64"]),
];

impl Architecture {
    /// The kernel's name, as in `uname -m` and in LXD's answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        NAMES.iter().find(|(architecture, _)| *architecture == self).map_or("unknown", |(_, names)| names[0])
    }

    /// The architecture of the running kernel.
    ///
    /// # Errors
    /// [`UnknownArchitecture`] if the kernel calls itself something this table lacks.
    pub fn of_kernel() -> Result<Self, UnknownArchitecture> {
        rustix::system::uname().machine().to_string_lossy().parse()
    }

    /// Says whether a kernel of this architecture runs programs of `image`'s.
    #[must_use]
    pub fn runs(self, image: Self) -> bool {
        use Architecture::{Aarch64, Armv6l, Armv7l, Armv8l, I686, Mips, Mips64, Ppc, Ppc64, X86_64};
        match (self, image) {
            (X86_64, I686) | (Aarch64 | Armv8l, Armv6l | Armv7l | Armv8l) | (Armv7l, Armv6l) | (Ppc64, Ppc) | (Mips64, Mips) => true,
            (own, image) => own == image,
        }
    }
}

impl FromStr for Architecture {
    type Err = UnknownArchitecture;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = NAMES.iter().find(|(_, names)| names.contains(&text));
        found.map(|(architecture, _)| *architecture).ok_or_else(|| UnknownArchitecture(text.to_owned()))
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &str) {
        let got = text.parse::<Architecture>().map_or_else(|error| error.to_string(), |architecture| architecture.to_string());
        assert_eq!(got, expect);
    }

    #[test]
    fn other_names_lead_to_the_kernels() {
        check("amd64", "x86_64");
        check("x86_64", "x86_64");
        check("arm64", "aarch64");
        check("i386", "i686");
        check("armhf", "armv7l");
        check("ppc64el", "ppc64le");
        check("s390x", "s390x");
        check("riscv64", "riscv64");
        check("vax", "unknown architecture \"vax\"");
        check("", "unknown architecture \"\"");
    }

    #[test]
    fn every_name_stands_once() {
        let mut names: Vec<&str> = NAMES.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn a_kernel_runs_its_smaller_brother() {
        assert!(Architecture::X86_64.runs(Architecture::I686));
        assert!(!Architecture::I686.runs(Architecture::X86_64));
        assert!(Architecture::of_kernel().unwrap().runs(Architecture::of_kernel().unwrap()));
    }
}
