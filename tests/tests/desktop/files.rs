//! Files of exports: made offline by the real command, uploaded to the real backend under the user's own policies, read on
//! another device, deleted when they are due. What breaks is in `files_trouble`, and `kill -9` in `files_killed`.

use std::collections::BTreeMap;
use std::path::Path;

use marea_tests::command::Device;
use marea_tests::random::Random;
use marea_tests::world::{Fault, FaultKind, World};

/// Below it are the pieces.
pub(crate) const UPLOADS: &str = "/storage/v1/upload/resumable/";

/// The objects of a learner: path below the bucket, and size.
pub(crate) async fn objects(world: &World, learner: usize) -> BTreeMap<String, i64> {
    let query = "SELECT name, (metadata ->> 'size')::bigint FROM storage.objects
        WHERE bucket_id = 'marea-exports' AND name LIKE $1 || '/%'";
    let learner = world.learner(learner).to_string();
    let rows = world.database().query(query, &[&learner]).await.expect("the objects");
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// The bytes beside the mirror.
pub(crate) fn kept(device: &Device) -> Vec<String> {
    let folders = std::fs::read_dir(device.dir()).into_iter().flatten().flatten();
    let files = folders.filter(|it| it.path().extension().is_some_and(|it| it == "files"));
    let names = files.flat_map(|it| std::fs::read_dir(it.path()).into_iter().flatten().flatten());
    names.map(|it| it.file_name().to_string_lossy().into_owned()).filter(|it| it != ".lock").collect()
}

pub(crate) fn write(path: &Path, size: usize, seed: u64) -> Vec<u8> {
    let mut random = Random::of_seed(seed);
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        bytes.extend_from_slice(&random.bits().to_le_bytes());
    }
    bytes.truncate(size);
    std::fs::write(path, &bytes).expect("a file");
    bytes
}

pub(crate) async fn create(device: &Device, path: &Path) -> String {
    let path = path.display().to_string();
    let words = ["export", "create", "--type", "photos", "--format", "zip", "--file", &path];
    device.json(&words).await["id"].as_str().expect("an id").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn made_on_a_train_it_reaches_storage_and_another_device() {
    let world = World::shared().await;
    let (train, home) = (world.device_of(1), world.device_of(1));
    train.record(&["--minutes", "12", "--questions", "10", "--correct", "8"]).await;
    // No network is asked for: a server that is not there would be found.
    let made = train.json(&["export", "create", "--type", "activity", "--format", "csv"]).await;
    let id = made["id"].as_str().expect("an id").to_owned();
    let waiting = train.json(&["export", "files"]).await;
    assert_eq!(
        (waiting[0]["state"].as_str(), waiting[0]["on_device"].as_bool()),
        (Some("waiting"), Some(true))
    );
    assert!(objects(&world, 1).await.is_empty());

    let synced = train.json(&["sync"]).await;
    assert_eq!((&synced["files"]["uploaded"], &synced["pending"]), (&1.into(), &0.into()), "{synced}");
    let found = objects(&world, 1).await;
    let (path, size) = found.first_key_value().expect("one object");
    let url: String =
        world.one(&format!("SELECT file_url FROM public.export_history WHERE id = '{id}'")).await;
    assert_eq!(url, format!("storage://marea-exports/{path}"));
    assert!(path.starts_with(&format!("{}/{id}/", world.learner(1))), "{path}");

    home.json(&["sync"]).await;
    let export = home.json(&["export", "show", &id]).await;
    assert_eq!((export["status"].as_str(), export["records_count"].as_i64()), (Some("completed"), Some(1)));
    let folder = tempfile::tempdir().expect("a folder");
    let copy = folder.path().join("copy.csv");
    let to = copy.display().to_string();
    let written = home.json(&["export", "download", &id, "--out", &to]).await;
    assert_eq!(written["bytes"].as_i64(), Some(*size));
    let text = std::fs::read_to_string(&copy).expect("the file");
    assert!(text.starts_with("day,sessions,minutes,questions,correct,words,points\r\n"), "{text}");
    assert!(text.contains(",1,12,10,8,"), "{text}");
    // Nothing is written over.
    home.run(&["export", "download", &id, "--out", &to, "--json"]).await.exits(2).error("usage");
    let refused = home.run(&["export", "link", &id, "--expires", "0", "--json"]).await;
    assert!(refused.exits(2).error("invalid_input").starts_with("--expires: "));
    let link = home.json(&["export", "link", &id]).await;
    let opened = reqwest::get(link["url"].as_str().expect("a link")).await.expect("an answer");
    assert_eq!(opened.text().await.expect("the file"), text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_gets_through_cuts_and_lost_answers_whole() {
    let world = World::alone().await;
    let (device, other) = (world.device_of(1), world.device_of(1));
    let folder = tempfile::tempdir().expect("a folder");
    let source = folder.path().join("large.zip");
    let bytes = write(&source, 20 * 1024 * 1024 + 7, 1);
    let id = create(&device, &source).await;
    std::fs::remove_file(&source).expect("the copy is what counts");
    let kinds = [
        FaultKind::CutRequest,
        FaultKind::DropAnswer,
        FaultKind::ResetMidBody,
        FaultKind::Offline,
        FaultKind::Status,
    ];
    for kind in kinds {
        world.fault(Fault::new(kind, UPLOADS, 1));
        device.run(&["sync", "--json"]).await.exits(0);
    }
    world.clear_faults();
    for _ in 0..10 {
        if device.json(&["sync"]).await["files"]["uploaded"] == 1 {
            break;
        }
    }
    let found = objects(&world, 1).await;
    assert_eq!(found.values().copied().collect::<Vec<_>>(), [20 * 1024 * 1024 + 7]);
    other.json(&["sync"]).await;
    let copy = folder.path().join("copy.zip");
    other.json(&["export", "download", &id, "--out", &copy.display().to_string()]).await;
    assert!(std::fs::read(&copy).expect("the file") == bytes, "other bytes than were given");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_expires_leaves_the_device_and_the_bucket() {
    let world = World::shared().await;
    let device = world.device_of(1);
    let id = device.json(&["export", "create", "--type", "progress", "--format", "html"]).await["id"].clone();
    let id = id.as_str().expect("an id");
    device.json(&["sync"]).await;
    assert_eq!((objects(&world, 1).await.len(), kept(&device).len()), (1, 1));
    device.json(&["export", "update", id, "--expires-at", "2020-01-01T00:00:00Z"]).await;
    device.json(&["sync"]).await;
    assert_eq!((objects(&world, 1).await.len(), kept(&device).len()), (0, 0));
    let refused = device.run(&["export", "link", id, "--json"]).await;
    assert_ne!(refused.code, Some(0), "a link to what is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_somebody_wrote_leads_nowhere_else() {
    let world = World::shared().await;
    let (ada, eve) = (world.device_of(1), world.device_of(2));
    let made = ada.json(&["export", "create", "--type", "progress", "--format", "csv"]).await;
    let id = made["id"].as_str().expect("an id").to_owned();
    ada.json(&["sync"]).await;
    let (hers, _) = objects(&world, 1).await.pop_first().expect("her file");
    let mine = eve.json(&["export", "create", "--type", "words", "--format", "csv"]).await;
    let mine = mine["id"].as_str().expect("an id").to_owned();
    eve.json(&["sync"]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("stolen").display().to_string();
    let (me, file) = (world.learner(2), hers.rsplit('/').next().expect("a name").to_owned());
    let lookalike = hers.replacen(|it: char| it.is_ascii_digit(), "\u{ff11}", 1);
    for path in [
        hers.clone(),
        format!("{me}/{mine}/../../{hers}"),
        format!("{me}/{mine}/%2e%2e/%2e%2e/{hers}"),
        hers.replace('/', "%2f"),
        hers.to_uppercase(),
        lookalike,
        format!("/{hers}"),
        format!("{me}/{id}/{file}"),
        format!("{me}\\..\\{hers}"),
        format!("{me}/{mine}/{file}/../../../{hers}"),
    ] {
        let url = format!("storage://marea-exports/{path}");
        eve.json(&["export", "update", &mine, "--file-url", &url]).await;
        eve.run(&["export", "download", &mine, "--out", &out, "--json"])
            .await
            .exits(2)
            .error("invalid_input");
        eve.json(&["sync"]).await;
        // Expired with it, nothing of hers is due.
        eve.json(&["export", "update", &mine, "--status", "expired"]).await;
        eve.json(&["sync"]).await;
    }
    let due: i64 =
        world.one(&format!("SELECT count(*) FROM marea.file_garbage WHERE path LIKE '%{id}%'")).await;
    assert_eq!(due, 0);
    assert_eq!(objects(&world, 1).await.len(), 1);
}
