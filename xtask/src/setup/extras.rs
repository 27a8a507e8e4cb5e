//! What the tests of the Postgres side take from Debian beside a server, on Linux only: the extensions `plpgsql_check`, which looks at every
//! function of the migrations, and `pg_cron`, which runs the jobs (npm's Postgres has no extensions); and HAProxy, the router of
//! docs/migrations/PAIRS.md.

use std::fs;

use super::{Fix, Look, Missing, apt};
use crate::paths;

/// Extensions, each with Debian 12's package of it; elsewhere by hand.
const EXTENSIONS: [(&str, &str); 2] =
    [("plpgsql_check", "postgresql-15-plpgsql-check"), ("pg_cron", "postgresql-15-cron")];
const ROUTER: &str = "haproxy";

pub(crate) fn look() -> Look<()> {
    let versions: Vec<_> = fs::read_dir("/usr/share/postgresql").into_iter().flatten().flatten().collect();
    let has_extension = |name: &str| {
        let file = format!("extension/{name}.control");
        versions.iter().any(|version| version.path().join(&file).is_file())
    };
    let mut absent = EXTENSIONS.map(|(name, package)| (has_extension(name), package)).to_vec();
    absent.push((paths::on_path(ROUTER).is_some(), ROUTER));
    if absent.iter().all(|(is_there, _)| *is_there) || !cfg!(target_os = "linux") {
        return Ok(((), "plpgsql_check, pg_cron and HAProxy".to_owned()));
    }
    let packages: Vec<_> = absent.iter().filter(|(there, _)| !there).map(|(_, name)| *name).collect();
    Err(Missing {
        name: "Debian's extras",
        why: format!("{} not found; the tests of the Postgres side use it", packages.join(", ")),
        by_hand: format!("apt-get install {}", packages.join(" ")),
        fix: Fix::Apt(packages.into_iter().map(apt::Wanted::Exactly).collect()),
    })
}
