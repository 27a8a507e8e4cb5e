//! Pages are bounded by bytes as well as by rows.

use marea_tests::backend::TestBackend;
use marea_tests::sql::{Caller, keys, request, request_after, with};
use serde_json::{Value, json};

const MIB: usize = 1024 * 1024;

/// Exports of so many bytes each, which compress to nearly nothing in storage.
async fn furnish(backend: &TestBackend, caller: &Caller, exports: i32, bytes: i32) {
    let statement = "INSERT INTO public.export_history (user_id, export_type, export_format, data)
        SELECT $1, 'all', 'json', jsonb_build_object('words', repeat('x', $3)) FROM generate_series(1, $2)";
    backend.sql().await.execute(statement, &[&caller.user, &exports, &bytes]).await.expect("exports");
}

fn weight(answer: &Value) -> usize {
    answer["rows"].to_string().len() + answer["packed"].to_string().len()
}

/// What a page holds: its exports, packed or not.
fn exports(answer: &Value) -> Vec<String> {
    let packed = answer["packed"]["export_history"].as_str();
    let columns: Value = packed.map_or(Value::Null, |text| serde_json::from_str(text).expect("JSON"));
    let ids = columns["id"].as_array().into_iter().flatten();
    let packed: Vec<String> = ids.map(|id| id.as_str().expect("an id").to_owned()).collect();
    [keys(answer, "export_history", "id"), packed].concat()
}

/// All pages of a new device, and what they weigh.
async fn pages(caller: &Caller, asked: &Value) -> (Vec<String>, Vec<usize>) {
    let (mut cursor, mut seen, mut weights) = (Value::Null, Vec::new(), Vec::new());
    loop {
        let answer = caller.sync(&with(asked.clone(), "cursor", cursor)).await;
        seen.extend(exports(&answer));
        weights.push(weight(&answer));
        cursor = answer["cursor"].clone();
        if answer["has_more"] == false {
            seen.sort();
            return (seen, weights);
        }
        assert!(weights.len() < 500, "it never ends");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_holds_a_mebibyte_and_at_least_one_row_and_all_come_once() {
    let backend = TestBackend::shared().await;
    let caller = Caller::new(&backend).await;
    furnish(&backend, &caller, 35, 100_000).await;
    furnish(&backend, &caller, 1, 3 * 1024 * 1024).await;
    furnish(&backend, &caller, 3, 10).await;
    for packed in [true, false] {
        let asked = with(request(&[]), "packed", json!(packed));
        let (seen, weights) = pages(&caller, &asked).await;
        assert_eq!(seen.len(), 39, "packed: {packed}");
        let unique: std::collections::BTreeSet<&String> = seen.iter().collect();
        assert_eq!(unique.len(), 39);
        let heavy = weights.iter().filter(|weight| **weight > MIB + 64 * 1024).count();
        assert_eq!(heavy, 1, "only the row that is larger by itself: {weights:?}");
        assert!((5..=8).contains(&weights.len()), "{weights:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_ask_for_fewer_bytes_and_what_is_no_number_of_bytes_is_none() {
    let backend = TestBackend::shared().await;
    let caller = Caller::new(&backend).await;
    furnish(&backend, &caller, 8, 1_000).await;
    let whole = exports(&caller.sync(&request(&[])).await).len();
    assert_eq!(whole, 8);
    let few = caller.sync(&with(request(&[]), "limit_bytes", json!(3_000))).await;
    assert_eq!((exports(&few).len(), &few["has_more"]), (2, &json!(true)));
    let one = caller.sync(&with(request(&[]), "limit_bytes", json!(1))).await;
    assert_eq!((exports(&one).len(), &one["has_more"]), (1, &json!(true)));
    for nonsense in [
        json!(0),
        json!(-5),
        json!("3000"),
        json!(1e300),
        json!(1.5),
        json!(null),
        json!([]),
        json!(99_999_999_999_i64),
    ] {
        let answer = caller.sync(&with(request(&[]), "limit_bytes", nonsense.clone())).await;
        assert_eq!(exports(&answer).len(), 8, "{nonsense}");
    }
    // The smaller bound counts.
    let both = with(with(request(&[]), "limit_bytes", json!(3_000)), "limit", json!(1));
    assert_eq!(exports(&caller.sync(&both).await).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_rows_still_come_in_one_page() {
    let backend = TestBackend::shared().await;
    let caller = Caller::new(&backend).await;
    furnish(&backend, &caller, 2_000, 5).await;
    let answer = caller.sync(&with(request(&[]), "packed", json!(true))).await;
    assert_eq!((exports(&answer).len(), &answer["has_more"]), (2_000, &json!(false)));
    let idle = caller.sync(&request_after(&answer["cursor"], &[])).await;
    assert_eq!((exports(&idle).len(), &idle["has_more"]), (0, &json!(false)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_a_row_is_told_when_nothing_is_pushed() {
    let backend = TestBackend::shared().await;
    let caller = Caller::of(&backend.ready().database_url, uuid::Uuid::from_u128(0x5709)).await;
    assert_eq!(caller.sync(&request(&[])).await["user_missing"], true);
    let statement = "INSERT INTO public.users (id, email) VALUES ($1, 'late@test.example')";
    backend.sql().await.execute(statement, &[&caller.user]).await.expect("a user");
    assert_eq!(caller.sync(&request(&[])).await["user_missing"], Value::Null);
}
