//! The app's own SQL: what it may read, what it may not, and where it ends. The list of statements is also run in the
//! browser, whose SQLite is built with less (`tests/browser/query.test.js`).

use serde_json::{Value, json};

use super::*;
use crate::store::{QueryLimits, QueryResult};

const CASES: &str = include_str!("query_cases.json");

/// A device with two sessions of one day.
fn device() -> Engine {
    let mut engine = engine();
    record(&mut engine, 10);
    record(&mut engine, 20);
    engine
}

/// Steps that are over soon: what has no end need not run to the end of what a query may take.
const FEW_STEPS: u64 = 1_000_000;

fn run(engine: &mut Engine, sql: &str, params: &[Value]) -> Result<QueryResult, Error> {
    engine.query(sql, params, QueryLimits { steps: FEW_STEPS, ..QueryLimits::default() })
}

fn refusal(sql: &str, params: &[Value], limits: QueryLimits) -> (&'static str, String) {
    let error = device().query(sql, params, limits).unwrap_err();
    (error.code(), error.to_string())
}

#[test]
fn each_statement_answers_as_it_should_and_leaves_the_mirror_as_it_was() {
    let mut engine = device();
    let cases: Vec<Value> = serde_json::from_str(CASES).unwrap();
    let mut wrong = Vec::new();
    for case in &cases {
        let sql = case["sql"].as_str().unwrap();
        let fits = match (run(&mut engine, sql, &[]), &case["code"]) {
            (Ok(result), Value::Null) => json!(result.rows) == case["rows"],
            (Err(error), Value::String(code)) => code.split('|').any(|code| code == error.code()),
            _ => false,
        };
        if !fits {
            wrong
                .push(format!("{case}\n  {:?}", run(&mut engine, sql, &[]).map(|result| json!(result.rows))));
        }
        // Neither a lock nor a limit is left: the next write goes through, and the engine's own statements are not refused.
        assert_eq!(totals(&engine), (2, 30), "{sql}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    record(&mut engine, 5);
    assert_eq!(totals(&engine), (3, 35));
}

#[test]
fn the_id_of_an_export_is_a_text() {
    let mut engine = device();
    let input = crate::model::ExportInput {
        export_type: "words".to_owned(),
        export_format: "csv".to_owned(),
        ..Default::default()
    };
    let id = engine.mutate(Change::CreateExport(input), at(0)).unwrap().id.to_string();
    for sql in [
        "SELECT id FROM export_history WHERE id = ?",
        "WITH RECURSIVE n(id) AS (VALUES (1)), e AS (SELECT * FROM export_history) SELECT e.id FROM e JOIN n ON e.id = ?",
        "SELECT E.ID FROM Export_History AS E WHERE E.id IN (?) ORDER BY created_at",
    ] {
        assert_eq!(run(&mut engine, sql, &[id.as_str().into()]).unwrap().rows, [[json!(id)]], "{sql}");
    }
    // A table of the statement's own has the name to itself.
    let own = "WITH export_history AS (SELECT 1 AS a) SELECT a FROM export_history";
    assert_eq!(run(&mut engine, own, &[]).unwrap().rows, [[json!(1)]]);
    let all = run(&mut engine, "SELECT * FROM export_history", &[]).unwrap();
    assert_eq!((&*all.columns[0], &all.rows[0][0], all.columns.len()), ("id", &json!(id), 17));
}

#[test]
fn parameters_are_bound_by_place_and_kind() {
    let mut engine = device();
    let mut answer = |sql: &str, params: &[Value]| run(&mut engine, sql, params).unwrap().rows;
    let all = json!([null, true, 7, 1.5, "x"]);
    let kinds = answer("SELECT typeof(?), ?, typeof(?), typeof(?), ?", all.as_array().unwrap());
    assert_eq!(json!(kinds), json!([["null", 1, "integer", "real", "x"]]));
    assert_eq!(json!(answer("SELECT ?2, ?1, :name", &[json!(1), json!(2), json!(3)])), json!([[2, 1, 3]]));
    let listed = answer(
        "SELECT minutes FROM daily_activity WHERE minutes IN (SELECT value FROM json_each(?))",
        &[json!([30, 40])],
    );
    assert_eq!(json!(listed), json!([[30]]));
    assert_eq!(json!(answer("SELECT ? ->> 'a'", &[json!({"a": "b"})])), json!([["b"]]));
    assert_eq!(json!(answer("SELECT ?", &[json!(i64::MAX)])), json!([[i64::MAX.to_string()]]));
    // SQL in a parameter is a text.
    assert_eq!(
        json!(answer("SELECT ?", &[json!("x'; DROP TABLE meta; --\0")])),
        json!([["x'; DROP TABLE meta; --\0"]])
    );

    for (sql, params) in [
        ("SELECT ?", json!([])),
        ("SELECT 1", json!([1])),
        ("SELECT ?3", json!([1])),
        ("SELECT ?", json!([u64::MAX])),
    ] {
        let (code, message) = refusal(sql, params.as_array().unwrap(), QueryLimits::default());
        assert_eq!(code, "invalid_input", "{sql}");
        assert!(message.starts_with("params: "), "{message}");
    }
}

#[test]
fn the_tables_that_were_read_are_told() {
    let mut engine = device();
    for (sql, tables) in [
        ("SELECT 1", json!([])),
        ("SELECT count(*) FROM daily_activity", json!(["daily_activity"])),
        ("SELECT day FROM daily_activity, user_progress WHERE 0", json!(["daily_activity", "user_progress"])),
        ("WITH daily_activity AS (SELECT 1) SELECT * FROM daily_activity", json!([])),
        (
            "SELECT EXISTS (SELECT 1 FROM export_history), value FROM json_each('[1]')",
            json!(["export_history"]),
        ),
    ] {
        assert_eq!(json!(run(&mut engine, sql, &[]).unwrap().tables), tables, "{sql}");
    }
}

#[test]
fn equal_names_of_columns_are_kept() {
    let result = run(&mut device(), "SELECT 1 AS a, 2 AS a, 3", &[]).unwrap();
    assert_eq!(result.columns, ["a", "a", "3"]);
}

#[test]
fn a_limit_is_named_and_gives_nothing() {
    let endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c";
    let limits = QueryLimits::default;
    for (limits, named) in [
        (QueryLimits { rows: 3, ..limits() }, "more than 3 rows"),
        (QueryLimits { bytes: 800, ..limits() }, "more than 800 bytes"),
        (QueryLimits { steps: 5_000, ..limits() }, "more than 5000 steps"),
        (QueryLimits { memory: 0, ..limits() }, "more than the allowed bytes of memory"),
        (QueryLimits { expired: Some(Box::new(|| true)), ..limits() }, "more than the allowed time"),
    ] {
        let (code, message) = refusal(endless, &[], limits);
        assert_eq!(code, "query_limit");
        assert!(message.contains(named), "{message}");
    }
    let three = "SELECT * FROM (VALUES (1), (2), (3))";
    let most = QueryLimits { rows: 3, bytes: 24, ..limits() };
    assert_eq!(device().query(three, &[], most).unwrap().rows.len(), 3, "a bound may be reached");
}

#[test]
fn a_message_quotes_the_statement_and_no_value() {
    let (_, message) = refusal("SELECT wrod FROM daily_activity", &[], QueryLimits::default());
    assert_eq!(message, "sql: no such column: wrod");
    let (_, message) = refusal("SELECT json_extract('{}', ?)", &[json!("a secret")], QueryLimits::default());
    assert!(!message.contains("secret"), "{message}");
    let (_, message) = refusal("SELECT value FROM meta", &[], QueryLimits::default());
    assert_eq!(
        message,
        "the table meta cannot be read; these can: daily_activity, export_history, user_progress"
    );
    let result = run(&mut device(), "SELECT 'a secret' AS a", &[]).unwrap();
    assert!(!format!("{result:?}").contains("secret"));
}

#[test]
fn an_own_statement_of_the_engine_is_refused_to_a_query_word_for_word() {
    // It is in the cache of statements by then, prepared while the gate was open.
    let (code, _) =
        refusal("SELECT value FROM meta WHERE key = ?1", &[json!("user_id")], QueryLimits::default());
    assert_eq!(code, "query_refused");
}

#[test]
fn the_stores_own_column_is_none_for_a_query() {
    let mut engine = device();
    let export: crate::model::ExportInput =
        serde_json::from_value(json!({"export_type": "progress", "export_format": "json"})).unwrap();
    engine.mutate(Change::CreateExport(export), at(0)).unwrap();
    let all = run(&mut engine, "SELECT * FROM (SELECT * FROM export_history)", &[]).unwrap();
    assert_eq!((all.columns.len(), all.columns.contains(&"clocks".to_owned())), (17, false));
    let named = run(&mut engine, "SELECT clocks, clocks AS c, status FROM export_history", &[]).unwrap();
    assert_eq!(
        (json!(named.columns), json!(named.rows)),
        (json!(["c", "status"]), json!([[null, "pending"]]))
    );
    let own = run(&mut engine, "WITH a(clocks) AS (SELECT 1) SELECT clocks FROM a", &[]).unwrap();
    assert_eq!(json!(own.rows), json!([[1]]));
}

/// SQLite's functions change with its version: each must be looked at once.
#[test]
fn every_function_of_sqlite_is_known_to_compute_only() {
    let found = crate::store::probe::functions();
    let known: Vec<&str> = include_str!("query_functions.txt").split_whitespace().collect();
    let new: Vec<_> = found.iter().filter(|name| !known.contains(&name.as_str())).collect();
    assert!(new.is_empty(), "look at these, refuse those with effects in gate.rs, then list them: {new:?}");
}

/// The same for tables that SQLite makes as they are named: those that read nothing but what they are given, or that are refused.
#[test]
fn every_table_of_sqlites_own_is_known() {
    for module in crate::store::probe::modules() {
        let sql = format!("SELECT count(*) FROM \"{module}\"");
        let outcome = run(&mut device(), &sql, &[]);
        let harmless = ["json_each", "json_tree", "jsonb_each", "jsonb_tree"].contains(&module.as_str());
        // A module that has no table of its own is none: SQLite finds nothing of its name.
        let refused = outcome.is_err_and(|error| ["query_refused", "invalid_input"].contains(&error.code()));
        assert!(harmless || refused, "{module}");
    }
}
