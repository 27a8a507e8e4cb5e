//! A Chrome or Chromium to drive: the one that is installed, whatever its flavour.

use std::path::{Path, PathBuf};

use super::{Fix, Look, Missing, apt};
use crate::{paths, run::Run};

/// Overrides the search.
const VARIABLE: &str = "MAREA_CHROMIUM";

const ON_PATH: [&str; 5] =
    ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];

/// macOS keeps programs out of PATH; these are relative to `/` and to the home folder.
const MACOS: [&str; 2] = [
    "Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "Applications/Chromium.app/Contents/MacOS/Chromium",
];

pub(crate) fn look() -> Look<PathBuf> {
    let mut why = "no Chrome or Chromium was found; the web client is shown and tested in one".to_owned();
    let chosen = std::env::var_os(VARIABLE).map(PathBuf::from);
    let is_chosen = chosen.is_some();
    for browser in chosen.into_iter().chain(installed().filter(|_| !is_chosen)) {
        match Run::new(&browser).arg("--version").read() {
            Ok(said) => {
                let about = said.lines().next().unwrap_or_default().trim().to_owned();
                return Ok((browser, about));
            }
            Err(error) if is_chosen => {
                why = format!("{VARIABLE} names a browser that does not start: {error:#}")
            }
            Err(error) => why = format!("{error:#}"),
        }
    }
    let wanted = vec![apt::Wanted::Exactly("chromium")];
    let (fix, by_hand) = if is_chosen {
        (Fix::None, format!("correct {VARIABLE}, or unset it"))
    } else if apt::is_debian() {
        let by_hand = apt::command(&wanted);
        (Fix::Apt(wanted), by_hand)
    } else if cfg!(target_os = "macos") {
        (Fix::None, "brew install --cask google-chrome".to_owned())
    } else {
        (Fix::None, format!("install Google Chrome or Chromium, or set {VARIABLE} to one"))
    };
    Err(Missing { name: "browser", why, fix, by_hand })
}

fn installed() -> impl Iterator<Item = PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let roots = [Some(PathBuf::from("/")), home];
    let macos = roots.into_iter().flatten().flat_map(|root| MACOS.map(|place| root.join(place)));
    ON_PATH.iter().filter_map(|name| paths::on_path(name)).chain(macos.filter(|path| is_there(path)))
}

fn is_there(path: &Path) -> bool {
    cfg!(target_os = "macos") && paths::is_program(path)
}
