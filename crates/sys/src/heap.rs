//! The C library's heap: kept small in a process that lives long and mostly waits.

use std::io;

/// Bytes that may lie unused at the heap's end before they go back to the kernel.
const TRIM_THRESHOLD: libc::c_int = 128 << 10;

/// Lets at most `arenas` heaps exist, however many threads there are, and lets free memory go back early.
///
/// Many threads that rarely allocate at the same time gain nothing from a heap each.
///
/// # Errors
/// `EINVAL` if the C library has no such setting.
///
/// Source: mallopt(3), glibc.
#[cfg(target_env = "gnu")]
pub fn keep_small(arenas: u16) -> io::Result<()> {
    set(libc::M_ARENA_MAX, libc::c_int::from(arenas))?;
    set(libc::M_TRIM_THRESHOLD, TRIM_THRESHOLD)
}

/// Gives free memory back to the kernel. Says whether there was any.
///
/// Source: malloc_trim(3), glibc.
#[cfg(target_env = "gnu")]
pub fn trim() -> bool {
    // SAFETY: it takes no pointer, and the allocator locks itself.
    unsafe { libc::malloc_trim(0) == 1 }
}

/// Does nothing: this C library keeps its heap small by itself.
///
/// # Errors
/// None.
#[cfg(not(target_env = "gnu"))]
pub fn keep_small(_arenas: u16) -> io::Result<()> {
    Ok(())
}

/// Does nothing: this C library gives memory back by itself.
#[cfg(not(target_env = "gnu"))]
pub fn trim() -> bool {
    false
}

#[cfg(target_env = "gnu")]
fn set(parameter: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: it takes two numbers, and the allocator locks itself.
    let accepted = unsafe { libc::mallopt(parameter, value) };
    if accepted == 1 { Ok(()) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heap_takes_its_settings() {
        keep_small(2).unwrap();
        trim();
    }
}
