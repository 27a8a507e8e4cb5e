//! The `marea` command on disks that do not do what they should: full, read-only, closed to it; and on a mirror of a newer program.
//! Each is an exit code and one clear line, and nothing that was acknowledged is lost.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use marea_tests::program;
use serde_json::{Value, json};
use tempfile::TempDir;

const USER: &str = "11111111-1111-4111-8111-111111111111";
const TOKEN: &str = "e30.eyJzdWIiOiIxMTExMTExMS0xMTExLTQxMTEtODExMS0xMTExMTExMTExMTEifQ.unsigned";

/// The command in a folder that an ordinary user may enter, and run as one: to root no folder is closed.
struct Place {
    folder: TempDir,
    is_root: bool,
}

struct Ran {
    code: Option<i32>,
    stdout: Value,
    error: Value,
    stderr: String,
}

impl Place {
    fn new() -> Place {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let is_root = Command::new("id").arg("-u").output().expect("id runs").stdout == b"0\n";
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))
            .expect("the folder is opened again");
        // By another process: a test beside this one that starts a program just now would keep a file that is written here busy.
        let copied =
            Command::new("cp").arg(program::built("marea-native", "marea")).arg(folder.path()).status();
        assert!(copied.expect("cp runs").success());
        Place { folder, is_root }
    }

    fn program(&self) -> PathBuf {
        self.folder.path().join("marea")
    }

    /// A new folder that the ordinary user owns.
    fn dir(&self, name: &str) -> PathBuf {
        let dir = self.folder.path().join(name);
        std::fs::create_dir_all(&dir).expect("a folder");
        if self.is_root {
            std::os::unix::fs::chown(&dir, Some(65534), Some(65534)).expect("root may give folders away");
        }
        dir
    }

    fn run(&self, dir: &Path, words: &[&str]) -> Ran {
        self.run_in_shell("exec \"$@\"", dir, words)
    }

    fn run_in_shell(&self, script: &str, dir: &Path, words: &[&str]) -> Ran {
        let mut command = Command::new("sh");
        if self.is_root {
            use std::os::unix::process::CommandExt as _;
            command.uid(65534).gid(65534);
        }
        command.args(["-c", script, "sh"]).arg(self.program()).args(words).arg("--json");
        command.env_clear().env("PATH", "/usr/bin:/bin").env("MAREA_DIR", dir).env("MAREA_TOKEN", TOKEN);
        let output = command.stdin(Stdio::null()).output().expect("marea runs");
        let stderr = String::from_utf8(output.stderr).expect("text");
        Ran {
            code: output.status.code(),
            stdout: serde_json::from_slice(&output.stdout).unwrap_or(Value::Null),
            error: serde_json::from_str(&stderr).unwrap_or(Value::Null),
            stderr,
        }
    }
}

impl Ran {
    #[track_caller]
    fn succeeded(self) -> Value {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self.stdout
    }

    #[track_caller]
    fn failed(&self, code: &str) {
        assert_eq!((self.code, &self.error["error"]["code"]), (Some(1), &json!(code)), "{}", self.stderr);
        assert_eq!(self.stderr.lines().count(), 1, "{}", self.stderr);
        assert_eq!(self.stdout, Value::Null);
    }
}

const RECORD: &[&str] = &["session", "record", "--minutes", "1"];

#[test]
fn a_folder_that_is_closed_to_it_is_one_clear_line() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    let dir = place.dir("data");
    place.run(&dir, RECORD).succeeded();
    let mode = |mode| std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(mode)).unwrap();
    // It may not be entered.
    mode(0o000);
    let closed = place.run(&dir, RECORD);
    closed.failed("storage_failed");
    assert!(closed.stderr.contains("data"), "{}", closed.stderr);
    // It may be read, and nothing may be made in it: as on a disk that is mounted read-only.
    let fresh = place.dir("fresh");
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o500)).unwrap();
    place.run(&fresh, RECORD).failed("storage_failed");
    // The doctor says what is to be mended, and that is not the account: it cannot be known.
    std::fs::write(fresh.join("session.json"), "{}").unwrap();
    let report = place.run_in_shell("MAREA_TOKEN= exec \"$@\"", &fresh, &["doctor"]).stdout;
    assert_eq!(report["checks"][0]["name"], "sign-in");
    assert!(report["checks"][0]["mend"].as_str().unwrap().contains("session.json"), "{report}");
    mode(0o700);
    assert_eq!(place.run(&dir, &["progress"]).succeeded()["total_sessions"], 1, "nothing was lost");
}

#[test]
fn a_full_disk_refuses_whole_and_keeps_what_was_acknowledged() {
    let place = Place::new();
    let dir = place.dir("data");
    place.run(&dir, RECORD).succeeded();
    let size = |name: &str| std::fs::metadata(dir.join(name)).map_or(0, |file| file.len());
    // No file may grow beyond what the mirror needs for a few more sessions: so much the disk still gives. Blocks of 512 bytes.
    let room = size(&format!("{USER}.sqlite3")) / 512 + 40;
    let script = format!("trap '' XFSZ; ulimit -f {room}; exec \"$@\"");
    let long = "x".repeat(3_000);
    let data = json!({ "note": long }).to_string();
    let words = [RECORD, &["--data", &data]].concat();
    let mut acknowledged = 1;
    let refused = loop {
        let ran = place.run_in_shell(&script, &dir, &words);
        if ran.code != Some(0) {
            break ran;
        }
        acknowledged += 1;
        assert!(acknowledged < 500, "the disk never fills up");
    };
    let code = refused.error["error"]["code"].as_str().unwrap_or_default().to_owned();
    assert!(["storage_full", "storage_failed"].contains(&code.as_str()), "{}", refused.stderr);
    refused.failed(&code);
    assert!(refused.stderr.contains("refused whole"), "{}", refused.stderr);
    assert!(acknowledged > 1, "something had room");
    // Without any, not even the log's index can be made, and that is what is said of it.
    place.run_in_shell("trap '' XFSZ; ulimit -f 8; exec \"$@\"", &dir, &["progress"]).failed("storage_full");
    // With room again, all is there and work goes on.
    assert_eq!(place.run(&dir, &["progress"]).succeeded()["total_sessions"], acknowledged);
    assert_eq!(place.run(&dir, RECORD).succeeded()["pending"], acknowledged + 1);
    assert_eq!(place.run(&dir, &["doctor"]).stdout["checks"][0]["verdict"], "ok");
}

#[test]
fn a_mirror_of_a_newer_program_is_left_as_it_is() {
    let place = Place::new();
    let dir = place.dir("data");
    place.run(&dir, RECORD).succeeded();
    let mirror = dir.join(format!("{USER}.sqlite3"));
    let newer = rusqlite::Connection::open(&mirror).unwrap();
    newer.pragma_update(None, "user_version", 9_999).unwrap();
    newer.close().unwrap();
    let before = std::fs::read(&mirror).unwrap();
    for words in [RECORD, &["progress"], &["status"]] {
        let ran = place.run(&dir, words);
        ran.failed("mirror_newer");
        assert!(ran.stderr.contains("update the program"), "{}", ran.stderr);
    }
    let doctor = place.run(&dir, &["doctor"]);
    assert_eq!(doctor.code, Some(1));
    assert!(
        doctor.stdout["checks"][0]["mend"].as_str().unwrap().contains("Update marea"),
        "{}",
        doctor.stdout
    );
    assert_eq!(std::fs::read(&mirror).unwrap(), before);
}
