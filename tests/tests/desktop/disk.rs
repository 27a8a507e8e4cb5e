//! The `marea` command on disks that do not do what they should: full, read-only, closed to it; and on a mirror of a newer program.
//! Each is an exit code and one clear line, and nothing that was acknowledged is lost.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

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
        Ran::of(&mut command)
    }
}

impl Ran {
    fn of(command: &mut Command) -> Ran {
        let output = command.stdin(Stdio::null()).output().expect("it runs");
        let stderr = String::from_utf8(output.stderr).expect("text");
        Ran {
            code: output.status.code(),
            stdout: serde_json::from_slice(&output.stdout).unwrap_or(Value::Null),
            error: serde_json::from_str(&stderr).unwrap_or(Value::Null),
            stderr,
        }
    }

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

/// A disk of 700 KiB in a mount namespace of its own, as root or in a user namespace, for as long as this value lives; nothing where
/// the system lets nobody mount.
struct Small {
    keeper: Child,
    dir: PathBuf,
    enter: Vec<&'static str>,
}

impl Small {
    fn mounted_on(dir: PathBuf) -> Option<Small> {
        let ways = [
            (vec!["--mount"], vec!["--mount"]),
            (
                vec!["--mount", "--user", "--map-root-user"],
                vec!["--mount", "--user", "--preserve-credentials"],
            ),
        ];
        ways.into_iter().find_map(|(make, enter)| {
            let mut command = Command::new("unshare");
            command.args(make).args([
                "sh",
                "-c",
                "mount -t tmpfs -o size=700k,mode=700 tmpfs \"$0\" && echo mounted && exec cat",
            ]);
            let keeper = command.arg(&dir).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
            let mut keeper = keeper.spawn().expect("unshare (of util-linux) runs");
            let mut said = String::new();
            BufReader::new(keeper.stdout.as_mut().expect("a pipe")).read_line(&mut said).expect("text");
            let small = Small { keeper, dir: dir.clone(), enter };
            (said == "mounted\n").then_some(small)
        })
    }

    fn run(&self, program: &Path, words: &[&str]) -> Ran {
        let mut command = Command::new("nsenter");
        command.arg("--target").arg(self.keeper.id().to_string()).args(&self.enter).arg("--");
        let command =
            command.arg(program).args(words).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        Ran::of(command.env("MAREA_DIR", &self.dir).env("MAREA_TOKEN", TOKEN))
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        let ran = self.run(Path::new("mount"), &["-o", &options, &self.dir.display().to_string()]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // The namespace, and with it the disk, goes with the last process in it.
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

#[test]
fn a_disk_that_fills_up_and_becomes_read_only_loses_nothing() {
    let place = Place::new();
    let marea = place.program();
    let Some(disk) = Small::mounted_on(place.dir("disk")) else {
        // In some containers. A limit of file sizes and closed folders stand for it, above.
        eprintln!("nobody may mount a disk here: not as root, not in a user namespace");
        return;
    };
    let data = json!({ "note": "x".repeat(3_000) }).to_string();
    let words = [RECORD, &["--data", &data, "--json"]].concat();
    let mut acknowledged = 0;
    let refused = loop {
        let ran = disk.run(&marea, &words);
        if ran.code != Some(0) {
            break ran;
        }
        acknowledged += 1;
        assert!(acknowledged < 700, "the disk never fills up");
    };
    assert!(acknowledged > 1, "something had room");
    refused.failed("storage_full");
    assert!(refused.stderr.contains("refused whole"), "{}", refused.stderr);
    // What was recorded can be read on a full disk.
    assert_eq!(disk.run(&marea, &["progress", "--json"]).succeeded()["total_sessions"], acknowledged);

    disk.remount("ro");
    for words in [
        &words[..],
        &["progress", "--json"],
        &["status", "--json"],
        &["sync", "--url", "https://h.invalid", "--anon-key", "a", "--json"],
    ] {
        let ran = disk.run(&marea, words);
        ran.failed("storage_failed");
        assert!(ran.stderr.contains("Read-only"), "{}", ran.stderr);
    }
    let doctor = disk.run(&marea, &["doctor", "--json"]);
    assert!(
        doctor.stdout["checks"][0]["mend"].as_str().unwrap().contains("can be written"),
        "{}",
        doctor.stdout
    );

    disk.remount("rw,size=8m");
    assert_eq!(disk.run(&marea, &words).succeeded()["pending"], acknowledged + 1);
    assert_eq!(disk.run(&marea, &["progress", "--json"]).succeeded()["total_sessions"], acknowledged + 1);
    assert_eq!(disk.run(&marea, &["doctor", "--json"]).stdout["checks"][0]["verdict"], "ok");
}

/// Nothing was recorded at all, as if the disk were too full for that too.
#[test]
fn an_export_is_recorded_though_the_disk_has_no_room_for_its_file() {
    let place = Place::new();
    let marea = place.program();
    let Some(disk) = Small::mounted_on(place.dir("disk")) else {
        eprintln!("nobody may mount a disk here: not as root, not in a user namespace");
        return;
    };
    let large = place.folder.path().join("large.zip");
    std::fs::write(&large, vec![7; 2_000_000]).unwrap();
    let path = large.display().to_string();
    let words = ["export", "create", "--type", "x", "--format", "zip", "--file", &path, "--json"];
    disk.run(&marea, &words).failed("storage_full");
    let exports = disk.run(&marea, &["export", "list", "--json"]).succeeded();
    assert_eq!(exports["exports"].as_array().map(Vec::len), Some(1));
    let files = disk.run(&marea, &["export", "files", "--json"]).succeeded();
    assert_eq!(
        (&files[0]["state"], &files[0]["last_error"]["code"]),
        (&json!("refused"), &json!("storage_full"))
    );
    // And there is as much room as before.
    disk.run(&marea, &[RECORD, &["--json"]].concat()).succeeded();
}
