//! What tables of the catalogue take and give: lists, refusals, values that no column of ours holds.

use serde_json::Value;

use super::*;
use crate::engine::tests::table_server::TableServer;
use crate::engine::tests::tables::{WORDS, device, insert, map, row, sync, update};
use crate::model::ListQuery;

#[test]
fn lists_are_filtered_ordered_and_paged() {
    let mut one = device();
    for (word, level, size) in [("c", "a1", "10"), ("a", "a2", "9"), ("b", "a1", "100"), ("d", "a2", "9")] {
        insert(&mut one, "words", None, json!({ "word": word, "level": level, "size": size, "price": size }));
    }
    insert(&mut one, "words", None, json!({ "word": "e" }));
    let list = |query: Value| -> Result<String, Error> {
        let query: ListQuery = serde_json::from_value(query).unwrap();
        let rows = one.list_rows("words", &query)?;
        let word =
            |row: &String| serde_json::from_str::<Value>(row).unwrap()["word"].as_str().unwrap().to_owned();
        Ok(rows.iter().map(word).collect())
    };
    for (query, expected) in [
        (json!({ "order": ["word"] }), "abcde"),
        (json!({ "order": ["-word"], "limit": 2 }), "ed"),
        (json!({ "where": { "level": "a1" }, "order": ["word"] }), "bc"),
        (json!({ "where": { "level": null } }), "e"),
        (json!({ "where": { "level": { "ne": "a1" } }, "order": ["word"] }), "ade"),
        (json!({ "where": { "level": { "in": ["a1", null] } }, "order": ["word"] }), "bce"),
        (json!({ "where": { "word": { "gte": "b", "lt": "d" } }, "order": ["word"] }), "bc"),
        (json!({ "where": { "size": { "gt": "9" } }, "order": ["size"] }), "cb"),
        (json!({ "where": { "price": { "gt": "9" } }, "order": ["-price"] }), "bc"),
        (json!({ "where": { "price": "10.000" } }), "c"),
        (json!({ "where": { "word": { "in": [] } } }), ""),
    ] {
        assert_eq!(list(query.clone()).unwrap(), expected, "{query}");
    }
    for order in
        [json!(["level", "-word"]), json!(["-level", "word"]), json!(["-size"]), json!([]), json!(["level"])]
    {
        let all =
            one.list_rows("words", &serde_json::from_value(json!({ "order": order })).unwrap()).unwrap();
        let (mut paged, mut after) = (Vec::new(), Value::Null);
        loop {
            let query = json!({ "order": order, "limit": 2, "after": after });
            let page = one.list_rows("words", &serde_json::from_value(query).unwrap()).unwrap();
            let Some(last) = page.last() else { break };
            after = serde_json::from_str::<Value>(last).unwrap()["id"].clone();
            paged.extend(page);
        }
        assert_eq!(paged, all, "{order}");
    }
    assert_eq!(one.count_rows("words", &map(json!({ "level": "a2" }))).unwrap(), 2);
    for (wrong, message) in [
        (json!({ "where": { "nothing": 1 } }), "words.nothing: there is no such column"),
        (json!({ "order": ["-nothing"] }), "words.nothing: there is no such column"),
        (json!({ "limit": 0 }), "limit: must be from 1 to 1000"),
        (
            json!({ "where": { "size": { "like": "x" } } }),
            "words.size: a condition is a value, or an object of gt, gte, lt, lte, ne, in",
        ),
        (json!({ "where": { "size": "many" } }), "words.size: must be a whole number of 64 bits, as text"),
    ] {
        assert_eq!(list(wrong).unwrap_err().to_string(), message);
    }
}

/// One in eleven doubles of 17 digits reads as its neighbour where JSON's parser is not exact.
#[test]
fn a_double_stays_the_one_that_it_was() {
    let mut one = device();
    let mut bits: u64 = 0x4057_a1bb_7ee4_8f35;
    for n in 0..2_000 {
        bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let double = f64::from_bits(0x3fe0_0000_0000_0000 + (bits >> 5) % 0x00ff_ffff_ffff_ffff);
        let text = format!("{{\"word\":\"{n}\",\"data\":{{\"score\":{double}}}}}");
        let key = insert(&mut one, "words", None, serde_json::from_str(&text).unwrap());
        let row = one.get_row("words", &key).unwrap().unwrap();
        let row: Value = serde_json::from_str(&row).unwrap();
        assert_eq!(row["data"]["score"].as_f64().map(f64::to_bits), Some(double.to_bits()), "{double}");
    }
}

#[test]
fn a_list_may_ask_for_what_its_column_never_holds() {
    let mut one = device();
    insert(&mut one, "words", None, json!({ "word": "a", "price": "1.50" }));
    for (filter, count) in [
        (json!({ "price": { "gt": "1.499", "lt": "123456789012.3" } }), 1),
        (json!({ "unlocked": "no object" }), 0),
        (json!({ "score": 1.5 }), 0),
        (json!({ "word": { "gt": null } }), 0),
        (json!({ "seen": { "lte": null } }), 0),
        (json!({ "word": null }), 0),
        (json!({ "word": { "in": [null, "a"] } }), 1),
        (json!({ "word": "a word of more than twenty letters" }), 0),
    ] {
        assert_eq!(one.count_rows("words", &map(filter.clone())).unwrap(), count, "{filter}");
    }
    let many = |values: usize| map(json!({ "word": { "in": vec!["a"; values] } }));
    assert_eq!(one.count_rows("words", &many(1_000)).unwrap(), 1);
    assert_eq!(one.count_rows("words", &many(1_001)).unwrap_err().code(), "invalid_input");
}

#[test]
fn what_a_column_cannot_hold_is_refused_by_name() {
    let mut one = device();
    let key = insert(&mut one, "words", None, json!({ "word": "a" }));
    for (values, message) in [
        (json!({ "word": null }), "words.word: must not be null"),
        (json!({ "word": "a\u{0}" }), "words.word: holds the character U+0000, which Postgres cannot store"),
        (json!({ "level": "b1" }), "words.level: must be one of a1, a2"),
        (json!({ "seen": 3 }), "words.seen: is a counter: use add"),
        (json!({ "source": "x" }), "words.source: is set once, with the row, and never changes"),
        (json!({ "score": 1.5 }), "words.score: is written by the server"),
        (json!({ "id": key }), "words.id: is the row's key; pass it as the key"),
        (json!({ "nothing": 1 }), "words.nothing: there is no such column"),
        (json!({ "size": "9223372036854775808" }), "words.size: must be a whole number of 64 bits, as text"),
        (json!({ "due": "yesterday" }), "words.due: must be an instant like 2026-11-23T12:00:00Z"),
        (json!({}), "words: nothing is to be changed; name at least one column"),
    ] {
        let refused = update(&mut one, &key, values, 1).unwrap_err();
        assert_eq!((refused.code(), refused.to_string().as_str()), ("invalid_input", message));
    }
    let refused = |change: Change, one: &mut Engine| one.mutate(change, at(0)).unwrap_err().to_string();
    let add = |values| Change::Add { table: "words".into(), key: key.clone(), values: map(values) };
    assert_eq!(refused(add(json!({ "word": "b" })), &mut one), "words.word: is no counter: use update");
    assert_eq!(
        refused(add(json!({ "price": "0.001" })), &mut one),
        "words.price: must have at most 2 digits behind the point"
    );
    let insert = |table: &str, key: Option<&str>, values| Change::Insert {
        table: table.into(),
        key: key.map(str::to_owned),
        values: map(values),
    };
    assert_eq!(refused(insert("words", None, json!({})), &mut one), "words.word: must have a value");
    assert_eq!(
        refused(insert("words", Some("x"), json!({ "word": "a" })), &mut one),
        "words.id: must be a UUID"
    );
    assert_eq!(refused(insert("tags", None, json!({})), &mut one), "tags.name: a new row needs a key");
    assert_eq!(
        refused(insert("facts", None, json!({})), &mut one),
        "facts: the table is written by the server alone"
    );
    assert!(refused(insert("nothing", None, json!({})), &mut one).contains("no mirrored table \"nothing\""));
}

/// Whatever Postgres holds in such a column arrives, or shows as none; it never stops a sync.
#[test]
fn odd_values_of_the_server_cost_only_themselves() {
    let (mut one, mut server) = (device(), TableServer::new(WORDS));
    let deep = "[".repeat(200) + &"]".repeat(200);
    let keys: Vec<String> = (0..3).map(|n| format!("00000000-0000-4000-8000-00000000000{n}")).collect();
    server.put_raw(
        "words",
        &keys[0],
        &format!(r#"{{"id":"{}","word":"a","data":{deep},"due":"infinity","price":"NaN"}}"#, keys[0]),
    );
    server.put_raw(
        "words",
        &keys[1],
        &format!(r#"{{"id":"{}","word":7,"due":"0044-03-15T00:00:00.000000Z BC","size":1e400}}"#, keys[1]),
    );
    server.put_raw("words", "no uuid", r#"{"id":"no uuid","word":"c"}"#);
    for packed in [true, false] {
        server.packs = packed;
        sync(&mut one, &mut server);
        let first = one.get_row("words", &keys[0]).unwrap().unwrap();
        assert!(
            first.contains(&format!("\"data\":{deep}")) && first.contains("\"price\":\"NaN\""),
            "{first}"
        );
        let second = row(&one, "words", &keys[1]);
        assert_eq!((&second["word"], &second["size"]), (&Value::Null, &Value::Null));
        assert_eq!(second["due"], "0044-03-15T00:00:00.000000Z BC");
        let unreadable = one.status(at(0)).unwrap().unreadable;
        let columns: Vec<_> =
            unreadable.iter().map(|column| (column.column.as_str(), column.code.as_str())).collect();
        for column in [("word", "unreadable_value"), ("size", "unreadable_value"), ("id", "unreadable_row")] {
            assert!(columns.contains(&column), "{columns:?}");
        }
        // With a local write on it, it is kept as what the server has, too.
        update(&mut one, &keys[0], json!({ "level": "a1" }), 1).unwrap();
        sync(&mut one, &mut server);
        assert!(one.get_row("words", &keys[0]).unwrap().unwrap().contains(&deep));
        one = device();
    }
}

const MEASURES: &str = r#"{ "version": 1, "hash": "0000000000000002", "tables": [
  { "name": "measures", "schema": "public", "key": "id", "owner": "user_id", "write": true, "columns": [
    { "name": "id", "type": "text", "rule": "key" },
    { "name": "double", "type": "double", "rule": "register" },
    { "name": "single", "type": "real", "rule": "register" },
    { "name": "mood", "type": "enum", "rule": "register", "labels": ["so so", "it's fine", "bad"] },
    { "name": "small", "type": "numeric", "rule": "register", "precision": 2, "scale": 4 },
    { "name": "hundreds", "type": "numeric", "rule": "register", "precision": 3, "scale": -2 } ] } ] }"#;

fn measures() -> (Engine, TableServer) {
    let mut one = engine();
    one.use_catalogue(Some(&crate::catalogue::Catalogue::parse(MEASURES).unwrap()), at(0)).unwrap();
    (one, TableServer::new(MEASURES))
}

fn keys_of(engine: &Engine, query: Value) -> Result<String, Error> {
    let rows = engine.list_rows("measures", &serde_json::from_value(query).unwrap())?;
    let key = |row: &String| serde_json::from_str::<Value>(row).unwrap()["id"].as_str().unwrap().to_owned();
    Ok(rows.iter().map(key).collect())
}

/// `-Infinity` came behind all numbers, because it was kept as a text.
#[test]
fn numbers_without_end_are_ordered_as_postgres_orders_them() {
    let (mut one, mut server) = measures();
    let ascending = [json!("-Infinity"), json!(-1), json!(0), json!(1.5), json!("Infinity"), json!("NaN")];
    for (value, key) in ascending.iter().zip(["a", "b", "c", "d", "e", "f"]) {
        insert(&mut one, "measures", Some(key), json!({ "double": value, "single": value }));
    }
    insert(&mut one, "measures", Some("z"), json!({}));
    let (mut two, _) = measures();
    sync(&mut one, &mut server);
    sync(&mut two, &mut server);
    for device in [&mut one, &mut two] {
        for column in ["double", "single"] {
            for (test, value, expected) in [
                ("gt", json!(0), "def"),
                ("lt", json!(0), "ab"),
                ("gte", json!("Infinity"), "ef"),
                ("gt", json!("-Infinity"), "bcdef"),
                ("lte", json!("-Infinity"), "a"),
                ("gte", json!("NaN"), "f"),
                ("in", json!(["NaN", "-Infinity"]), "af"),
            ] {
                let query = json!({ "where": { column: { test: value } }, "order": [column] });
                assert_eq!(keys_of(device, query).unwrap(), expected, "{column} {test} {value}");
            }
            let paged = json!({ "order": [column], "after": "a", "limit": 3 });
            assert_eq!(keys_of(device, paged).unwrap(), "bcd");
            assert_eq!(row(device, "measures", "a")[column], "-Infinity");
            assert_eq!(row(device, "measures", "f")[column], "NaN");
            let sql = format!("SELECT id, {column} FROM measures WHERE {column} < 0 ORDER BY {column}");
            let found = device.query(&sql, &[], crate::store::QueryLimits::default()).unwrap().rows;
            assert_eq!(json!(found), json!([["a", "-Infinity"], ["b", -1.0]]));
        }
    }
}

#[test]
fn labels_are_ordered_as_they_were_declared() {
    let (mut one, mut server) = measures();
    for (key, mood) in [("a", "bad"), ("b", "so so"), ("c", "it's fine"), ("d", "so so")] {
        insert(&mut one, "measures", Some(key), json!({ "mood": mood }));
    }
    insert(&mut one, "measures", Some("z"), json!({}));
    // A label that was added since.
    server.put_raw("measures", "y", r#"{"id":"y","mood":"awful"}"#);
    sync(&mut one, &mut server);
    for (query, expected) in [
        (json!({ "order": ["mood"] }), "zbdcay"),
        (json!({ "order": ["-mood", "-id"] }), "yacdbz"),
        (json!({ "order": ["mood"], "after": "d" }), "cay"),
        (json!({ "where": { "mood": { "gte": "it's fine" } }, "order": ["mood"] }), "cay"),
        (json!({ "where": { "mood": { "lt": "it's fine" } } }), "bd"),
        (json!({ "where": { "mood": "it's fine" } }), "c"),
        (json!({ "where": { "mood": "awful" } }), "y"),
    ] {
        assert_eq!(keys_of(&one, query.clone()).unwrap(), expected, "{query}");
    }
    let refused = keys_of(&one, json!({ "where": { "mood": { "gt": "odd" } } })).unwrap_err();
    assert_eq!(refused.to_string(), "measures.mood: must be one of so so, it's fine, bad");
}

#[test]
fn what_postgres_would_round_or_change_is_refused_or_changed_before_it_is_sent() {
    let (mut one, mut server) = measures();
    for (values, kept) in [
        (json!({ "small": "0.0012" }), Ok(json!("0.0012"))),
        (json!({ "small": "-0.0099" }), Ok(json!("-0.0099"))),
        (json!({ "small": "0" }), Ok(json!("0.0000"))),
        (json!({ "small": "0.01" }), Err("measures.small: must be less than 1e-2")),
        (json!({ "small": "1" }), Err("measures.small: must have at most 0 digits before the point")),
        (json!({ "hundreds": "12300" }), Ok(json!("12300"))),
        (json!({ "hundreds": "-99900" }), Ok(json!("-99900"))),
        (json!({ "hundreds": "0" }), Ok(json!("0"))),
        (json!({ "hundreds": "12345" }), Err("measures.hundreds: must be a multiple of 1e2")),
        (
            json!({ "hundreds": "100000" }),
            Err("measures.hundreds: must have at most 5 digits before the point"),
        ),
        (json!({ "double": -0.0 }), Ok(json!(0.0))),
        (json!({ "single": -0.0 }), Ok(json!(0.0))),
    ] {
        let (column, _) = values.as_object().unwrap().iter().next().unwrap();
        let key = Some("a".to_owned());
        let change = Change::Insert { table: "measures".into(), key, values: map(values.clone()) };
        let done = one.mutate(change, at(0)).map(|_| row(&one, "measures", "a")[column].to_string());
        assert_eq!(
            done.map_err(|it| it.to_string()),
            kept.map(|it| it.to_string()).map_err(str::to_owned),
            "{values}"
        );
        one = measures().0;
    }
    // What another writer has put there.
    server.put_raw("measures", "a", r#"{"id":"a","double":-0,"single":-0.0}"#);
    sync(&mut one, &mut server);
    let found = row(&one, "measures", "a");
    assert_eq!((found["double"].to_string(), found["single"].to_string()), ("0.0".into(), "0.0".into()));
}
