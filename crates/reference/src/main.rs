//! Writes reference pages out of the product's own tables: the OpenAPI document and the manual's page of keys.
//!
//! Never: a fact of its own. What it prints, `cargo xtask gen` keeps in the repository.
#![allow(clippy::print_stdout, reason = "printing is what it is for")]

mod config;

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("openapi") => println!("{:#}", coffer_api::openapi()),
        Some("config") => print!("{}", config::page()),
        _ => {
            eprintln!("usage: coffer-reference openapi | config");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
