//! What the Tauri example is built and driven with: WebKit, its driver, and a screen in memory. Only `cargo xtask tauri` asks for it.

use super::{Fix, Look, Missing, apt};
use crate::run::Run;

/// As pkg-config and Debian name what Tauri links.
const LIBRARY: &str = "webkit2gtk-4.1";
const PACKAGE: &str = "libwebkit2gtk-4.1-dev";
/// Programs, and the packages of Debian that have them.
const NEEDED: [(&str, &str); 3] =
    [("pkg-config", "pkg-config"), ("Xvfb", "xvfb"), ("WebKitWebDriver", "webkit2gtk-driver")];

pub(crate) fn look() -> Look<()> {
    if let Some(missing) =
        apt::missing_programs("WebKit", &NEEDED, "the Tauri example is clicked through in it")
    {
        return Err(missing);
    }
    match Run::new("pkg-config").args(["--modversion", LIBRARY]).read() {
        Ok(version) => Ok(((), format!("WebKitGTK {}", version.trim()))),
        Err(_) => Err(Missing {
            name: "WebKit",
            why: format!("{LIBRARY} not found; Tauri links it"),
            fix: Fix::Apt(vec![apt::Wanted::Exactly(PACKAGE)]),
            by_hand: format!("apt-get install {PACKAGE}"),
        }),
    }
}
