//! How the system's allocator treats what is given back to it: told once, before any other thread is there.
#![allow(unsafe_code, reason = "mallopt has no safe wrapper; its values are plain numbers")]

/// Larger buffers go back to the system at once, in bytes. Left to itself, glibc raises this to the largest that was ever
/// freed, and from then on keeps them.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE: libc::c_int = 128 * 1024;

/// Has freed memory given back. Left to itself, glibc has eight heaps a core, and each keeps what it needed at its worst
/// moment: work that moves from thread to thread then costs a multiple of what it holds (mallopt(3)). Whoever sets
/// `MALLOC_ARENA_MAX` is left alone.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn give_back() {
    if std::env::var_os("MALLOC_ARENA_MAX").is_some() {
        return;
    }
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    // SAFETY: no other thread is there yet, and what glibc does not understand it refuses, which changes nothing.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, libc::c_int::try_from(cores).unwrap_or(1));
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_TRIM_THRESHOLD, LARGE);
    }
}

/// Other allocators do so by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn give_back() {}
