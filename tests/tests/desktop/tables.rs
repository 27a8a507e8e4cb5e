//! Mirrored tables and SQL at the command line and in the crate, where there is no server: the mirror knows its catalogue from
//! before. Needs no backend.

use marea_native::{Catalogue, Change, Client, Config, ListQuery};
use marea_tests::command::Device;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const USER: &str = "11111111-1111-4111-8111-111111111111";
/// A token in form only: `{}` . `{"sub": USER}` . nothing that any server would accept.
const TOKEN: &str = "e30.eyJzdWIiOiIxMTExMTExMS0xMTExLTQxMTEtODExMS0xMTExMTExMTExMTEifQ.unsigned";

const CATALOGUE: &str = r#"{ "version": 1, "hash": "00000000000000ab", "tables": [
  { "name": "words", "schema": "public", "key": "id", "owner": "user_id", "write": true, "columns": [
    { "name": "id", "type": "uuid", "rule": "key" },
    { "name": "word", "type": "text", "rule": "register", "nullable": false, "max": 20 },
    { "name": "level", "type": "enum", "rule": "register", "labels": ["a1", "a2"] },
    { "name": "seen", "type": "integer", "rule": "counter", "nullable": false, "default": true },
    { "name": "size", "type": "bigint", "rule": "register" },
    { "name": "data", "type": "jsonb", "rule": "register" } ] } ] }"#;

fn catalogue() -> Catalogue {
    Catalogue::parse(CATALOGUE).expect("a catalogue")
}

async fn open(device: &Device) -> Client {
    Client::open(Config::new(device.dir(), USER.parse().expect("an id")).schema(catalogue()))
        .await
        .expect("a client")
}

/// A device whose mirror knows the catalogue, as after a sync.
async fn device() -> Device {
    let device = Device::new().with("MAREA_TOKEN", TOKEN);
    open(&device).await.shutdown(std::time::Duration::ZERO).await.expect("closed");
    device
}

async fn insert(device: &Device, row: &str) -> String {
    device.json(&["table", "insert", "words", row]).await["key"].as_str().expect("a key").to_owned()
}

#[tokio::test]
async fn rows_are_made_changed_listed_and_deleted_at_the_command_line() {
    let device = device().await;
    let mar = insert(&device, r#"{"word": "mar", "level": "a1", "size": "9007199254740993"}"#).await;
    let sol = insert(&device, r#"{"word": "sol", "level": "a2", "data": {"a": [1, 2]}}"#).await;
    device.run(&["table", "update", "words", &mar, r#"{"level": "a2"}"#]).await.exits(0);
    device.run(&["table", "add", "words", &mar, r#"{"seen": 2}"#]).await.exits(0);
    device.run(&["table", "add", "words", &mar, r#"{"seen": 3}"#]).await.exits(0);

    let row = device.json(&["table", "get", "words", &mar]).await;
    let expected = json!({
        "id": mar, "word": "mar", "level": "a2", "seen": 5, "size": "9007199254740993", "data": null
    });
    assert_eq!(row, expected);
    let shown = device.run(&["table", "get", "words", &mar]).await.exits(0).stdout;
    assert!(shown.contains("word   mar") || shown.contains("word  mar"), "{shown}");

    let listed = device.json(&["table", "list", "words", "--order", "-word", "--limit", "1"]).await;
    assert_eq!((&listed["rows"][0]["word"], &listed["next"]), (&json!("sol"), &json!(sol)));
    let words = ["table", "list", "words", "--order", "-word", "--limit", "1", "--after", &sol];
    let listed = device.json(&words).await;
    assert_eq!((&listed["rows"][0]["word"], &listed["next"]), (&json!("mar"), &Value::Null));
    let filtered = device.json(&["table", "list", "words", "--where", r#"{"seen": {"gte": 5}}"#]).await;
    assert_eq!(filtered["rows"].as_array().unwrap().len(), 1);
    let shown = device.run(&["table", "list", "words"]).await.exits(0).stdout;
    assert!(shown.starts_with("id ") && shown.lines().count() == 3, "{shown}");

    device.run(&["table", "delete", "words", &mar]).await.exits(0);
    device.run(&["table", "get", "words", &mar, "--json"]).await.exits(1).error("not_found");
    assert_eq!(device.json(&["status"]).await["pending"], 6);
}

#[tokio::test]
async fn a_line_that_cannot_be_carried_out_says_why() {
    let device = device().await;
    let key = insert(&device, r#"{"word": "mar"}"#).await;
    for (words, code, exit, says) in [
        (vec!["insert", "nowhere", "{}"], "unknown_table", 1, "nowhere"),
        (vec!["insert", "words", "{"], "usage", 2, "not JSON"),
        (vec!["insert", "words", "[1]"], "usage", 2, "object"),
        (vec!["insert", "words", r#"{"word": "w", "level": "c9"}"#], "invalid_input", 2, "words.level"),
        (vec!["insert", "words", r#"{"wrod": "w"}"#], "invalid_input", 2, "wrod"),
        (vec!["update", "words", &key, r#"{"seen": 1}"#], "invalid_input", 2, "seen"),
        (vec!["add", "words", &key, r#"{"word": "x"}"#], "invalid_input", 2, "word"),
        (vec!["list", "words", "--where", r#"{"nothing": 1}"#], "invalid_input", 2, "nothing"),
        (vec!["list", "words", "--limit", "0"], "usage", 2, "limit"),
    ] {
        let ran = device.run(&[&["table"], &words[..], &["--json"]].concat()).await.exits(exit);
        let message = ran.error(code);
        assert!(message.contains(says), "{message}");
    }
    assert_eq!(device.json(&["status"]).await["pending"], 1, "nothing of it was written");
}

#[tokio::test]
async fn sql_reads_what_is_mirrored_as_a_table_as_csv_and_as_json() {
    let device = device().await;
    insert(&device, r#"{"word": "mar, \"la\"", "level": "a1"}"#).await;
    insert(&device, r#"{"word": "sol", "level": "a1"}"#).await;
    let sql = "SELECT level, count(*) AS n FROM words WHERE word <> ? GROUP BY level";
    let result = device.json(&["query", sql, "--param", "\"x\""]).await;
    let expected = json!({ "columns": ["level", "n"], "rows": [["a1", 2]], "tables": ["words"] });
    assert_eq!(result, expected);
    let shown = device.run(&["query", sql, "--param", "\"x\""]).await.exits(0).stdout;
    assert_eq!(shown, "level  n\na1     2\n");
    let csv =
        device.run(&["query", "SELECT word, level FROM words ORDER BY word", "--csv"]).await.exits(0).stdout;
    assert_eq!(csv, "word,level\n\"mar, \"\"la\"\"\",a1\nsol,a1\n");
    // A value that would steer a terminal stays in its cell; a program that reads CSV gets it as it is.
    let steering = ["query", "SELECT 'a' || char(27, 10) || 'b' AS x"];
    let shown = device.run(&steering).await.exits(0).stdout;
    assert!(shown.lines().count() == 2 && !shown.contains('\x1b'), "{shown:?}");
    let csv = device.run(&[&steering[..], &["--csv"]].concat()).await.exits(0).stdout;
    assert_eq!(csv, "x\n\"a\x1b\nb\"\n");
    let all = device.json(&["query", "SELECT * FROM words WHERE word = 'sol'"]).await;
    assert_eq!(all["columns"], json!(["id", "word", "level", "seen", "size", "data"]));
}

#[tokio::test]
async fn sql_that_reaches_for_more_is_refused() {
    let device = device().await;
    insert(&device, r#"{"word": "mar"}"#).await;
    let vault = "SELECT openai_api_key FROM user_api_keys";
    let endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c";
    for (sql, code, exit) in [
        (vault, "query_refused", 2),
        ("SELECT count(*) FROM user_api_keys", "query_refused", 2),
        ("SELECT * FROM words, mutations", "query_refused", 2),
        ("SELECT * FROM meta", "query_refused", 2),
        ("SELECT sql FROM sqlite_master", "query_refused", 2),
        ("ATTACH 'x.db' AS x", "query_refused", 2),
        ("PRAGMA writable_schema = 1", "query_refused", 2),
        ("DELETE FROM words", "query_refused", 2),
        ("SELECT 1; DELETE FROM words", "query_refused", 2),
        ("SELECT load_extension('x')", "query_refused", 2),
        ("SELECT nothing FROM words", "invalid_input", 2),
        (endless, "query_limit", 1),
    ] {
        device.run(&["query", sql, "--json"]).await.exits(exit).error(code);
    }
    device.run(&["query", "SELECT ?", "--param", "x", "--json"]).await.exits(2).error("usage");
    device.run(&["query", "SELECT ?", "--json"]).await.exits(2).error("invalid_input");
    assert_eq!(device.json(&["query", "SELECT count(*) FROM words"]).await["rows"], json!([[1]]));
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Word {
    id: String,
    word: String,
    seen: i32,
}

#[tokio::test]
async fn the_crate_reads_and_writes_rows_as_types_of_the_app() {
    let device = device().await;
    let client = open(&device).await;
    assert_eq!(client.catalogue().await.unwrap().unwrap().hash(), "00000000000000ab");
    let words = client.table("words");
    let mut watched =
        words.watch::<Word>(ListQuery { order: vec!["word".into()], ..ListQuery::default() }).await.unwrap();
    let mut counted = client.watch_query("SELECT count(*), sum(seen) FROM words", Vec::new()).await.unwrap();
    assert!(watched.next().await.unwrap().is_empty());
    assert_eq!(counted.next().await.unwrap().rows, [[json!(0), Value::Null]]);

    let key = words.insert(&json!({ "word": "mar", "seen": 0 })).await.unwrap().key;
    let mar = Word { id: key.clone(), word: "mar".into(), seen: 0 };
    assert_eq!(words.get::<Word>(&key).await.unwrap().unwrap(), mar);
    assert_eq!(watched.next().await.expect("rows"), std::slice::from_ref(&mar));
    assert_eq!(counted.next().await.unwrap().rows, [[json!(1), json!(0)]]);

    let table = || "words".to_owned();
    let seen = json!({ "seen": 2 }).as_object().unwrap().clone();
    let wrong = json!({ "level": "c9" }).as_object().unwrap().clone();
    let add = Change::Add { table: table(), key: key.clone(), values: seen };
    let update = Change::Update { table: table(), key: key.clone(), values: wrong };
    assert_eq!(client.batch(None, vec![add.clone(), update]).await.unwrap_err().code(), "invalid_input");
    assert_eq!(words.get::<Word>(&key).await.unwrap().unwrap(), mar, "all or nothing");
    let done = client.batch(None, vec![add.clone(), add]).await.unwrap();
    assert_eq!(done.len(), 2);
    assert_eq!(counted.next().await.unwrap().rows, [[json!(1), json!(4)]]);
    assert_eq!(words.count(json!({ "seen": { "gt": 3 } }).as_object().unwrap().clone()).await.unwrap(), 1);

    #[derive(Debug, Deserialize)]
    struct Other {
        #[expect(dead_code, reason = "it is never read")]
        word: i32,
    }
    let unlike = words.get::<Other>(&key).await.unwrap_err();
    assert_eq!(unlike.code(), "invalid_input");
    assert!(!unlike.to_string().contains("mar"), "{unlike}");
    assert_eq!(words.insert(&"mar").await.unwrap_err().code(), "invalid_input");
    assert_eq!(client.table("nowhere").get::<Value>("x").await.unwrap_err().code(), "unknown_table");

    words.delete(&key).await.unwrap();
    assert_eq!(words.get::<Word>(&key).await.unwrap(), None);
    assert_eq!(counted.next().await.unwrap().rows, [[json!(0), Value::Null]]);
}
