//! Counters: sixteen devices add at the same time and send everything again, while the server adds too; every addition counts once.

use futures_util::future::join_all;
use marea_tests::mirrored::{MirroredApp, pull, rows, send};
use marea_tests::sql::{hlc, mutation, new_id};
use serde_json::{Value, json};

const DEVICES: u32 = 16;
const ADDITIONS: u32 = 12;

#[tokio::test(flavor = "multi_thread")]
async fn every_addition_counts_once_whoever_sends_it_and_however_often() {
    let app = MirroredApp::start(&["words.sql"]).await;
    let one = app.user().await;
    let [item, review] = [new_id().to_string(), new_id().to_string()];
    let made = [
        mutation("vocabulary_items", "insert", Some(&item), &hlc(1), json!({ "word": "x" })),
        mutation(
            "word_reviews",
            "insert",
            Some(&review),
            &hlc(1),
            json!({ "item_id": item, "times_seen": 5 }),
        ),
    ];
    assert_eq!(send(&one, &made).await, ["applied"; 2]);
    let add = |n: u32| {
        mutation(
            "word_reviews",
            "add",
            Some(&review),
            &hlc(n),
            json!({ "times_seen": n, "score": format!("0.{n:02}") }),
        )
    };
    let devices: Vec<Vec<Value>> = (0..DEVICES).map(|_| (1..=ADDITIONS).map(add).collect()).collect();
    let work = devices.iter().map(|additions| async {
        let device = app.again(one.user).await;
        for part in additions.chunks(5) {
            // The answer was lost: once more, and with the same one twice in a request.
            assert_eq!(send(&device, part).await, vec!["applied"; part.len()]);
            let twice = [part, part].concat();
            assert_eq!(send(&device, &twice).await, vec!["duplicate"; twice.len()]);
        }
    });
    let server = async {
        let connection = app.database.connect().await;
        for _ in 0..20 {
            connection
                .execute("UPDATE public.word_reviews SET times_seen = times_seen + 1", &[])
                .await
                .expect("counted");
        }
    };
    let (_, ()) = tokio::join!(join_all(work), server);
    // A copied profile sends all of them from somewhere else.
    let copy = app.again(one.user).await;
    for additions in &devices {
        assert_eq!(send(&copy, additions).await, vec!["duplicate"; additions.len()]);
    }
    let sum = ADDITIONS * (ADDITIONS + 1) / 2;
    let found = rows(&pull(&one).await, "word_reviews").remove(0);
    assert_eq!(found["times_seen"], json!(5 + DEVICES * sum + 20));
    assert_eq!(found["score"], json!(format!("{}.{:02}", DEVICES * sum / 100, DEVICES * sum % 100)));

    // What does not fit is refused, is not counted, and fits later.
    let huge = mutation("word_reviews", "add", Some(&review), &hlc(50), json!({ "times_seen": i32::MAX }));
    assert_eq!(send(&one, std::slice::from_ref(&huge)).await, ["22003: integer out of range"]);
    app.database.execute("UPDATE public.word_reviews SET times_seen = 0").await;
    assert_eq!(send(&one, std::slice::from_ref(&huge)).await, ["applied"]);
    assert_eq!(send(&one, &[huge]).await, ["duplicate"]);
    assert_eq!(rows(&pull(&one).await, "word_reviews")[0]["times_seen"], json!(i32::MAX));
    app.stop().await;
}
