//! LAME, loaded at run time: it is LGPL, so nothing of it is linked, and who has no use for MP3 needs no library.
//! The only unsafe code of the crate.
#![allow(unsafe_code)]

use std::error::Error as _;
use std::ffi::{CStr, c_char, c_int, c_uchar, c_void};
use std::ptr::NonNull;
use std::sync::OnceLock;

use libloading::{Library, Symbol};
use reeltime_core::codec::EncodeError;

use crate::Error;

/// The library's name since 1999; its interface has only ever grown.
const NAME: &str = "libmp3lame.so.0";
/// LAME's own scale, 0 is best: hardly worse than best, and fast.
const QUALITY: c_int = 5;
/// `MONO` and `JOINT_STEREO` of LAME's `MPEG_mode`.
const MONO: c_int = 3;
const JOINT_STEREO: c_int = 1;
/// Samples per channel given to LAME at a time.
const STEP: usize = 4_096;
/// Bytes that a step, or the end, gives at the most (lame.h: 1.25 × samples + 7200).
const MOST: usize = STEP * 5 / 4 + 7_200;

type Handle = *mut c_void;
type Set = unsafe extern "C" fn(Handle, c_int) -> c_int;
type Act = unsafe extern "C" fn(Handle) -> c_int;

/// The functions that are used, and the library that they are in.
struct Functions {
    init: unsafe extern "C" fn() -> Handle,
    set_in_samplerate: Set,
    set_out_samplerate: Set,
    set_num_channels: Set,
    set_mode: Set,
    set_brate: Set,
    set_quality: Set,
    set_bwritevbrtag: Set,
    set_scale: unsafe extern "C" fn(Handle, f32) -> c_int,
    get_scale: unsafe extern "C" fn(Handle) -> f32,
    init_params: Act,
    encode_buffer: unsafe extern "C" fn(Handle, *const i16, *const i16, c_int, *mut c_uchar, c_int) -> c_int,
    encode_buffer_interleaved: unsafe extern "C" fn(Handle, *const i16, c_int, *mut c_uchar, c_int) -> c_int,
    encode_flush: unsafe extern "C" fn(Handle, *mut c_uchar, c_int) -> c_int,
    close: Act,
    version: String,
    _library: Library,
}

impl Functions {
    /// Loads the library of this name.
    fn load(name: &str) -> Result<Self, libloading::Error> {
        // SAFETY: LAME's initialisers do nothing but set up its own tables.
        let library = unsafe { Library::new(name) }?;
        // SAFETY: each type is the function's in lame.h (`lame_global_flags *` as an untyped pointer), and the
        // functions are kept together with the library that they are in.
        unsafe {
            let get: Symbol<'_, unsafe extern "C" fn() -> *const c_char> =
                library.get(b"get_lame_short_version\0")?;
            let version = CStr::from_ptr(get()).to_string_lossy();
            Ok(Self {
                init: *library.get(b"lame_init\0")?,
                set_in_samplerate: *library.get(b"lame_set_in_samplerate\0")?,
                set_out_samplerate: *library.get(b"lame_set_out_samplerate\0")?,
                set_num_channels: *library.get(b"lame_set_num_channels\0")?,
                set_mode: *library.get(b"lame_set_mode\0")?,
                set_brate: *library.get(b"lame_set_brate\0")?,
                set_quality: *library.get(b"lame_set_quality\0")?,
                set_bwritevbrtag: *library.get(b"lame_set_bWriteVbrTag\0")?,
                set_scale: *library.get(b"lame_set_scale\0")?,
                get_scale: *library.get(b"lame_get_scale\0")?,
                init_params: *library.get(b"lame_init_params\0")?,
                encode_buffer: *library.get(b"lame_encode_buffer\0")?,
                encode_buffer_interleaved: *library.get(b"lame_encode_buffer_interleaved\0")?,
                encode_flush: *library.get(b"lame_encode_flush\0")?,
                close: *library.get(b"lame_close\0")?,
                version: format!("LAME{version}"),
                _library: library,
            })
        }
    }

    /// The library, loaded once; what failed is tried again the next time, since it may be installed meanwhile.
    fn get() -> Result<&'static Self, Error> {
        static LOADED: OnceLock<Functions> = OnceLock::new();
        if let Some(functions) = LOADED.get() {
            return Ok(functions);
        }
        let functions = Self::load(NAME).map_err(missing)?;
        Ok(LOADED.get_or_init(|| functions))
    }
}

/// The loader's own words, which name the library.
fn missing(error: libloading::Error) -> Error {
    Error::NoLame(error.source().map_or_else(|| error.to_string(), ToString::to_string))
}

/// What LAME is to make.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    /// Samples per second, in and out.
    pub(crate) rate: u32,
    /// 1 or 2.
    pub(crate) channels: u8,
    /// Bits per second, all the time.
    pub(crate) bitrate: u32,
}

/// An encoder of LAME's.
pub(crate) struct Lame {
    functions: &'static Functions,
    handle: NonNull<c_void>,
    channels: u8,
}

// SAFETY: LAME keeps an encoder's state behind its handle and nowhere else; only one thread at a time can use it,
// since everything that does takes `&mut self`.
unsafe impl Send for Lame {}

impl Lame {
    /// An encoder that writes frames alone: no tag, no information frame. LAME makes the sound a little quieter at
    /// most bit rates (0.95, presets.c): that is taken back, so that it comes out as loud as it was.
    pub(crate) fn new(settings: Settings) -> Result<Self, Error> {
        let lame = Self::scaled(settings, 1.0)?;
        // SAFETY: the handle is from `lame_init`.
        match unsafe { (lame.functions.get_scale)(lame.handle.as_ptr()) } {
            scale if scale > 0.0 && scale < 1.0 => Self::scaled(settings, scale.recip()),
            _ => Ok(lame),
        }
    }

    fn scaled(settings: Settings, scale: f32) -> Result<Self, Error> {
        let functions = Functions::get()?;
        // SAFETY: takes nothing.
        let handle = NonNull::new(unsafe { (functions.init)() })
            .ok_or_else(|| Error::Refused("LAME: no memory".to_owned()))?;
        let lame = Self { functions, handle, channels: settings.channels };
        lame.set_up(settings, scale)?;
        Ok(lame)
    }

    fn set_up(&self, settings: Settings, scale: f32) -> Result<(), Error> {
        let functions = self.functions;
        let mode = if settings.channels == 1 { MONO } else { JOINT_STEREO };
        let values: [(Set, c_int); 7] = [
            (functions.set_in_samplerate, settings.rate as c_int),
            (functions.set_out_samplerate, settings.rate as c_int),
            (functions.set_num_channels, settings.channels.into()),
            (functions.set_mode, mode),
            (functions.set_brate, (settings.bitrate / 1_000) as c_int),
            (functions.set_quality, QUALITY),
            (functions.set_bwritevbrtag, 0),
        ];
        // SAFETY: the handle is from `lame_init` and not closed before `self` is dropped.
        let set = values.iter().all(|(set, value)| unsafe { set(self.handle.as_ptr(), *value) } >= 0);
        // SAFETY: as above.
        let set = set && unsafe { (functions.set_scale)(self.handle.as_ptr(), scale) } >= 0;
        // SAFETY: as above.
        if set && unsafe { (functions.init_params)(self.handle.as_ptr()) } >= 0 {
            return Ok(());
        }
        Err(Error::Refused(format!(
            "LAME refuses {} channels at {} samples and {} bits a second",
            settings.channels, settings.rate, settings.bitrate
        )))
    }

    /// Who made the audio, as players know it: `LAME3.100`.
    pub(crate) fn version(&self) -> &str {
        &self.functions.version
    }

    /// Appends the frames that these interleaved samples fill.
    pub(crate) fn encode(&mut self, samples: &[i16], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let channels = usize::from(self.channels);
        for part in samples.chunks(STEP * channels) {
            let count = (part.len() / channels) as c_int;
            let (input, handle) = (part.as_ptr(), self.handle.as_ptr());
            self.append(out, |functions, to| {
                // SAFETY: the handle is valid (see `set_up`); LAME reads `count` samples of each channel, which
                // `part` has, that of mono twice; `to` has `MOST` bytes, and LAME is told so.
                unsafe {
                    if channels == 1 {
                        (functions.encode_buffer)(handle, input, input, count, to, MOST as c_int)
                    } else {
                        (functions.encode_buffer_interleaved)(handle, input, count, to, MOST as c_int)
                    }
                }
            })?;
        }
        Ok(())
    }

    /// Appends the last frames, with everything that LAME held back.
    pub(crate) fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let handle = self.handle.as_ptr();
        // SAFETY: the handle is valid; `to` has `MOST` bytes, more than the 7200 that LAME asks for.
        self.append(out, |functions, to| unsafe { (functions.encode_flush)(handle, to, MOST as c_int) })
    }

    /// Appends what `write` says that it wrote into [`MOST`] bytes.
    fn append(
        &self,
        out: &mut Vec<u8>,
        write: impl FnOnce(&Functions, *mut c_uchar) -> c_int,
    ) -> Result<(), EncodeError> {
        let begin = out.len();
        out.resize(begin + MOST, 0);
        let written = write(self.functions, out[begin..].as_mut_ptr());
        let length = usize::try_from(written).ok().filter(|&length| length <= MOST);
        out.truncate(begin + length.unwrap_or(0));
        length.map(|_| ()).ok_or_else(|| EncodeError(format!("LAME: error {written}")))
    }
}

impl Drop for Lame {
    fn drop(&mut self) {
        // SAFETY: the handle is valid and not used again.
        unsafe { (self.functions.close)(self.handle.as_ptr()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_is_not_there_is_an_error_that_says_what_to_install() {
        let error = Functions::load("libmp3lame-is-not-here.so.0").err().unwrap();
        let text = missing(error).to_string();
        assert!(text.contains("libmp3lame-is-not-here.so.0"), "{text}");
        assert!(text.contains("apt install libmp3lame0"), "{text}");
    }

    #[test]
    fn a_library_that_is_another_is_an_error() {
        assert!(Functions::load("libc.so.6").is_err());
    }
}
