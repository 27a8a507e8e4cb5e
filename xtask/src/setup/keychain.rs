//! A keychain for the tests: GNOME Keyring on a session bus of their own. Linux only; elsewhere there is always one.

use super::{Look, apt};

/// Programs, and the packages of Debian that have them.
const NEEDED: [(&str, &str); 3] =
    [("dbus-daemon", "dbus-daemon"), ("dbus-send", "dbus-bin"), ("gnome-keyring-daemon", "gnome-keyring")];

pub(crate) fn look() -> Look<()> {
    let is_linux = cfg!(target_os = "linux");
    match apt::missing_programs("keychain", &NEEDED, "the tests keep secrets in a real one") {
        Some(missing) if is_linux => Err(missing),
        _ => Ok(((), "GNOME Keyring on a bus of its own".to_owned())),
    }
}
