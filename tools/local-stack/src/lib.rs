//! What runs Latchkey on this machine: tools, DynamoDB Local, tables, functions, gateway, and emulators of AWS.
//!
//! `cargo xtask`, the bench and the tests use it. Everything that it installs, stores and logs is below `.local/`.

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
pub mod stack;
pub mod tables;
pub mod workspace;
