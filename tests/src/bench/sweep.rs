//! Deleting files that are due: how many a second the sweep asks for, and how many the routes of the backend delete.

use uuid::Uuid;

use super::{Figure, Spread};
use crate::cluster::root;
use crate::world::World;

const BATCH: u32 = 1_000;
/// Files that are deleted through the routes in the time that is measured.
const DELETED: usize = 500;

/// So many files are due, of one user.
pub async fn figures(files: u32) -> Vec<Figure> {
    let world = World::alone().await;
    let fixture = std::fs::read_to_string(root().join("tests/fixtures/net_vault.sql")).expect("the fixture");
    world.execute(&fixture).await;
    let ready = world.backend().ready();
    for (name, secret) in [("marea_project_url", &ready.url), ("marea_service_key", &ready.service_key)] {
        let statement = "INSERT INTO vault.secrets (name, secret) VALUES ($1, $2)";
        world.database().execute(statement, &[&name, secret]).await.expect("a secret");
    }
    let user = world.learner(1);
    let statement = format!(
        "INSERT INTO marea.file_garbage (path) SELECT '{user}/' || gen_random_uuid() || '/' || repeat('0', 64) || '.csv'
         FROM generate_series(1, {files})"
    );
    world.execute(&statement).await;
    let mut asked_a_second = Vec::new();
    for _ in 0..files / BATCH {
        let started = super::now();
        let asked: i64 = world.one(&format!("SELECT marea.sweep_files({BATCH})")).await;
        asked_a_second.push(asked as f64 / started.elapsed().as_secs_f64());
    }
    let rounds = asked_a_second.len();
    let sweep = Figure {
        what: format!("sweep: deletions asked for, of {files} that are due"),
        baseline: "none".to_owned(),
        bar: "none".to_owned(),
        passed: true,
        measured: Spread::of("files/s", asked_a_second),
        how: format!(
            "{rounds} calls of marea.sweep_files({BATCH}), with a stand-in for pg_net that keeps the requests"
        ),
    };

    // What pg_net does then, one after the other, where it has many at a time.
    let client = reqwest::Client::new();
    let at = |name: &Uuid| {
        format!("{}/storage/v1/object/marea-exports/{user}/{name}/{}.csv", ready.url, "0".repeat(64))
    };
    let names: Vec<Uuid> = (1..=DELETED as u128).map(Uuid::from_u128).collect();
    for name in &names {
        let call = client.post(at(name)).bearer_auth(&ready.service_key).header("content-type", "text/csv");
        assert!(call.body("a\r\n").send().await.expect("an answer").status().is_success());
    }
    let started = super::now();
    for name in &names {
        let call = client.delete(at(name)).bearer_auth(&ready.service_key);
        assert!(call.send().await.expect("an answer").status().is_success());
    }
    let rate = DELETED as f64 / started.elapsed().as_secs_f64();
    world.stop().await;
    let routes = Figure {
        what: format!("sweep: deletions done, {DELETED} files"),
        baseline: "none".to_owned(),
        bar: "none".to_owned(),
        passed: true,
        measured: Spread::of("files/s", [rate]),
        how: "one DELETE after the other at the development backend's /storage/v1".to_owned(),
    };
    vec![sweep, routes]
}
