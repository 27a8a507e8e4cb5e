//! What C programs are built with: the tests build some against libmarea, as its users do, some of them with AddressSanitizer.

use super::{Look, apt};
use crate::run::Run;

/// Programs, and the packages of Debian that have them.
const NEEDED: [(&str, &str); 3] = [("cc", "gcc"), ("make", "make"), ("pkg-config", "pkg-config")];

pub(crate) fn look() -> Look<()> {
    if let Some(missing) =
        apt::missing_programs("C compiler", &NEEDED, "the tests build C programs against libmarea")
    {
        return Err(missing);
    }
    let version = Run::new("cc").arg("-dumpfullversion").read().unwrap_or_default();
    Ok(((), format!("cc {}, make, pkg-config", version.trim())))
}
