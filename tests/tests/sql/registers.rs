//! Registers and `once` columns: the last writer wins for each column alone, whatever the order of arrival, also beside
//! plain SQL; and what is set at insert stays.

use std::sync::LazyLock;

use marea_tests::backend::TestBackend;
use marea_tests::random::Random;
use marea_tests::sql::{Caller, DEVICE, OTHER_DEVICE, hlc, mutation, request, with};
use marea_tests::vault::of_shape;
use serde_json::{Value, json};

static SEALED: LazyLock<[String; 3]> = LazyLock::new(|| ["1", "2", "3"].map(of_shape));

/// A clock of so many minutes from now, by the server's time: that is what clocks are measured against.
async fn clock_in(caller: &Caller, minutes: i32) -> String {
    let statement =
        "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000 + $1::int * 60000)::bigint || '-0000'";
    caller.client.query_one(statement, &[&minutes]).await.expect("the time").get(0)
}

async fn push_from(caller: &Caller, device: &str, mutations: &[Value]) -> Vec<String> {
    let answer = caller.sync(&with(request(mutations), "client_id", json!(device))).await;
    marea_tests::sql::statuses(&answer)
}

fn keys_merge(caller: &Caller, clock: &str, values: Value) -> Value {
    mutation("user_api_keys", "merge", Some(&caller.user.to_string()), clock, values)
}

async fn stored(caller: &Caller, table: &str) -> Value {
    caller.pull().await["rows"][table][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_are_won_one_by_one_by_clock_and_then_by_device() {
    let backend = TestBackend::shared().await;
    let caller = Caller::new(&backend).await;
    let both = json!({ "openai_api_key": SEALED[0], "unsplash_api_key": SEALED[0] });
    assert_eq!(push_from(&caller, DEVICE, &[keys_merge(&caller, &hlc(5), both)]).await, ["applied"]);
    // Older for one column, which is not written; newer for a column nobody wrote.
    let other = json!({ "openai_api_key": SEALED[1], "anthropic_api_key": SEALED[1] });
    assert_eq!(push_from(&caller, OTHER_DEVICE, &[keys_merge(&caller, &hlc(4), other)]).await, ["applied"]);
    // Equal clocks: the greater device wins, whichever comes first.
    let tie = json!({ "unsplash_api_key": SEALED[2] });
    assert_eq!(
        push_from(&caller, OTHER_DEVICE, &[keys_merge(&caller, &hlc(5), tie.clone())]).await,
        ["applied"]
    );
    let lost = keys_merge(&caller, &hlc(5), json!({ "unsplash_api_key": SEALED[0] }));
    assert_eq!(push_from(&caller, DEVICE, &[lost]).await, ["applied"]);
    // The very same again.
    assert_eq!(push_from(&caller, OTHER_DEVICE, &[keys_merge(&caller, &hlc(5), tie)]).await, ["duplicate"]);

    let row = stored(&caller, "user_api_keys").await;
    assert_eq!(row["values"]["openai_api_key"], SEALED[0]);
    assert_eq!(row["values"]["unsplash_api_key"], SEALED[2]);
    assert_eq!(row["values"]["anthropic_api_key"], SEALED[1]);
    let clocks = json!({
        "openai_api_key": [hlc(5), DEVICE], "unsplash_api_key": [hlc(5), OTHER_DEVICE],
        "anthropic_api_key": [hlc(4), OTHER_DEVICE]
    });
    assert_eq!(row["hlc"], clocks);
}

#[tokio::test(flavor = "multi_thread")]
async fn any_order_of_arrival_ends_in_the_same_row() {
    let backend = TestBackend::shared().await;
    let mut random = Random::of_this_run("registers");
    for _ in 0..20 {
        let mut merges: Vec<(&str, String, Value)> = Vec::new();
        for n in 0..12 {
            let column = *random.one_of(&["openai_api_key", "unsplash_api_key", "anthropic_api_key"]);
            let value = json!(random.chance(80).then(|| of_shape(n)));
            let device = *random.one_of(&[DEVICE, OTHER_DEVICE]);
            // No two of one device are equal, as no device makes the same clock twice.
            merges.push((
                device,
                format!("{:013}-{n:04x}", 1_700_000_000_000 + random.within(0..=3)),
                json!({ column: value }),
            ));
        }
        let mut outcomes = Vec::new();
        for _ in 0..3 {
            let caller = Caller::new(&backend).await;
            for at in (1..merges.len()).rev() {
                let with =
                    usize::try_from(random.within(0..=i64::try_from(at).expect("few"))).expect("an index");
                merges.swap(at, with);
            }
            for (device, clock, values) in &merges {
                push_from(&caller, device, &[keys_merge(&caller, clock, values.clone())]).await;
            }
            let row = stored(&caller, "user_api_keys").await;
            let keys = ["openai_api_key", "unsplash_api_key", "anthropic_api_key"]
                .map(|name| row["values"][name].clone());
            outcomes.push((keys, row["hlc"].clone()));
        }
        assert!(outcomes.windows(2).all(|pair| pair[0] == pair[1]), "{outcomes:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_sql_is_a_writer_like_any_other() {
    let backend = TestBackend::shared().await;
    let caller = Caller::new(&backend).await;
    let insert = mutation(
        "export_history",
        "insert",
        None,
        &hlc(1),
        json!({ "export_type": "all", "export_format": "csv" }),
    );
    let key = insert["id"].as_str().expect("an id").to_owned();
    // A device whose clock runs two minutes ahead writes first.
    let ahead = clock_in(&caller, 2).await;
    let early = mutation("export_history", "merge", Some(&key), &ahead, json!({ "status": "processing" }));
    assert_eq!(caller.push(&[insert, early]).await, ["applied", "applied"]);
    let admin = backend.sql().await;
    let worker = "UPDATE public.export_history SET status = 'completed', file_size_bytes = 9007199254740993 WHERE user_id = $1";
    admin.execute(worker, &[&caller.user]).await.expect("updated");
    let row = stored(&caller, "export_history").await;
    assert_eq!(
        (&row["values"]["status"], &row["values"]["file_size_bytes"]),
        (&json!("completed"), &json!("9007199254740993"))
    );
    assert_eq!(row["hlc"]["status"][1], "server");
    // It saw the device's clock, so it is later; and a device that has not seen it loses.
    assert!(row["hlc"]["status"][0].as_str().expect("a clock") > ahead.as_str(), "{row}");
    let behind = mutation(
        "export_history",
        "merge",
        Some(&key),
        &clock_in(&caller, 1).await,
        json!({ "status": "failed", "error_message": "x" }),
    );
    assert_eq!(caller.push(&[behind]).await, ["applied"]);
    let after = stored(&caller, "export_history").await;
    assert_eq!(
        (&after["values"]["status"], &after["values"]["error_message"]),
        (&json!("completed"), &json!("x"))
    );

    // An update that changes nothing is no news, and updated_at alone is none either.
    let version = after["version"].clone();
    let idle = "UPDATE public.export_history SET status = status, updated_at = now() WHERE user_id = $1";
    admin.execute(idle, &[&caller.user]).await.expect("updated");
    assert_eq!(stored(&caller, "export_history").await["version"], version);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_from_the_future_is_pulled_back() {
    let backend = TestBackend::shared().await;
    let caller = Caller::new(&backend).await;
    let future = keys_merge(&caller, "9999999999999-ffff", json!({ "openai_api_key": SEALED[0] }));
    assert_eq!(caller.push(&[future]).await, ["applied"]);
    let clock = stored(&caller, "user_api_keys").await["hlc"]["openai_api_key"][0]
        .as_str()
        .expect("a clock")
        .to_owned();
    assert!(clock < clock_in(&caller, 1).await && clock > clock_in(&caller, -1).await, "{clock}");
    // So the next honest writer can win.
    let honest = keys_merge(&caller, &clock_in(&caller, 1).await, json!({ "openai_api_key": SEALED[1] }));
    assert_eq!(push_from(&caller, OTHER_DEVICE, &[honest]).await, ["applied"]);
    assert_eq!(stored(&caller, "user_api_keys").await["values"]["openai_api_key"], SEALED[1]);
}

/// Many a millisecond: pulled back to the same one, the first of them would win over all that were made after it.
#[tokio::test(flavor = "multi_thread")]
async fn clocks_from_the_future_keep_their_order() {
    let backend = TestBackend::shared().await;
    let caller = Caller::new(&backend).await;
    for round in 0..10 {
        let sealed: Vec<String> = (0..40).map(|n| of_shape(format!("{round}x{n}"))).collect();
        let writes: Vec<Value> = sealed
            .iter()
            .enumerate()
            .map(|(n, key)| {
                let clock = format!("9999999999{:03}-{n:04x}", 100 + round);
                keys_merge(&caller, &clock, json!({ "openai_api_key": key }))
            })
            .collect();
        caller.push(&writes).await;
        assert_eq!(stored(&caller, "user_api_keys").await["values"]["openai_api_key"], sealed[39]);
    }
    // Also those that come within one millisecond, which the writes above need not.
    let clocks = "SELECT count(DISTINCT c) > count(DISTINCT left(c, 13)) AND array_agg(c ORDER BY n) = array_agg(c ORDER BY c, n)
        FROM (SELECT n, marea.clamp_hlc('9999999999999-' || lpad(n::text, 4, '0')) COLLATE \"C\" AS c
              FROM generate_series(1, 2000) AS n) AS clamped";
    let ordered: bool = backend.sql().await.query_one(clocks, &[]).await.expect("clocks").get(0);
    assert!(ordered);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_once_never_changes() {
    let backend = TestBackend::shared().await;
    let caller = Caller::new(&backend).await;
    let once = json!({ "export_type": "all", "export_format": "csv", "filters": { "a": 1 }, "created_at": "2026-01-02T03:04:05.678901Z" });
    let insert = mutation("export_history", "insert", None, &hlc(1), once.clone());
    let key = insert["id"].as_str().map(str::to_owned);
    assert_eq!(caller.push(&[insert]).await, ["applied"]);
    for (column, value) in once.as_object().expect("columns") {
        let change = mutation(
            "export_history",
            "merge",
            key.as_deref(),
            &hlc(9),
            json!({ column: value, "status": "failed" }),
        );
        assert_eq!(caller.push(&[change]).await, ["rejected 22023"], "{column}");
    }
    let row = stored(&caller, "export_history").await;
    for (column, value) in once.as_object().expect("columns") {
        assert_eq!(&row["values"][column], value, "{column}");
    }
    assert_eq!(row["values"]["status"], "pending");
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_keys_stay_deleted_for_earlier_writers_only() {
    let backend = TestBackend::shared().await;
    let caller = Caller::new(&backend).await;
    let me = caller.user.to_string();
    let delete = |n: u32| mutation("user_api_keys", "delete", Some(&me), &hlc(n), json!({}));
    let write = |n: u32| keys_merge(&caller, &hlc(n), json!({ "openai_api_key": SEALED[0] }));
    assert_eq!(caller.push(&[delete(5), write(4)]).await, ["applied", "applied"]);
    assert_eq!(stored(&caller, "user_api_keys").await["values"]["openai_api_key"], json!(null));
    // The deletion comes once more: it has been merged already.
    assert_eq!(caller.push(&[write(6), delete(5)]).await, ["applied", "duplicate"]);
    assert_eq!(stored(&caller, "user_api_keys").await["values"]["openai_api_key"], SEALED[0]);

    // The row itself is deleted by plain SQL: the same holds.
    let cursor = caller.pull().await["cursor"].clone();
    caller.client.execute("DELETE FROM public.user_api_keys", &[]).await.expect("one's own row");
    let answer = caller.sync(&marea_tests::sql::request_after(&cursor, &[])).await;
    assert_eq!(answer["deleted"], json!({ "user_api_keys": [me] }));
    assert_eq!(caller.push(&[write(7)]).await, ["applied"]);
    assert_eq!(stored(&caller, "user_api_keys").await, json!(null));
    let later = keys_merge(&caller, &clock_in(&caller, 1).await, json!({ "openai_api_key": SEALED[2] }));
    assert_eq!(caller.push(&[later]).await, ["applied"]);
    assert_eq!(stored(&caller, "user_api_keys").await["values"]["openai_api_key"], SEALED[2]);
}
