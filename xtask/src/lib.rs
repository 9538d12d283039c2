//! Everything that runs Latchkey on this machine: tools, DynamoDB Local, tables, functions, gateway.
//!
//! The binary is `cargo xtask`. The library is for tests that need a table or a whole stack of their own.

pub mod bench;
pub mod check;
pub mod dynamodb_local;
pub mod emulator;
pub mod functions;
pub mod gateway;
pub mod health;
pub mod install;
pub mod lock;
pub mod moto;
pub mod package;
pub mod port;
pub mod process;
pub mod progress;
pub mod rehearse;
pub mod reload;
pub mod stack;
pub mod tables;
pub mod test;
pub mod translation;
pub mod up;
pub mod watched;
pub mod workspace;
