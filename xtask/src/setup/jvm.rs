//! What the Kotlin program of `cargo xtask bindings --test` runs on: a JVM, and JNA, by which it calls the library.

use std::path::Path;

use super::{Fix, Look, Missing, apt};
use crate::paths;

/// Where Debian has it.
const JNA: &str = "/usr/share/java/jna.jar";
const PACKAGES: [&str; 2] = ["openjdk-17-jre-headless", "libjna-java"];

pub(crate) fn look() -> Look<()> {
    if paths::on_path("java").is_some() && Path::new(JNA).exists() {
        return Ok(((), "Java and JNA".to_owned()));
    }
    Err(Missing {
        name: "Java",
        why: format!("not found, or not {JNA}; the bindings of Kotlin are tried on it"),
        fix: Fix::Apt(PACKAGES.map(apt::Wanted::Exactly).to_vec()),
        by_hand: format!("apt-get install {}", PACKAGES.join(" ")),
    })
}
