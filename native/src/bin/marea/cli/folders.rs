//! Where the mirrors are when nobody says so: in the system's folder for a user's data. Reads the environment, makes nothing.

use std::ffi::OsString;
use std::path::PathBuf;

/// `marea` in that folder; nothing where the environment names none.
pub(super) fn of_the_users_data() -> Option<PathBuf> {
    among(|name| std::env::var_os(name))
}

/// Linux: the XDG base directory specification, which has relative paths ignored.
#[cfg(not(any(windows, target_os = "macos")))]
fn among(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let whole = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = whole("XDG_DATA_HOME").or_else(|| Some(whole("HOME")?.join(".local").join("share")))?;
    Some(data.join("marea"))
}

#[cfg(target_os = "macos")]
fn among(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let home = variable("HOME").map(PathBuf::from).filter(|path| path.is_absolute())?;
    Some(home.join("Library").join("Application Support").join("marea"))
}

#[cfg(windows)]
fn among(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    Some(PathBuf::from(variable("LOCALAPPDATA")?).join("marea")).filter(|path| path.is_absolute())
}

#[cfg(all(test, not(any(windows, target_os = "macos"))))]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_where_the_system_keeps_such_things() {
        let check = |data: Option<&str>, home: Option<&str>, expected: Option<&str>| {
            let found = among(|name| if name == "HOME" { home } else { data }.map(OsString::from));
            assert_eq!(found, expected.map(PathBuf::from));
        };
        check(None, Some("/home/ada"), Some("/home/ada/.local/share/marea"));
        check(Some("/data"), Some("/home/ada"), Some("/data/marea"));
        check(Some("data"), Some("/home/ada"), Some("/home/ada/.local/share/marea"));
        check(Some(""), None, None);
    }
}
