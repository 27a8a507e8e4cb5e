//! A real keychain for a test: a session bus of its own, with GNOME Keyring on it, unlocked. Nothing of whoever runs the tests is
//! touched.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// What a test says when it is not there.
const NEEDED: &str =
    "of Debian's packages dbus-daemon, dbus-bin and gnome-keyring; `cargo xtask setup` installs them";

/// A bus, and the Secret Service on it.
pub struct Keyring {
    bus: Child,
    daemon: Child,
    address: String,
    _folder: TempDir,
}

impl Keyring {
    /// Starts both.
    ///
    /// # Panics
    /// When they are not installed.
    pub fn start() -> Keyring {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut bus = Command::new("dbus-daemon")
            .args(["--session", "--nofork", "--print-address"])
            .arg(format!("--address=unix:path={}", folder.path().join("bus").display()))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("dbus-daemon, {NEEDED}: {error}"));
        let mut address = String::new();
        BufReader::new(bus.stdout.take().expect("a pipe")).read_line(&mut address).expect("its address");
        let address = address.trim_end().to_owned();
        let mut daemon = Command::new("gnome-keyring-daemon")
            .args(["--foreground", "--unlock", "--components=secrets"])
            .env("DBUS_SESSION_BUS_ADDRESS", &address)
            .env("HOME", folder.path())
            .env("XDG_RUNTIME_DIR", folder.path())
            .env_remove("XDG_DATA_HOME")
            .env_remove("DISPLAY")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("gnome-keyring-daemon, {NEEDED}: {error}"));
        let mut stdin = daemon.stdin.take().expect("a pipe");
        stdin.write_all(b"the login's password").expect("it reads");
        drop(stdin);
        let keyring = Keyring { bus, daemon, address, _folder: folder };
        // Each look starts a program, which takes milliseconds: this is more than half a minute.
        let came = (0..20_000).any(|_| keyring.is_on_the_bus());
        assert!(came, "gnome-keyring-daemon does not come");
        keyring
    }

    fn is_on_the_bus(&self) -> bool {
        let asked = Command::new("dbus-send")
            .arg(format!("--bus={}", self.address))
            .args(["--dest=org.freedesktop.DBus", "--print-reply", "/", "org.freedesktop.DBus.GetNameOwner"])
            .arg("string:org.freedesktop.secrets")
            .stderr(Stdio::null())
            .output();
        asked.unwrap_or_else(|error| panic!("dbus-send, {NEEDED}: {error}")).status.success()
    }

    /// The bus, for `DBUS_SESSION_BUS_ADDRESS`.
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Keyring {
    fn drop(&mut self) {
        for process in [&mut self.daemon, &mut self.bus] {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
