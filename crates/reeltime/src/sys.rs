//! What needs `unsafe`: one system call that no safe wrapper offers.
#![allow(unsafe_code, reason = "setsockopt(SO_RCVLOWAT) has no safe wrapper; the call is checked below")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Sets how many bytes must wait in a socket before it counts as readable (`SO_RCVLOWAT`, socket(7)). Lowering it
/// makes the kernel look at once whether there are enough now.
///
/// # Errors
/// What the system said.
pub fn set_receive_low_water(socket: BorrowedFd<'_>, bytes: i32) -> io::Result<()> {
    let size = libc::socklen_t::try_from(size_of::<i32>()).unwrap_or(4);
    // SAFETY: the descriptor is open for as long as it is borrowed, and the option's value is an `int` that lives
    // through the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVLOWAT,
            std::ptr::from_ref(&bytes).cast(),
            size,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
