//! Tables that an app may well have: with names that the mirror has itself, with columns of odd names, with a column that was widened,
//! keyed by their owner.

use serde_json::{Map, Value};

use super::table_server::TableServer;
use super::tables::{insert, map, row, sync};
use super::*;
use crate::catalogue::{Catalogue, RESERVED_NAMES};

fn device(json: &str) -> Engine {
    let mut engine = engine();
    engine.use_catalogue(Some(&Catalogue::parse(json).unwrap()), at(0)).unwrap();
    engine
}

/// One table, of a hash that goes with its columns.
fn described(name: &str, key: &str, owner: &str, columns: &Value) -> String {
    let hash = columns.to_string().bytes().fold(7_u64, |hash, byte| hash.wrapping_mul(31) + u64::from(byte));
    let table = json!({ "name": name, "schema": "public", "key": key, "owner": owner, "columns": columns });
    json!({ "version": 1, "hash": format!("{hash:016x}"), "tables": [table] }).to_string()
}

/// A table called `files` took the place of the device's own, and the uploads that waited there were lost; one called as an index could
/// not be made, and nothing was synced any more.
#[test]
fn a_table_with_a_name_of_the_mirrors_own_is_left_out_and_the_mirrors_stays() {
    let before = crate::store::probe::own_names(&engine().store);
    for name in RESERVED_NAMES {
        let columns = json!([{ "name": "id", "type": "uuid", "rule": "key" }, { "name": "url", "type": "text", "rule": "register" }]);
        let mut engine = device(&described(name, "id", "user_id", &columns));
        assert_eq!(crate::store::probe::own_names(&engine.store), before, "{name}");
        let change =
            Change::Insert { table: (*name).to_owned(), key: None, values: map(json!({ "url": "a" })) };
        let refused = engine.mutate(change, at(0)).unwrap_err();
        assert!(matches!(&refused, Error::UnknownTable { table } if table == name), "{name}: {refused}");
        let mut server = TableServer::new(&described(name, "id", "user_id", &columns));
        server.put_raw(
            name,
            "018f9d3e-7a00-7000-8000-000000000001",
            r#"{"id":"018f9d3e-7a00-7000-8000-000000000001","url":"\"b\""}"#,
        );
        server.packs = false;
        sync(&mut engine, &mut server);
    }
    // What the mirror makes, no other table may be called.
    let is_free = |name: &&String| !RESERVED_NAMES.contains(&name.as_str()) && !name.starts_with("sqlite_");
    let free: Vec<&String> = before.iter().filter(is_free).collect();
    assert!(free.is_empty(), "not in RESERVED_NAMES: {free:?}");
}

/// A name with a quote, a backslash or a control character is escaped in the answer: no device of the user synced any more.
#[test]
fn columns_may_have_any_name_that_postgres_gives_them() {
    let names = [
        "5\" disk",
        "back\\slash",
        "tab\there",
        "line\nbreak",
        "bell\u{7}",
        "we\"ird %s name",
        "é\u{1F30A}",
        "'",
        "a b",
        "\u{7f}",
    ];
    let register = |name: &str| json!({ "name": name, "type": "text", "rule": "register" });
    let columns =
        [json!({ "name": "id\"", "type": "text", "rule": "key" })].into_iter().chain(names.map(register));
    let json = described("kinds", "id\"", "user_id", &columns.collect());
    for packs in [true, false] {
        let (mut one, mut two, mut server) = (device(&json), device(&json), TableServer::new(&json));
        server.packs = packs;
        let values: Map<String, Value> =
            names.iter().map(|name| ((*name).to_owned(), json!(format!("in {name}")))).collect();
        let key = insert(&mut one, "kinds", Some("k\"\\\t"), values.clone().into());
        for device in [&mut one, &mut two] {
            sync(device, &mut server);
            assert_eq!(device.status(at(0)).unwrap().last_error, None, "packed: {packs}");
            let mut expected = values.clone();
            expected.insert("id\"".to_owned(), json!(key));
            assert_eq!(row(device, "kinds", &key), Value::from(expected), "packed: {packs}");
        }
        let changed = map(json!({ names[0]: "other" }));
        two.mutate(Change::Update { table: "kinds".into(), key: key.clone(), values: changed }, at(5))
            .unwrap();
        sync(&mut two, &mut server);
        sync(&mut one, &mut server);
        assert_eq!(row(&one, "kinds", &key)[names[0]], "other");
        let sql = "SELECT \"5\"\" disk\" FROM kinds";
        assert_eq!(one.query(sql, &[], crate::QueryLimits::default()).unwrap().rows, [[json!("other")]]);
    }
}

/// A double cannot count.
fn counted(kind: &str) -> String {
    let seen = if kind == "double" { "integer" } else { kind };
    let columns = json!([
        { "name": "id", "type": "text", "rule": "key" },
        { "name": "seen", "type": seen, "rule": "counter", "nullable": false, "default": true },
        { "name": "level", "type": kind, "rule": "register" } ]);
    described("words", "id", "user_id", &columns)
}

/// The app's module says `integer`, and by now the server has a wider type, whose numbers are texts on the wire: they were shown as NULL.
#[test]
fn a_number_is_read_whatever_width_the_server_has_given_it_by_now() {
    for (known, now, stored, shown) in [
        ("integer", "bigint", json!("9007199254740993"), json!(9_007_199_254_740_993_i64)),
        ("smallint", "integer", json!(-40_000), json!(-40_000)),
        ("smallint", "bigint", json!("5"), json!(5)),
        ("integer", "numeric", json!("5"), json!(5)),
        ("integer", "numeric", json!("5.00"), json!(5)),
        ("bigint", "numeric", json!("-5"), json!("-5")),
        ("bigint", "integer", json!(5), json!("5")),
        ("numeric", "integer", json!(5), json!("5")),
        ("double", "numeric", json!("5.50"), json!(5.5)),
    ] {
        for packs in [true, false] {
            let (mut engine, mut server) = (device(&counted(known)), TableServer::new(&counted(now)));
            server.packs = packs;
            let seen = if known == "double" { json!(5) } else { stored.clone() };
            server.put_raw("words", "a", &json!({ "id": "a", "seen": seen, "level": stored }).to_string());
            sync(&mut engine, &mut server);
            let kept = row(&engine, "words", "a");
            let seen = if known == "double" { &seen } else { &shown };
            assert_eq!((&kept["seen"], &kept["level"]), (seen, &shown), "{known} {now} {packs}");
            assert!(engine.status(at(0)).unwrap().unreadable.is_empty(), "{known} {now}");
        }
    }
}

/// Offline, right after the app was updated; with an addition and an update that wait since before.
#[test]
fn a_widened_column_keeps_its_numbers_and_what_waits_for_it() {
    for (kind, expected) in
        [("bigint", json!("10")), ("numeric", json!("10")), ("smallint", json!(10)), ("double", json!(10))]
    {
        let (mut engine, mut server) = (device(&counted("integer")), TableServer::new(&counted("integer")));
        insert(&mut engine, "words", Some("a"), json!({ "seen": 7, "level": 10 }));
        insert(&mut engine, "words", Some("b"), json!({ "seen": 10, "level": 7 }));
        sync(&mut engine, &mut server);
        let table = || "words".to_owned();
        let add = Change::Add { table: table(), key: "a".into(), values: map(json!({ "seen": 3 })) };
        let update = Change::Update { table: table(), key: "b".into(), values: map(json!({ "level": 10 })) };
        engine.mutate(add, at(1)).unwrap();
        engine.mutate(update, at(1)).unwrap();
        engine.use_catalogue(Some(&Catalogue::parse(&counted(kind)).unwrap()), at(2)).unwrap();
        for key in ["a", "b"] {
            let shown = row(&engine, "words", key);
            let seen = if kind == "double" { &json!(10) } else { &expected };
            // 10.0 of a double is 10.
            let level = shown["level"].as_f64().map_or(shown["level"].clone(), |level| json!(level as i64));
            assert_eq!((&shown["seen"], &level), (seen, &expected), "{kind} {key}");
        }
    }
}

/// One row for each user: `{}` is all that an app has to give.
#[test]
fn a_table_keyed_by_its_owner_has_the_users_id_for_a_key() {
    let columns = json!([{ "name": "user_id", "type": "uuid", "rule": "key" }, { "name": "theme", "type": "text", "rule": "register" }]);
    let mut engine = device(&described("user_settings", "user_id", "user_id", &columns));
    let key = insert(&mut engine, "user_settings", None, json!({ "theme": "dark" }));
    assert_eq!(
        (key, row(&engine, "user_settings", &user().to_string())["theme"].as_str()),
        (user().to_string(), Some("dark"))
    );
}
