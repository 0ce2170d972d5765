//! How the system's allocator treats what is given back to it: told once, before any other thread is there.
#![allow(unsafe_code, reason = "mallopt has no safe wrapper; its values are plain numbers")]

/// What a heap keeps of what is free at its end, and from which size on a buffer is no part of a heap, in bytes. The
/// chunks of a file that is made are smaller: to have each from the system would cost more than to fill it.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT: libc::c_int = 1024 * 1024;

/// Has freed memory used again, or given back. Left to itself, glibc has eight heaps a core, and each keeps what it
/// needed at its worst moment: work that moves from thread to thread costs a multiple of what it holds (mallopt(3)).
/// Whoever sets `MALLOC_ARENA_MAX` is left alone. To be called before there are other threads.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn share_heaps() {
    if std::env::var_os("MALLOC_ARENA_MAX").is_some() {
        return;
    }
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let heaps = libc::c_int::try_from(cores).unwrap_or(libc::c_int::MAX);
    for (parameter, value) in
        [(libc::M_ARENA_MAX, heaps), (libc::M_MMAP_THRESHOLD, KEPT), (libc::M_TRIM_THRESHOLD, KEPT)]
    {
        // SAFETY: both are plain numbers; what glibc does not understand changes nothing.
        unsafe { libc::mallopt(parameter, value) };
    }
}

/// Other allocators do so by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn share_heaps() {}
