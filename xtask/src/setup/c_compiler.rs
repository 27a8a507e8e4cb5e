//! What C programs are built with: the tests build some against libmarea, as its users do, some of them with AddressSanitizer.

use super::{Fix, Look, Missing, apt};
use crate::{paths, run::Run};

/// Programs, and the packages of Debian that have them.
const NEEDED: [(&str, &str); 3] = [("cc", "gcc"), ("make", "make"), ("pkg-config", "pkg-config")];

pub(crate) fn look() -> Look<()> {
    let absent: Vec<_> =
        NEEDED.into_iter().filter(|(program, _)| paths::on_path(program).is_none()).collect();
    if absent.is_empty() {
        let version = Run::new("cc").arg("-dumpfullversion").read().unwrap_or_default();
        return Ok(((), format!("cc {}, make, pkg-config", version.trim())));
    }
    let programs: Vec<_> = absent.iter().map(|(program, _)| *program).collect();
    let packages: Vec<_> = absent.iter().map(|(_, package)| apt::Wanted::Exactly(package)).collect();
    let by_hand = match apt::exists() {
        true => apt::command(&packages),
        false => format!("install {}", programs.join(", ")),
    };
    Err(Missing {
        name: "C compiler",
        why: format!("{} not found; the tests build C programs against libmarea", programs.join(", ")),
        fix: Fix::Apt(packages),
        by_hand,
    })
}
