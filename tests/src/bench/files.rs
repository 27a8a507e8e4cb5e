//! Files on the desktop: the upload of a large one against `curl` with the same pieces to the same address, what it takes of memory, and
//! what a sync beside it takes. Linux only: it reads /proc.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use marea_native::{Client, ExportInput, FileState, NewFile, SessionInput};
use serde::{Deserialize, Serialize};

use super::native::Programs;
use super::{Figure, Spread, millis, now};
use crate::random::Random;
use crate::world::World;

/// What the engine sends at a time, and Supabase wants.
const PIECE: usize = 6 << 20;
const ROUNDS: usize = 3;
/// Nobody else has files here.
const LEARNER: usize = 2;

/// What an upload took, as the process says that did it.
#[derive(Serialize, Deserialize)]
pub struct Upload {
    keep_ms: f64,
    send_ms: f64,
    /// The most memory while it was kept and sent, over what the process had before.
    grown_kib: f64,
    /// Recording a session and syncing it, during the upload of another such file.
    beside_ms: Vec<f64>,
    /// The same without one.
    alone_ms: Vec<f64>,
}

/// Uploads a file, then another beside syncs. For a process of its own: its memory is what is measured.
pub async fn upload(client: &Client, path: &Path) -> Upload {
    client.sync().await.expect("a sync");
    std::fs::write("/proc/self/clear_refs", "5").expect("Linux");
    let before = kib("VmRSS");
    let begun = now();
    keep(client, NewFile::from_path(path)).await;
    let keep_ms = millis(begun.elapsed());
    client.sync().await.expect("a sync");
    let begun = now();
    send(client).await;
    let (send_ms, grown_kib) = (millis(begun.elapsed()), kib("VmHWM") - before);

    // Other bytes: the same ones would be there already, in an export of their own all the same.
    keep(client, NewFile::from_path(path)).await;
    client.sync().await.expect("a sync");
    let mut beside_ms = Vec::new();
    let syncing = async {
        loop {
            beside_ms.push(record_and_sync(client).await);
        }
    };
    tokio::select! {
        () = send(client) => {}
        () = syncing => {}
    }
    let mut alone_ms = Vec::new();
    for _ in 0..beside_ms.len().max(10) {
        alone_ms.push(record_and_sync(client).await);
    }
    Upload { keep_ms, send_ms, grown_kib, beside_ms, alone_ms }
}

async fn keep(client: &Client, file: NewFile) {
    let export =
        ExportInput { export_type: "photos".into(), export_format: "bin".into(), ..ExportInput::default() };
    client.create_export_with_file(export, file).await.expect("kept");
}

async fn send(client: &Client) {
    let files = client.send_files().await.expect("the files");
    assert!(files.iter().all(|file| file.state == FileState::Uploaded), "{files:?}");
}

async fn record_and_sync(client: &Client) -> f64 {
    let begun = now();
    client.record_session(SessionInput::new("practice")).await.expect("recorded");
    client.sync().await.expect("a sync");
    millis(begun.elapsed())
}

fn kib(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    super::native::field_of(&status, field) as f64
}

/// The figures of a file of so many megabytes.
pub async fn figures(programs: &Programs, world: &World, megabytes: usize) -> Vec<Figure> {
    let folder = tempfile::tempdir().expect("a folder");
    let source = folder.path().join("source.bin");
    let bytes = random_bytes(megabytes * 1_000_000);
    std::fs::write(&source, &bytes).expect("a file");
    let pieces: Vec<PathBuf> =
        (0..bytes.len().div_ceil(PIECE)).map(|at| folder.path().join(at.to_string())).collect();
    for (piece, part) in pieces.iter().zip(bytes.chunks(PIECE)) {
        std::fs::write(piece, part).expect("a piece");
    }
    let (mut ratios, mut rates, mut curls, mut uploads) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let rate = |ms: f64| bytes.len() as f64 / 1000.0 / ms;
    for round in 0..ROUNDS {
        let curl = by_curl(world, &pieces, bytes.len()).await;
        let upload = by_marea(programs, world, &source, &folder.path().join(format!("device-{round}")));
        ratios.push(curl / upload.send_ms);
        rates.push(rate(upload.send_ms));
        curls.push(rate(curl));
        uploads.push(upload);
    }
    let of = |values: &dyn Fn(&Upload) -> Vec<f64>, unit| Spread::of(unit, uploads.iter().flat_map(values));
    let alone = of(&|it| it.alone_ms.clone(), "ms");
    let beside = of(&|it| it.beside_ms.clone(), "ms");
    let measured = Spread::of("x", ratios);
    let grown = of(&|it| vec![it.grown_kib / 1024.0], "MiB");
    let kept = of(&|it| vec![it.keep_ms], "ms").median;
    let slower = Spread::of("x", beside_ratios(&uploads));
    vec![
        Figure {
            what: format!("upload of {megabytes} MB, speed over curl's"),
            baseline: format!(
                "`curl`, the same pieces over one connection: {:.0} MB/s",
                Spread::of("", curls).median
            ),
            bar: ">= 0.8 x".into(),
            passed: measured.median >= 0.8,
            measured,
            how: format!(
                "`Client::send_files` at {:.0} MB/s, to the development backend; kept before in {kept:.0} ms",
                Spread::of("", rates).median
            ),
        },
        Figure {
            what: format!("memory that keeping and uploading {megabytes} MB adds"),
            baseline: "the same process after its first sync".into(),
            bar: "<= 32 MiB".into(),
            passed: grown.median <= 32.0,
            measured: grown,
            how: "VmHWM, reset before, over VmRSS".into(),
        },
        Figure {
            what: format!("a session recorded and synced beside the upload of {megabytes} MB"),
            baseline: format!("without one: {:.1} ms", alone.median),
            bar: "<= 2 x".into(),
            passed: slower.median <= 2.0,
            measured: slower,
            how: format!(
                "medians of each round; all in all {:.1} ms beside it ({} syncs), the machine's cores shared with the server",
                beside.median, beside.rounds
            ),
        },
    ]
}

fn beside_ratios(uploads: &[Upload]) -> Vec<f64> {
    let median = |values: &[f64]| Spread::of("ms", values.iter().copied()).median;
    uploads.iter().map(|it| median(&it.beside_ms) / median(&it.alone_ms)).collect()
}

fn random_bytes(size: usize) -> Vec<u8> {
    let mut random = Random::of_seed(1);
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        bytes.extend_from_slice(&random.bits().to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

fn by_marea(programs: &Programs, world: &World, source: &Path, dir: &Path) -> Upload {
    let ready = world.backend().ready();
    let ran = Command::new(&programs.idle)
        .arg(dir)
        .args([&ready.url, &ready.anon_key, &world.token(LEARNER, 3600)])
        .arg(source)
        .stderr(Stdio::inherit())
        .output()
        .expect("it runs");
    std::fs::remove_dir_all(dir).expect("removed");
    serde_json::from_slice(&ran.stdout).expect("what it took")
}

/// The same conversation by curl, in milliseconds.
async fn by_curl(world: &World, pieces: &[PathBuf], size: usize) -> f64 {
    let ready = world.backend().ready();
    let user = world.learner(LEARNER);
    let id: uuid::Uuid = world
        .one(&format!(
            "INSERT INTO public.export_history (user_id, export_type, export_format) VALUES ('{user}', 'x', 'bin') RETURNING id"
        ))
        .await;
    let name = format!("{user}/{id}/{}.bin", "0".repeat(64));
    let metadata: String = world
        .one(&format!(
            "SELECT string_agg(name || ' ' || replace(encode(convert_to(value, 'UTF8'), 'base64'), E'\\n', ''), ',')
             FROM (VALUES ('bucketName', 'marea-exports'), ('objectName', '{name}'), ('contentType', 'application/zip')) AS m (name, value)"
        ))
        .await;
    let headers = [
        format!("authorization: Bearer {}", world.token(LEARNER, 3600)),
        format!("apikey: {}", ready.anon_key),
        "tus-resumable: 1.0.0".to_owned(),
        // Without it curl asks first whether it may.
        "expect:".to_owned(),
    ];
    let with_headers = |curl: &mut Command| {
        for header in &headers {
            curl.args(["-H", header]);
        }
    };
    let begun = now();
    let mut create = Command::new("curl");
    create.args(["-sS", "-f", "-D", "-", "-X", "POST"]);
    with_headers(&mut create);
    create.args(["-H", &format!("upload-length: {size}"), "-H", &format!("upload-metadata: {metadata}")]);
    let answer = create.arg(format!("{}/storage/v1/upload/resumable", ready.url)).output().expect("curl");
    let answer = String::from_utf8_lossy(&answer.stdout).into_owned();
    let location = answer.lines().find_map(|line| line.strip_prefix("location: ")).expect("an address");
    // All in one process, over one connection.
    let mut patches = Command::new("curl");
    for (at, piece) in pieces.iter().enumerate() {
        if at > 0 {
            patches.arg("--next");
        }
        patches.args(["-sS", "-f", "-X", "PATCH", "-H", "content-type: application/offset+octet-stream"]);
        with_headers(&mut patches);
        patches.args(["-H", &format!("upload-offset: {}", at * PIECE)]);
        patches.arg("--data-binary").arg(format!("@{}", piece.display())).arg(location.trim());
    }
    assert!(patches.status().expect("curl").success(), "curl did not get through");
    let took: Duration = begun.elapsed();
    let kept: i64 = world
        .one(&format!("SELECT (metadata ->> 'size')::bigint FROM storage.objects WHERE name = '{name}'"))
        .await;
    assert_eq!(usize::try_from(kept), Ok(size));
    millis(took)
}
