//! Dialects: bytes ↔ typed messages, nothing else.

pub mod transcribe;
pub mod v1;
