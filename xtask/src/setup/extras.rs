//! What the tests of the Postgres side take from Debian beside a server, on Linux only: the extension `plpgsql_check`, which looks at every
//! function of the migrations (npm's Postgres has no extensions), and HAProxy, the router of docs/migrations/PAIRS.md.

use std::fs;

use super::{Fix, Look, Missing, apt};
use crate::paths;

/// Debian 12's; elsewhere by hand.
const EXTENSION: &str = "postgresql-15-plpgsql-check";
const ROUTER: &str = "haproxy";

pub(crate) fn look() -> Look<()> {
    let mut versions = fs::read_dir("/usr/share/postgresql").into_iter().flatten().flatten();
    let is_there = versions.any(|version| version.path().join("extension/plpgsql_check.control").is_file());
    let has_router = paths::on_path(ROUTER).is_some();
    if (is_there && has_router) || !cfg!(target_os = "linux") {
        return Ok(((), "plpgsql_check and HAProxy".to_owned()));
    }
    let absent = [(is_there, EXTENSION), (has_router, ROUTER)];
    let packages: Vec<_> = absent.iter().filter(|(there, _)| !there).map(|(_, name)| *name).collect();
    Err(Missing {
        name: "Debian's extras",
        why: format!("{} not found; the tests of the Postgres side use it", packages.join(", ")),
        by_hand: format!("apt-get install {}", packages.join(" ")),
        fix: Fix::Apt(packages.into_iter().map(apt::Wanted::Exactly).collect()),
    })
}
