//! Files of exports on the desktop whose bytes are not those that they should be, that are given up while they are sent, or whose link
//! comes from nobody who knows it.

use marea_native::{Client, Config, FileState, MutationId, NewFile, StaticToken};
use marea_tests::world::{Fault, FaultKind, World};

use crate::files::{UPLOADS, kept, objects};
use crate::files_trouble::{OBJECTS, PIECE, add, asked, fault, outcome, plain_client, send};

#[tokio::test(flavor = "multi_thread")]
async fn damaged_bytes_are_fetched_anew_and_other_bytes_are_given_to_nobody() {
    let world = World::alone().await;
    let device = world.device_of(1);
    let client = plain_client(&world, &device.dir()).await;
    let folder = tempfile::tempdir().expect("a folder");
    let (first, second) = (add(&client, 200_000).await, add(&client, 300_000).await);
    for id in [first, second] {
        assert_eq!(send(&client, id).await.state, FileState::Uploaded);
    }
    client.sync().await.expect("a sync");
    // Of one a byte is another, and the other is gone.
    let bytes = std::fs::read_dir(device.dir()).expect("a folder").flatten().map(|it| it.path());
    let bytes =
        bytes.into_iter().find(|path| path.extension().is_some_and(|it| it == "files")).expect("the bytes");
    for name in kept(&device) {
        match name.starts_with(&first.to_string()) {
            true => std::fs::write(bytes.join(name), vec![8; 200_000]).expect("damaged"),
            false => std::fs::remove_file(bytes.join(name)).expect("removed"),
        }
    }
    for (id, size) in [(first, 200_000), (second, 300_000)] {
        assert_eq!(client.export_file(id, &folder.path().join(id.to_string())).await.expect("fetched"), size);
    }
    // The server has other bytes under the name, or breaks off.
    let other = plain_client(&world, &folder.path().join("other")).await;
    other.sync().await.expect("a sync");
    let copy = folder.path().join("copy");
    world.fault(fault(FaultKind::ResetMidBody, OBJECTS));
    assert_eq!(other.export_file(first, &copy).await.expect_err("cut").code(), "offline");
    // Or says nothing: it is given up after half a minute.
    world.clear_faults();
    world.fault(fault(FaultKind::Delay, OBJECTS).with_delay_ms(90_000));
    assert_eq!(other.export_file(first, &copy).await.expect_err("silence").code(), "offline");
    world.clear_faults();
    world.execute("UPDATE storage.objects AS o SET version = p.version, metadata = p.metadata FROM storage.objects AS p WHERE o.bucket_id = 'marea-exports' AND p.bucket_id = 'marea-exports' AND p.name <> o.name").await;
    assert_eq!(other.export_file(first, &copy).await.expect_err("another file").code(), "server_failed");
    assert!(!copy.exists());
    for client in [client, other] {
        client.shutdown(std::time::Duration::ZERO).await.expect("closed");
    }
    world.stop().await;
}

/// Every device was then told that the server's file is not the one that was uploaded, for ever.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_were_damaged_before_they_left_go_nowhere() {
    let world = World::alone().await;
    let device = world.device_of(1);
    let client = plain_client(&world, &device.dir()).await;
    let bytes = device.dir().join(format!("{}.files", world.learner(1)));
    let damage = |id: MutationId| {
        let name =
            kept(&device).into_iter().find(|name| name.starts_with(&id.to_string())).expect("its bytes");
        let mut all = std::fs::read(bytes.join(&name)).expect("its bytes");
        *all.last_mut().expect("a byte") ^= 1;
        std::fs::write(bytes.join(name), all).expect("damaged");
    };
    for size in [1000, PIECE + 1] {
        let id = add(&client, size).await;
        damage(id);
        assert_eq!(outcome(&send(&client, id).await), (FileState::Refused, "file_missing"), "{size}");
        let of_it = |name: &String| name.contains(&id.to_string());
        assert!(!objects(&world, 1).await.keys().any(of_it), "{size}");
        client.attach_file(id, NewFile::from_bytes(vec![7; size], "zip")).await.expect("attached again");
    }
    // In the middle.
    let id = add(&client, 2 * PIECE + 1).await;
    world.fault(fault(FaultKind::Status, UPLOADS).with_status(503));
    assert_eq!(send(&client, id).await.state, FileState::Uploading);
    world.clear_faults();
    damage(id);
    assert_eq!(outcome(&send(&client, id).await), (FileState::Refused, "file_missing"));
    assert_eq!(objects(&world, 1).await.len(), 2, "those that were attached again");
    client.shutdown(std::time::Duration::ZERO).await.expect("closed");
    world.stop().await;
}

/// The answer to what was under way was an error of the whole call, and in the background no file got on for half a minute.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_given_up_while_it_is_sent_leaves_the_others_going() {
    let world = World::alone().await;
    let folder = tempfile::tempdir().expect("a folder");
    let client = plain_client(&world, folder.path()).await;
    let (first, second) = (add(&client, 1000).await, add(&client, 2000).await);
    client.sync().await.expect("a sync");
    world.fault(Fault::new(FaultKind::Delay, OBJECTS, 1).with_delay_ms(2000));
    let give_up = async {
        while client.status().await.expect("a status").files.current.is_none_or(|it| it.export_id != first) {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        client.cancel_file(first).await.expect("given up");
    };
    let (files, ()) = tokio::join!(client.send_files(), give_up);
    let files = files.expect("the others");
    assert_eq!(
        files.iter().map(|it| (it.export_id, it.state)).collect::<Vec<_>>(),
        [(second, FileState::Uploaded)]
    );
    let there = objects(&world, 1).await;
    assert!(there.len() == 1 && there.keys().all(|path| path.contains(&second.to_string())), "{there:?}");
    client.shutdown(std::time::Duration::ZERO).await.expect("closed");
    world.stop().await;
}

/// All of it was kept in memory.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_an_end_gives_no_link() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a call");
        assert!(stream.read(&mut [0; 8192]).await.expect("its head") > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.expect("sent");
        let mut sent = 0_u64;
        while sent < 100 << 20 && stream.write_all(&[b' '; 8192]).await.is_ok() {
            sent += 8192;
        }
        sent
    });
    let folder = tempfile::tempdir().expect("a folder");
    let world = World::shared().await;
    let tokens = StaticToken::new(world.token(1, 3600));
    let config = Config::new(folder.path(), world.learner(1).into()).server(&url, "key").tokens(tokens);
    let client = Client::open(config.background_sync(false)).await.expect("a client");
    let id = client.create_export(asked(None)).await.expect("an export").id;
    let file_url = format!("storage://marea-exports/{}/{id}/{}.zip", world.learner(1), "5".repeat(64));
    let change = marea_native::ExportChange { file_url: Some(file_url), ..Default::default() };
    client.update_export(id, change).await.expect("its address");
    for seconds in [0, 10 * 365 * 86_400 + 1, u32::MAX] {
        assert_eq!(client.export_url(id, seconds).await.expect_err("no such time").code(), "invalid_input");
    }
    // As whatever no server of Supabase says: something stands between.
    assert_eq!(client.export_url(id, 60).await.expect_err("no link").code(), "offline");
    assert!(server.await.expect("it ended") < 50 << 20);
}
