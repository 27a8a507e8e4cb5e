//! Every column type and its edges: written by SQL, read by a device; what a device may write, written by it and read again. Nothing
//! that Postgres holds in a mirrored column stops a sync.

use marea_core::{Engine, Location, Now, Signal, SyncAnswer, SystemEntropy, UnixMillis, UserId};
use marea_tests::mirrored::{MirroredApp, pull, pull_after, rows, send};
use marea_tests::sql::{Caller, hlc, mutation, new_id, request};
use serde_json::{Value, json};

const TYPES: &str = "
    CREATE TYPE public.mood AS ENUM ('so so', 'it''s \"fine\"', '100%');
    CREATE DOMAIN public.short AS VARCHAR(5);
    CREATE DOMAIN public.positive AS public.small_int CHECK (VALUE > 0);
    CREATE TABLE public.kinds (
        id UUID PRIMARY KEY, user_id UUID NOT NULL REFERENCES public.users (id) ON DELETE CASCADE,
        a_text TEXT, a_varchar VARCHAR(10), a_char CHAR(4), a_short public.short, a_mood public.mood, a_uuid UUID,
        a_smallint SMALLINT, an_integer INTEGER, a_bigint BIGINT, a_numeric NUMERIC, a_price NUMERIC(6,2), a_real REAL, a_double FLOAT8,
        a_boolean BOOLEAN, a_date DATE, a_time TIME, a_timestamp TIMESTAMP, a_timestamptz TIMESTAMPTZ, a_json JSON, a_jsonb JSONB,
        a_bytea BYTEA, texts TEXT[], integers INTEGER[], uuids UUID[], a_positive public.positive,
        \"we\"\"ird %s name\" TEXT, \"select\" INTEGER);
    ALTER TABLE public.kinds ENABLE ROW LEVEL SECURITY;
    GRANT ALL ON public.kinds TO authenticated;
    CREATE POLICY own ON public.kinds TO authenticated USING (user_id = auth.uid()) WITH CHECK (user_id = auth.uid());
    SELECT marea.mirror('public.kinds');";

/// A column, its value in SQL, what a device gets, and whether a device may write that.
const CASES: &[(&str, &str, &str, bool)] = &[
    ("a_text", "''", r#""""#, true),
    (
        "a_text",
        "E'quote '' \" \\\\ line\\n tab\\t \u{1F30A} \u{0301}'",
        "\"quote ' \\\" \\\\ line\\n tab\\t \u{1F30A} \u{0301}\"",
        true,
    ),
    ("a_text", "chr(1) || chr(127) || chr(8232)", "\"\\u0001\u{7f}\u{2028}\"", true),
    ("a_varchar", "'0123456789'", r#""0123456789""#, true),
    ("a_char", "'ab'", r#""ab""#, true),
    (
        "a_short",
        "'\u{1F30A}\u{1F30A}\u{1F30A}\u{1F30A}\u{1F30A}'",
        "\"\u{1F30A}\u{1F30A}\u{1F30A}\u{1F30A}\u{1F30A}\"",
        true,
    ),
    ("a_mood", "'100%'", r#""100%""#, true),
    ("a_mood", "'it''s \"fine\"'", r#""it's \"fine\"""#, true),
    ("a_uuid", "'FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF'", r#""ffffffff-ffff-ffff-ffff-ffffffffffff""#, true),
    ("a_smallint", "-32768", "-32768", true),
    ("an_integer", "2147483647", "2147483647", true),
    ("a_bigint", "9223372036854775807", r#""9223372036854775807""#, true),
    ("a_bigint", "-9223372036854775808", r#""-9223372036854775808""#, true),
    ("a_numeric", "'NaN'", r#""NaN""#, true),
    ("a_numeric", "'-Infinity'", r#""-Infinity""#, true),
    ("a_numeric", "1.10", r#""1.10""#, true),
    ("a_numeric", "0.000000000000000000001", r#""0.000000000000000000001""#, true),
    ("a_price", "-9999.99", r#""-9999.99""#, true),
    ("a_real", "'NaN'", r#""NaN""#, true),
    ("a_real", "0.1", "0.1", true),
    ("a_real", "'3.4028235e38'", "3.4028235e+38", true),
    ("a_double", "'-Infinity'", r#""-Infinity""#, true),
    ("a_double", "0.1::float8 + 0.2::float8", "0.30000000000000004", true),
    ("a_double", "'5e-324'", "5e-324", true),
    ("a_double", "'1.7976931348623157e308'", "1.7976931348623157e+308", true),
    ("a_boolean", "true", "true", true),
    ("a_boolean", "false", "false", true),
    ("a_date", "'infinity'", r#""infinity""#, true),
    ("a_date", "'4713-01-01 BC'", r#""4713-01-01 BC""#, true),
    ("a_date", "'5874897-12-31'", r#""5874897-12-31""#, true),
    ("a_date", "'2024-02-29'", r#""2024-02-29""#, true),
    ("a_time", "'24:00:00'", r#""24:00:00""#, true),
    ("a_time", "'23:59:59.999999'", r#""23:59:59.999999""#, true),
    ("a_timestamp", "'-infinity'", r#""-infinity""#, true),
    ("a_timestamp", "'2026-01-01 10:00:00.000001'", r#""2026-01-01T10:00:00.000001""#, true),
    ("a_timestamp", "'0044-03-15 12:00:00 BC'", r#""0044-03-15T12:00:00 BC""#, true),
    ("a_timestamptz", "'infinity'", r#""infinity""#, true),
    ("a_timestamptz", "'2026-01-01 10:00:00.5+05:30'", r#""2026-01-01T04:30:00.500000Z""#, true),
    ("a_timestamptz", "'0044-03-15 12:00:00+00 BC'", r#""0044-03-15 12:00:00+00 BC""#, true),
    ("a_timestamptz", "'294276-12-31 23:59:59.999999+00'", r#""294276-12-31 23:59:59.999999+00""#, true),
    ("a_json", "'{\"b\": 1, \"a\": [null, 1.50]}'", r#"{"b":1,"a":[null,1.5]}"#, true),
    ("a_json", "'\"\\u0000\"'", r#""\u0000""#, false),
    ("a_jsonb", "'[{}, \"\u{1F30A}\", 1e100, true]'", "[{}, \"\u{1F30A}\", 1e100, true]", true),
    ("a_jsonb", "'\"text\"'", r#""text""#, true),
    ("a_bytea", "'\\x00ff10'", r#""AP8Q""#, true),
    ("a_bytea", "''", r#""""#, true),
    ("texts", "'{}'", "[]", true),
    ("texts", "ARRAY['a', NULL, '', '\"', 'NULL', '{,}']", r#"["a",null,"","\"","NULL","{,}"]"#, true),
    ("texts", "ARRAY[['a','b'],['c','d']]", r#"[["a","b"],["c","d"]]"#, false),
    ("integers", "ARRAY[-2147483648, NULL, 2147483647]", "[-2147483648,null,2147483647]", true),
    (
        "uuids",
        "ARRAY['aaaaaaaa-0000-4000-8000-000000000001'::uuid]",
        r#"["aaaaaaaa-0000-4000-8000-000000000001"]"#,
        true,
    ),
    ("a_positive", "7", "7", true),
    ("we\"ird %s name", "'x'", r#""x""#, true),
    ("select", "1", "1", true),
];

/// A device that has learnt the tables from the server, and has all rows.
async fn device(caller: &Caller) -> Engine {
    let now = Now { unix_ms: UnixMillis(1_795_435_200_000), utc_offset_minutes: 0 };
    let entropy = Box::new(SystemEntropy::new());
    let mut engine =
        Engine::open(&Location::Memory, UserId::from(caller.user), entropy, now).expect("a mirror");
    engine.use_catalogue(None, now).expect("the tables are learned");
    engine.signal(Signal::SyncNow, now);
    while let Some(outgoing) = engine.next_request(now).expect("a request") {
        let answer = caller.sync(&serde_json::to_value(&outgoing.request).expect("JSON")).await;
        let answer: SyncAnswer = serde_json::from_value(answer).expect("an answer");
        engine.apply_response(outgoing.ticket, Ok(answer), now).expect("it is applied");
    }
    let status = engine.status(now).expect("a status");
    assert!(status.last_error.is_none() && status.unreadable.is_empty(), "{status:?}");
    engine
}

#[tokio::test(flavor = "multi_thread")]
async fn every_value_travels_both_ways() {
    let app = MirroredApp::start(&[]).await;
    // A domain over a domain.
    app.database.execute("CREATE DOMAIN public.small_int AS SMALLINT").await;
    app.database.execute(TYPES).await;
    // Settings of the connection that change how Postgres prints.
    app.database
        .execute("ALTER ROLE authenticated SET DateStyle = 'German'; ALTER DATABASE mirrored SET TimeZone = 'Asia/Kolkata'")
        .await;
    let [one, other] = [app.user().await, app.user().await];
    one.client
        .batch_execute("SET DateStyle = 'German'; SET extra_float_digits = 0; SET TimeZone = 'Asia/Kolkata'")
        .await
        .expect("set");
    let mut kept = Vec::new();
    for (column, sql, wire, writable) in CASES {
        let key = new_id().to_string();
        let name = column.replace('"', "\"\"");
        let insert = format!(
            "INSERT INTO public.kinds (id, user_id, \"{name}\") VALUES ('{key}', '{}', {sql})",
            one.user
        );
        app.database.execute(&insert).await;
        let expected: Value = serde_json::from_str(wire).expect("JSON");
        kept.push((key.clone(), *column, expected.clone()));
        let find = |answer: &Value| {
            rows(answer, "kinds").into_iter().find(|row| row["id"] == json!(key)).expect("the row")
        };
        let found = find(&pull(&one).await);
        assert_eq!(found[*column], expected, "{column} {sql}");
        let mut others = found.as_object().expect("a row").iter();
        assert!(
            others.all(|(name, value)| ["id", "clocks", *column].contains(&name.as_str()) || value.is_null()),
            "{found}"
        );
        if !*writable {
            continue;
        }
        // By a device: an insert, and a merge over something else, of another user.
        let [inserted, merged] = [new_id().to_string(), new_id().to_string()];
        let written = [
            mutation("kinds", "insert", Some(&inserted), &hlc(1), json!({ *column: expected })),
            mutation("kinds", "insert", Some(&merged), &hlc(1), json!({})),
            mutation("kinds", "merge", Some(&merged), &hlc(2), json!({ *column: expected })),
        ];
        assert_eq!(send(&other, &written).await, ["applied"; 3], "{column} {wire}");
        let answer = pull(&other).await;
        for key in [&inserted, &merged] {
            let found =
                rows(&answer, "kinds").into_iter().find(|row| row["id"] == json!(key)).expect("the row");
            assert_eq!(found[*column], expected, "{column} {wire} by a device");
        }
        let cleared = mutation("kinds", "merge", Some(&inserted), &hlc(3), json!({ *column: null }));
        assert_eq!(send(&other, &[cleared]).await, ["applied"], "{column} can be NULL again");
    }
    let device = device(&one).await;
    for (key, column, expected) in kept {
        let row = device.get_row("kinds", &key).expect("a mirror").expect("the row");
        let row: Value = serde_json::from_str(&row).expect("JSON");
        assert_eq!(row[column], expected, "{column} on a device");
    }
    // By columns' names, as clients get it that ask for nothing else. JSONB writes this one in digits, which is no f64 any more.
    app.database.execute("DELETE FROM public.kinds WHERE a_double > 1e308").await;
    let unpacked = one.sync(&request(&[])).await;
    assert_eq!(unpacked["rows"]["kinds"].as_array().map(Vec::len), Some(CASES.len() - 1));
    app.stop().await;
}

/// Postgres pads what it prints of `char(n)`, and nothing that it compares: a row had another key after the sync than before.
#[tokio::test(flavor = "multi_thread")]
async fn a_padded_key_is_the_one_that_the_device_gave() {
    let app = MirroredApp::start(&[]).await;
    app.database
        .execute(
            "CREATE TABLE public.codes (code CHAR(4) PRIMARY KEY, user_id UUID NOT NULL REFERENCES public.users (id), note TEXT);
             ALTER TABLE public.codes ENABLE ROW LEVEL SECURITY;
             GRANT ALL ON public.codes TO authenticated;
             CREATE POLICY own ON public.codes TO authenticated USING (user_id = auth.uid()) WITH CHECK (user_id = auth.uid());
             SELECT marea.mirror('public.codes');",
        )
        .await;
    let one = app.user().await;
    let written = [
        mutation("codes", "insert", Some("ab"), &hlc(1), json!({ "note": "a" })),
        mutation("codes", "merge", Some("ab"), &hlc(2), json!({ "note": "b" })),
    ];
    assert_eq!(send(&one, &written).await, ["applied"; 2]);
    let found = rows(&pull(&one).await, "codes");
    assert_eq!((found.len(), &found[0]["code"], &found[0]["note"]), (1, &json!("ab"), &json!("b")));
    app.stop().await;
}

/// What is too large or too deep for a device to write and there all the same.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_large_or_deep_stops_no_sync() {
    let app = MirroredApp::start(&[]).await;
    app.database.execute("CREATE DOMAIN public.small_int AS SMALLINT").await;
    app.database.execute(TYPES).await;
    let one = app.user().await;
    let me = one.user;
    for (column, sql) in [
        ("a_text", "repeat('0123456789', 10240)"),
        ("a_numeric", "('1e9999')::numeric + 1"),
        ("a_jsonb", "(repeat('[', 200) || repeat(']', 200))::jsonb"),
        ("a_jsonb", "to_jsonb(10::numeric ^ 400)"),
        ("a_json", "(repeat('[', 3000) || repeat(']', 3000))::json"),
        ("a_bytea", "decode(repeat('00ff', 51200), 'hex')"),
        ("texts", "(SELECT array_agg(n::text) FROM generate_series(1, 20000) AS n)"),
    ] {
        app.database
            .execute(&format!(
                "INSERT INTO public.kinds (id, user_id, {column}) VALUES (gen_random_uuid(), '{me}', {sql})"
            ))
            .await;
    }
    let answer = pull(&one).await;
    let text = answer["packed"]["kinds"].as_str().expect("rows");
    assert_eq!(text.matches("\"id\"").count(), 1);
    assert!(
        text.contains(&"0123456789".repeat(10240))
            && text.contains(&"[".repeat(3000))
            && text.contains(&format!("1{}1", "0".repeat(9998)))
    );

    // Pages stay near their bound of bytes, whatever a row weighs, and get to the end.
    app.database.execute("DELETE FROM public.kinds").await;
    app.database
        .execute(&format!("INSERT INTO public.kinds (id, user_id, a_text, a_jsonb) SELECT gen_random_uuid(), '{me}', repeat('x', 100000),
            to_jsonb(repeat('y', 50000)) FROM generate_series(1, 30)"))
        .await;
    let (mut cursor, mut seen, mut pages) = (json!(null), 0, 0);
    loop {
        let answer = pull_after(&one, &cursor).await;
        let page = answer["packed"]["kinds"].as_str().unwrap_or_default();
        assert!(page.len() < 1_600_000, "{} bytes", page.len());
        seen += serde_json::from_str::<Value>(page)
            .map_or(0, |columns| columns["id"].as_array().map_or(0, Vec::len));
        cursor = answer["cursor"].clone();
        pages += 1;
        if answer["has_more"] == json!(false) {
            break;
        }
    }
    assert!(seen == 30 && pages >= 5, "{seen} rows in {pages} pages");
    app.stop().await;
}
