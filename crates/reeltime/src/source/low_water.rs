//! Reading less often: a recorder can wait 200 ms, so a socket need not wake it for every frame.
//!
//! `SO_RCVLOWAT` at about ten frames cuts the cost of receiving to a quarter. Bytes below the mark would stay
//! unread for ever, so a sweep lowers the mark of each socket that went quiet; the next message raises it again.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reeltime_core::media::{Codec, Format};
use reeltime_core::time::Micros;
use tokio::net::TcpStream;

use crate::sys::set_receive_low_water;

/// A socket that gave nothing for so long is looked at.
const QUIET: Duration = Duration::from_millis(300);
/// How much audio one wake-up should bring.
const WORTH: Duration = Duration::from_millis(200);
/// Bytes of a client's WebSocket frame before its payload (RFC 6455 §5.2), for ten frames in [`WORTH`].
const FRAME_HEADS: u64 = 10 * 8;
/// Never more than a small read buffer takes at once.
const MOST: u64 = 6_480;

/// The sockets with a mark.
#[derive(Debug, Default)]
pub(crate) struct Marks(Mutex<Vec<Arc<Mark>>>);

#[derive(Debug)]
struct Mark {
    socket: RawFd,
    bytes: i32,
    heard: AtomicU64,
    lowered: AtomicBool,
    gone: AtomicBool,
}

/// One socket's mark, held beside the socket; dropped before it.
#[derive(Debug)]
pub(crate) struct LowWater {
    mark: Arc<Mark>,
    recorder: super::super::recorder::Recorder,
}

impl Marks {
    /// Lowers the mark of each socket that went quiet.
    pub(crate) fn sweep(&self, now: Micros) {
        let mut marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        marks.retain(|mark| !mark.gone.load(Ordering::Acquire));
        for mark in marks.iter().filter(|mark| mark.is_quiet(now)) {
            // The socket is open: its holder takes this lock to say that it goes.
            #[allow(unsafe_code, reason = "the descriptor is valid until `gone` is set under this lock")]
            // SAFETY: `LowWater::drop` marks it gone under the lock held here, before the socket is closed.
            let socket = unsafe { BorrowedFd::borrow_raw(mark.socket) };
            mark.lowered.store(true, Ordering::Relaxed);
            let _ = set_receive_low_water(socket, 1);
        }
    }
}

impl Mark {
    fn is_quiet(&self, now: Micros) -> bool {
        let heard = Micros(self.heard.load(Ordering::Relaxed));
        !self.lowered.load(Ordering::Relaxed) && now.since(heard) >= QUIET
    }
}

/// The mark that suits a format: about [`WORTH`] of it.
fn bytes_for(format: Format) -> i32 {
    let media = match format.block_align() {
        Some(align) => Micros::from_millis(WORTH.as_millis() as u64).to_samples(format.rate) * align as u64,
        // Opus at the least that speech is sent with, 8 kbit/s.
        None => 100,
    };
    debug_assert!(format.codec == Codec::Opus || media > 0);
    i32::try_from((media + FRAME_HEADS).min(MOST)).unwrap_or(1)
}

impl LowWater {
    /// Sets the mark.
    pub(crate) fn set(
        recorder: &super::super::recorder::Recorder,
        socket: &TcpStream,
        format: Format,
        now: Micros,
    ) -> Self {
        let mark = Arc::new(Mark {
            socket: socket.as_raw_fd(),
            bytes: bytes_for(format),
            heard: AtomicU64::new(now.0),
            lowered: AtomicBool::new(false),
            gone: AtomicBool::new(false),
        });
        let _ = set_receive_low_water(socket.as_fd(), mark.bytes);
        recorder.inner().quiet.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&mark));
        Self { mark, recorder: recorder.clone() }
    }

    /// Something was read: raises the mark again where the sweep had lowered it.
    pub(crate) fn heard(&self, socket: &TcpStream, now: Micros) {
        self.mark.heard.store(now.0, Ordering::Relaxed);
        if self.mark.lowered.load(Ordering::Relaxed) {
            self.mark.lowered.store(false, Ordering::Relaxed);
            let _ = set_receive_low_water(socket.as_fd(), self.mark.bytes);
        }
    }
}

impl Drop for LowWater {
    fn drop(&mut self) {
        let _marks = self.recorder.inner().quiet.0.lock().unwrap_or_else(PoisonError::into_inner);
        self.mark.gone.store(true, Ordering::Release);
        #[allow(unsafe_code, reason = "this is dropped before its socket")]
        // SAFETY: the holder drops this before the socket, so the descriptor is still open.
        let socket = unsafe { BorrowedFd::borrow_raw(self.mark.socket) };
        let _ = set_receive_low_water(socket, 1);
    }
}
