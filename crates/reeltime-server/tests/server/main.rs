//! The real binary, from outside: over sockets, by its exit status, by what it prints.

mod commands;
mod connections;
mod http;
mod openapi;
mod process;
mod recordings;
