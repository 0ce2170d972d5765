//! The real binary, from outside: over sockets, by its exit status, by what it prints.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod commands;
mod connections;
mod http;
mod openapi;
mod process;
mod recordings;
