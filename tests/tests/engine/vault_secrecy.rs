//! Nothing secret is where it should not be. A marked key and marked passphrases go through everything; then the files of the
//! mirror, all that went over the wire, all that was printed, and the memory of a locked process are searched for them.

use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use marea_native::{Client, Config, Passphrase};
use marea_tests::world::World;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const KEY: &str = "sk-marked-4bY8vTq0ZcWm2RkLx7NdPj5HsUf1GaEo";
const FIRST: &str = "marked passphrase crimson-lantern";
const SECOND: &str = "marked passphrase violet-harbour";

/// Where something is found, if it is.
fn find(haystack: &[u8], needle: &[u8]) -> bool {
    // From each place of the first byte to the next: hundreds of megabytes, in a build that optimises nothing but the library.
    let mut rest = haystack;
    while rest.skip_until(needle[0]).expect("a slice can be read") > 0 {
        if haystack[haystack.len() - rest.len() - 1..].starts_with(needle) {
            return true;
        }
    }
    false
}

/// Everything that must not be found: in the clear, and as the encodings that text takes on its way.
fn needles(secrets: &[&[u8]]) -> Vec<Vec<u8>> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into_bytes();
    let mut all = Vec::new();
    for secret in secrets {
        // A part is as bad as the whole; 16 bytes are found nowhere by chance.
        let part = &secret[..secret.len().min(16)];
        all.extend([part.to_vec(), hex(part)]);
    }
    all
}

fn files(folder: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).expect("the folder") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => files(&path, found),
            false => found.push((path.display().to_string(), std::fs::read(&path).expect("a file"))),
        }
    }
}

type Captured = Arc<Mutex<Vec<u8>>>;

/// Stands between a device and its server and keeps all that passes.
async fn tap(server: &str) -> (String, Captured) {
    let captured = Captured::default();
    let target = server.trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let kept = Arc::clone(&captured);
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = TcpStream::connect(&target).await.expect("the server");
            let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
            tokio::spawn(pass(near_in, far_out, Arc::clone(&kept)));
            tokio::spawn(pass(far_in, near_out, Arc::clone(&kept)));
        }
    });
    (url, captured)
}

async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, kept: Captured) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        kept.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buffer[..length]);
        if to.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_is_in_the_files_on_the_wire_or_in_what_is_printed() {
    let world = World::shared().await;
    let (url, captured) = tap(&world.backend().ready().url).await;
    let mut device = world
        .device_of(1)
        .with("MAREA_URL", url)
        .with("RUST_LOG", "trace")
        .with("MAREA_PASSPHRASE", FIRST)
        .with("MAREA_NEW_PASSPHRASE", SECOND)
        .with("MAREA_API_KEY", KEY);
    let mut printed = Vec::new();
    let mut say = |ran: marea_tests::command::Ran| {
        printed.extend([ran.stdout.clone().into_bytes(), ran.stderr.clone().into_bytes()]);
        ran
    };
    say(device.run(&["key", "set", "openai", "--json"]).await.exits(0));
    say(device.run(&["sync", "--json"]).await.exits(0));
    let code = device.run(&["key", "recovery", "--json"]).await.exits(0).json()["recovery_code"].clone();
    say(device.run(&["key", "passphrase"]).await.exits(0));
    say(device.run(&["key", "get", "openai"]).await.exits(1));
    device.set("MAREA_PASSPHRASE", SECOND);
    say(device.run(&["key", "list"]).await.exits(0));
    let clear = device.run(&["key", "get", "openai"]).await.exits(0).stdout;
    assert_eq!(clear.trim(), KEY, "the marked key went through all of it");
    say(device.run(&["sync", "--json"]).await.exits(0));
    say(device.run(&["status", "--json"]).await.exits(0));

    let opened = Client::open(Config::new(device.dir(), world.learner(1).into())).await.expect("the mirror");
    let vault = opened.vault();
    vault.unlock(&Passphrase::new(SECOND.into()).expect("a passphrase")).await.expect("unlocked");
    let data_key = vault.data_key_to_remember().await.expect("open");
    printed.push(format!("{opened:?} {vault:?} {data_key:?}").into_bytes());

    let code = code.as_str().expect("a code");
    let secrets = needles(&[
        KEY.as_bytes(),
        &FIRST.as_bytes()[8..],
        &SECOND.as_bytes()[8..],
        code.as_bytes(),
        data_key.expose(),
    ]);
    let mut places = Vec::new();
    files(&device.dir(), &mut places);
    assert!(places.iter().any(|(name, _)| name.ends_with("-wal")), "the journal is among them");
    let wire = captured.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert!(find(&wire, b"pbkdf2-sha256-600000"), "the sealed key went over the wire");
    places.push(("the wire".to_owned(), wire));
    places.extend(printed.into_iter().map(|text| ("what was printed".to_owned(), text)));
    for (place, bytes) in &places {
        for secret in &secrets {
            assert!(!find(bytes, secret), "{} is in {place}", String::from_utf8_lossy(secret));
        }
    }
    // The search itself finds what is there.
    assert!(find(&places[0].1, b"SQLite") || places.iter().any(|(_, bytes)| find(bytes, b"SQLite format 3")));
}

/// The parts of a process's memory that can be read, as one.
fn memory(pid: u32) -> Vec<u8> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("the map");
    let mut file = std::fs::File::open(format!("/proc/{pid}/mem")).expect("the memory of one's own child");
    let mut all = Vec::new();
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (range, rights) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let writable = rights.starts_with("rw");
        let Some((start, end)) = range.split_once('-').filter(|_| writable) else { continue };
        let number = |text| u64::from_str_radix(text, 16).expect("an address");
        let (start, end) = (number(start), number(end));
        let mut part = vec![0; usize::try_from(end - start).expect("a size")];
        if file.seek(SeekFrom::Start(start)).is_ok() && file.read_exact(&mut part).is_ok() {
            all.append(&mut part);
        }
    }
    all
}

/// Runs the program to where it waits, and gives what is in its memory then, and the data key and what the passphrase makes.
fn locked_memory(keeping: bool) -> (Vec<u8>, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_vault_memory"));
    command.args(keeping.then_some("keep")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let dir = folder.path().display();
    write!(stdin, "{dir}\n{FIRST}\n{SECOND}\n{KEY}\n").expect("it reads");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("it speaks");
    assert_eq!(line, "locked\n");
    let found = memory(child.id());
    drop(stdin);
    assert!(child.wait().expect("it ends").success());
    (found, folder)
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_is_in_the_memory_of_a_locked_process() {
    let (found, folder) = locked_memory(false);
    let user = "7d0c7d5e-0d0e-4c0f-9b3a-2f8f5a1b6c3d".parse().expect("a user");
    let opened = Client::open(Config::new(folder.path(), user)).await.expect("the mirror");
    opened.vault().unlock(&Passphrase::new(SECOND.into()).expect("a passphrase")).await.expect("unlocked");
    let data_key = opened.vault().data_key_to_remember().await.expect("open");
    let envelope = opened.api_keys().await.expect("keys").openai_api_key.expect("a sealed key");
    assert!(find(&found, &envelope.as_str().as_bytes()[..60]), "the sealed form may be there, and is");
    let wrapping = marea_tests::vault::derived(&envelope, SECOND);
    let named: [(&str, &[u8]); 5] = [
        ("the key", KEY.as_bytes()),
        ("the first passphrase", &FIRST.as_bytes()[8..]),
        ("the second passphrase", &SECOND.as_bytes()[8..]),
        ("the data key", data_key.expose()),
        ("what the passphrase makes", wrapping.expose()),
    ];
    for (name, secret) in named {
        assert!(!find(&found, &secret[..16]), "{name} is in the memory of a locked process");
    }
}

/// The same search, where the secrets are still held: it finds them.
#[cfg(target_os = "linux")]
#[test]
fn the_search_of_memory_finds_what_is_there() {
    let (found, _folder) = locked_memory(true);
    for secret in [KEY, FIRST, SECOND] {
        assert!(find(&found, secret.as_bytes()));
    }
}
