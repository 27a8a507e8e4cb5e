//! A keychain for the tests: GNOME Keyring on a session bus of their own. Linux only; elsewhere there is always one.

use super::{Fix, Look, Missing, apt};
use crate::paths;

/// Programs, and the packages of Debian that have them.
const NEEDED: [(&str, &str); 3] =
    [("dbus-daemon", "dbus-daemon"), ("dbus-send", "dbus-bin"), ("gnome-keyring-daemon", "gnome-keyring")];

pub(crate) fn look() -> Look<()> {
    let absent: Vec<_> =
        NEEDED.into_iter().filter(|(program, _)| paths::on_path(program).is_none()).collect();
    if absent.is_empty() || !cfg!(target_os = "linux") {
        return Ok(((), "GNOME Keyring on a bus of its own".to_owned()));
    }
    let programs: Vec<_> = absent.iter().map(|(program, _)| *program).collect();
    let packages: Vec<_> = absent.iter().map(|(_, package)| apt::Wanted::Exactly(package)).collect();
    let by_hand = match apt::exists() {
        true => apt::command(&packages),
        false => format!("install {}", programs.join(", ")),
    };
    Err(Missing {
        name: "keychain",
        why: format!("{} not found; the tests keep secrets in a real one", programs.join(", ")),
        fix: Fix::Apt(packages),
        by_hand,
    })
}
