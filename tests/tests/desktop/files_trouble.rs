//! Files of exports on the desktop where something is missing, breaks or changes in the middle: names, the bucket, a proxy, pieces, the
//! token, the user, another program, another device, and the bytes themselves.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use marea_native::{
    Client, Config, ExportInput, FileState, FileView, MutationId, NewFile, StaticToken, TokenSource,
};
use marea_tests::command::Device;
use marea_tests::world::{Fault, FaultKind, World};

use crate::files::{UPLOADS, create, kept, objects, write};

pub(crate) const PIECE: usize = 6 << 20;
pub(crate) const OBJECTS: &str = "/storage/v1/object";

/// A client that does nothing by itself, so that each step is the test's.
pub(crate) async fn client(
    world: &World,
    dir: &Path,
    tokens: impl TokenSource + 'static,
    quota: u64,
) -> Client {
    let ready = world.backend().ready();
    let config = Config::new(dir, world.learner(1).into()).server(&ready.url, &ready.anon_key).tokens(tokens);
    Client::open(config.background_sync(false).file_quota_bytes(quota)).await.expect("a client")
}

pub(crate) async fn plain_client(world: &World, dir: &Path) -> Client {
    client(world, dir, StaticToken::new(world.token(1, 3600)), 200_000_000).await
}

pub(crate) fn asked(id: Option<MutationId>) -> ExportInput {
    ExportInput { id, export_type: "x".into(), export_format: "zip".into(), ..ExportInput::default() }
}

/// Keeps a file of this size with a new export.
pub(crate) async fn add(client: &Client, size: usize) -> MutationId {
    let file = NewFile::from_bytes(vec![7; size], "zip");
    client.create_export_with_file(asked(None), file).await.expect("kept").id
}

pub(crate) async fn send(client: &Client, id: MutationId) -> FileView {
    client.sync().await.expect("a sync");
    let files = client.send_files().await.expect("the files");
    files.into_iter().find(|it| it.export_id == id).expect("the file")
}

/// What a file has come to: its state, and the code of what it met.
pub(crate) fn outcome(file: &FileView) -> (FileState, &str) {
    (file.state, file.last_error.as_ref().map_or("", |it| &it.code))
}

pub(crate) fn fault(kind: FaultKind, path: &str) -> Fault {
    Fault { times: None, ..Fault::new(kind, path, 0) }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_every_size_and_name_arrive() {
    let world = World::shared().await;
    let (device, other) = (world.device_of(1), world.device_of(1));
    let folder = tempfile::tempdir().expect("a folder");
    // An ending that is none is that of the export's format.
    for (name, size, ending) in [
        ("none", 0, "zip"),
        ("\u{1f4f7} fotos.ZIP", 1, "zip"),
        ("archive.tar.backup-2026", PIECE, "zip"),
        ("\u{e9}t\u{e9}.c\u{e9}v", 10, "zip"),
        ("two words.csv", PIECE + 1, "csv"),
    ] {
        let source = folder.path().join(name);
        let bytes = write(&source, size, 1);
        let id = create(&device, &source).await;
        device.json(&["sync"]).await;
        let found = objects(&world, 1).await;
        let (path, kept) = found.iter().find(|(path, _)| path.contains(&id)).expect("its object");
        assert_eq!((path.rsplit('.').next(), usize::try_from(*kept)), (Some(ending), Ok(size)), "{name}");
        other.json(&["sync"]).await;
        let copy = folder.path().join(format!("{id}.copy"));
        other.json(&["export", "download", &id, "--out", &copy.display().to_string()]).await;
        assert!(std::fs::read(&copy).expect("the file") == bytes, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_refuses_is_said_by_name_and_what_it_only_lacks_is_waited_for() {
    let world = World::alone().await;
    let folder = tempfile::tempdir().expect("a folder");
    let client = plain_client(&world, folder.path()).await;
    let bucket = |change: &str| format!("UPDATE storage.buckets SET {change} WHERE id = 'marea-exports'");
    // In one request, and in pieces.
    let ids = [add(&client, 1001).await, add(&client, PIECE + 1).await];
    let all_are = async |expected: (FileState, &str)| {
        for id in ids {
            client.retry_file(id).await.expect("tried again");
        }
        client.sync().await.expect("a sync");
        let files = client.send_files().await.expect("the files");
        assert_eq!(files.iter().map(outcome).collect::<Vec<_>>(), [expected; 2]);
    };
    world.execute("BEGIN; SELECT set_config('storage.allow_delete_query', 'true', true); DELETE FROM storage.buckets WHERE id = 'marea-exports'; COMMIT").await;
    all_are((FileState::Waiting, "bucket_missing")).await;
    world.execute("SELECT marea.prepare_files()").await;
    world.execute(&bucket("file_size_limit = 1000")).await;
    all_are((FileState::Refused, "file_too_large")).await;
    world.execute(&bucket("file_size_limit = NULL, allowed_mime_types = ARRAY['text/csv']")).await;
    all_are((FileState::Refused, "file_type_refused")).await;
    world.execute(&bucket("allowed_mime_types = NULL")).await;
    for (status, code) in
        [(507, "server_full"), (413, "proxy_too_large"), (302, "refused"), (200, "unintelligible_answer")]
    {
        world.clear_faults();
        world.fault(fault(FaultKind::Status, "/storage/v1").with_status(status));
        all_are((FileState::Waiting, code)).await;
    }
    assert!(objects(&world, 1).await.is_empty());
    world.clear_faults();
    all_are((FileState::Uploaded, "")).await;
    assert_eq!(objects(&world, 1).await.len(), 2);
    client.shutdown(std::time::Duration::ZERO).await.expect("closed");

    // The command says with its sync what a file waits for: nobody else will know it.
    let device = world.device_of(1);
    device.json(&["export", "create", "--type", "progress", "--format", "csv"]).await;
    world.fault(fault(FaultKind::Status, OBJECTS).with_status(507));
    let report = device.json(&["sync"]).await;
    assert_eq!(
        (&report["files"]["waiting"], &report["files"]["problem"]["code"]),
        (&1.into(), &"server_full".into())
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_piece_is_cut_in_the_middle_and_the_file_arrives_whole() {
    let world = World::alone().await;
    let folder = tempfile::tempdir().expect("a folder");
    let client = plain_client(&world, folder.path()).await;
    let id = add(&client, 3 * PIECE + 5).await;
    // Of two calls one breaks off: pieces, and what was left of them. For ever there would be half of the rest left.
    world.fault(Fault { every: 2, ..Fault::new(FaultKind::CutRequest, UPLOADS, 8) });
    let mut rounds = 0;
    while send(&client, id).await.state != FileState::Uploaded {
        rounds += 1;
        assert!(rounds < 30, "it never arrives");
    }
    let cut: u32 = world.backend().faults().list().iter().map(|fault| fault.fired).sum();
    assert_eq!(cut, 8);
    world.clear_faults();
    client.sync().await.expect("a sync");
    let copy = folder.path().join("copy");
    let other = plain_client(&world, &folder.path().join("other")).await;
    other.sync().await.expect("a sync");
    // The hash is checked on the way.
    assert_eq!(other.export_file(id, &copy).await.expect("fetched"), 3 * (PIECE as u64) + 5);
    for client in [client, other] {
        client.shutdown(std::time::Duration::ZERO).await.expect("closed");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_ends_in_the_middle_is_renewed_and_the_upload_goes_on_where_it_was() {
    let world = World::alone().await;
    let folder = tempfile::tempdir().expect("a folder");
    let (good, ended) = (world.token(1, 3600), world.token(1, -10));
    // Good for the sync, the beginning and the first piece; from then on only who says that it was refused gets a new one.
    let (left, renewed) = (Arc::new(AtomicU32::new(u32::MAX)), Arc::new(AtomicU32::new(0)));
    let tokens = {
        let (left, renewed) = (Arc::clone(&left), Arc::clone(&renewed));
        move |refused: bool| {
            if refused {
                renewed.fetch_add(1, Ordering::SeqCst);
                left.store(u32::MAX, Ordering::SeqCst);
            }
            let is_good =
                left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |it| it.checked_sub(1)).is_ok();
            let token = if is_good { good.clone() } else { ended.clone() };
            async move { Some(token) }
        }
    };
    let client = client(&world, folder.path(), tokens, 200_000_000).await;
    let id = add(&client, 4 * PIECE).await;
    client.sync().await.expect("a sync");
    world.fault(fault(FaultKind::Delay, UPLOADS));
    left.store(2, Ordering::SeqCst);
    client.send_files().await.expect("the files");
    assert_eq!(client.files().await.expect("files")[0].state, FileState::Uploaded);
    assert_eq!(renewed.load(Ordering::SeqCst), 1);
    // Four pieces, and the one that came with a token that had ended.
    let asked: u32 = world.backend().faults().list().iter().map(|fault| fault.met).sum();
    assert_eq!((asked, objects(&world, 1).await.len()), (5, 1), "{id}");
    client.shutdown(std::time::Duration::ZERO).await.expect("closed");
    world.stop().await;
}

/// A device of learner 1 with a file of which the server has a part.
async fn half_uploaded(world: &World, folder: &Path) -> (Device, String) {
    let device = world.device_of(1);
    let source = folder.join("half.zip");
    write(&source, 3 * PIECE, 5);
    let id = create(&device, &source).await;
    // The second piece and all that comes after it.
    world.fault(Fault { times: Some(1), ..Fault::new(FaultKind::DropAnswer, UPLOADS, 1) });
    world.fault(fault(FaultKind::Status, UPLOADS).with_status(503));
    device.json(&["sync"]).await;
    assert_eq!(device.json(&["export", "files"]).await[0]["state"], "uploading");
    world.clear_faults();
    (device, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn another_user_sends_nothing_of_it_and_what_is_deleted_in_the_middle_goes() {
    let world = World::alone().await;
    let folder = tempfile::tempdir().expect("a folder");
    let (mut device, id) = half_uploaded(&world, folder.path()).await;
    device.set("MAREA_TOKEN", world.token(2, 3600));
    assert_eq!(device.json(&["export", "files"]).await, serde_json::json!([]));
    device.json(&["export", "create", "--type", "progress", "--format", "csv"]).await;
    device.json(&["sync"]).await;
    assert_eq!((objects(&world, 1).await.len(), objects(&world, 2).await.len()), (0, 1));
    device.set("MAREA_TOKEN", world.token(1, 3600));
    device.json(&["sync"]).await;
    let theirs = objects(&world, 1).await;
    assert!(theirs.len() == 1 && theirs.keys().all(|path| path.contains(&id)), "{theirs:?}");

    let (device, id) = half_uploaded(&world, folder.path()).await;
    device.json(&["export", "delete", &id]).await;
    device.json(&["sync"]).await;
    assert_eq!(device.json(&["export", "files"]).await, serde_json::json!([]));
    assert_eq!(kept(&device), Vec::<String>::new());
    assert_eq!(objects(&world, 1).await, theirs, "nothing of it is there");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_programs_that_sync_at_once_upload_a_file_once() {
    let world = World::shared().await;
    let device = world.device_of(1);
    let folder = tempfile::tempdir().expect("a folder");
    let source = folder.path().join("large.zip");
    write(&source, 3 * PIECE, 6);
    create(&device, &source).await;
    let (one, two) = tokio::join!(device.json(&["sync"]), device.json(&["sync"]));
    assert_eq!((&one["pending"], &two["pending"]), (&0.into(), &0.into()));
    device.json(&["sync"]).await;
    assert_eq!(objects(&world, 1).await.into_values().collect::<Vec<_>>(), [3 * PIECE as i64]);
    let begun =
        format!("SELECT count(*) FROM marea_backend.uploads WHERE name LIKE '{}/%'", world.learner(1));
    assert_eq!(world.one::<i64>(&begun).await, 1, "begun once");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_files_that_two_devices_gave_one_export_both_read_the_one_that_its_row_names() {
    let world = World::shared().await;
    let folder = tempfile::tempdir().expect("a folder");
    let clients = [
        plain_client(&world, &folder.path().join("one")).await,
        plain_client(&world, &folder.path().join("two")).await,
    ];
    for (round, bytes) in [[b"same", b"same"], [b"this", b"that"]].into_iter().enumerate() {
        let id = clients[0].create_export(asked(None)).await.expect("an export").id;
        for client in &clients {
            client.sync().await.expect("a sync");
        }
        for (client, bytes) in clients.iter().zip(bytes) {
            client.attach_file(id, NewFile::from_bytes(*bytes, "zip")).await.expect("attached");
        }
        for client in clients.iter().chain(&clients) {
            client.send_files().await.expect("the files");
            client.sync().await.expect("a sync");
        }
        let there = objects(&world, 1).await;
        let there: Vec<&String> = there.keys().filter(|path| path.contains(&id.to_string())).collect();
        assert_eq!(there.len(), if bytes[0] == bytes[1] { 1 } else { 2 });
        let url: String =
            world.one(&format!("SELECT file_url FROM public.export_history WHERE id = '{id}'")).await;
        assert!(there.iter().any(|path| url.ends_with(path.as_str())), "{url}");
        let copies = [0, 1].map(|at| folder.path().join(format!("{round}-{at}")));
        for (client, copy) in clients.iter().zip(&copies) {
            client.export_file(id, copy).await.expect("read");
        }
        assert_eq!(std::fs::read(&copies[0]).unwrap(), std::fs::read(&copies[1]).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_finds_no_room_is_not_kept_and_its_export_is_recorded() {
    let world = World::shared().await;
    let device = world.device_of(1);
    let client = client(&world, &device.dir(), StaticToken::new(world.token(1, 3600)), 1000).await;
    let id: MutationId = "018f9d3e-7a00-7000-8000-0123456789ab".parse().expect("an id");
    let refused =
        client.create_export_with_file(asked(Some(id)), NewFile::from_bytes(vec![1; 1001], "zip")).await;
    assert_eq!(refused.expect_err("too much").code(), "storage_full");
    assert!(client.export(id).await.expect("a read").is_some());
    assert_eq!(outcome(&client.files().await.expect("files")[0]), (FileState::Refused, "storage_full"));
    assert_eq!(kept(&device), Vec::<String>::new());
    client.attach_file(id, NewFile::from_bytes(vec![1; 1000], "zip")).await.expect("it fits");
    assert_eq!(send(&client, id).await.state, FileState::Uploaded);
    // What has no end, and what says how large it is: of neither more is read than may be kept.
    let large = device.dir().join("large.zip");
    std::fs::File::create(&large).and_then(|file| file.set_len(1 << 40)).expect("a file with nothing in it");
    for path in [Path::new("/dev/zero"), &large] {
        let keeping = client.create_export_with_file(asked(None), NewFile::from_path(path));
        let kept = tokio::time::timeout(std::time::Duration::from_secs(60), keeping).await.expect("it ends");
        assert_eq!(kept.expect_err("too much").code(), "storage_full");
    }
    assert_eq!(client.files().await.expect("files").last().map(|it| it.size), Some(1 << 40));
    let strange = NewFile::from_bytes("a", "../../x");
    let refused = client.create_export_with_file(asked(None), strange).await.expect_err("no ending");
    assert_eq!(refused.code(), "invalid_input");
}

/// The second call was refused, and took the first one's bytes along: they are the same, under one name.
#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_used_again_for_something_else_leaves_the_first_ones_file_alone() {
    let world = World::shared().await;
    let device = world.device_of(1);
    let client = plain_client(&world, &device.dir()).await;
    let id = add(&client, 10).await;
    let other = ExportInput { export_type: "other".into(), ..asked(Some(id)) };
    let again = client.create_export_with_file(other, NewFile::from_bytes(vec![7; 10], "zip")).await;
    assert_eq!(again.expect_err("another export").code(), "invalid_input");
    assert_eq!(kept(&device).len(), 1);
    // And bytes that no row wants go at once.
    let other =
        client.create_export_with_file(asked(Some(id)), NewFile::from_bytes(vec![8; 10], "zip")).await;
    assert_eq!(other.expect_err("another file").code(), "invalid_input");
    assert_eq!(kept(&device).len(), 1);
    assert_eq!(send(&client, id).await.state, FileState::Uploaded);
}
