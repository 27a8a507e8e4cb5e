//! What an app kept before Marea comes in once: again, on another device, beside new work, and with items that are wrong.

use super::tables::{catalogue, delete, device, update};
use super::*;
use crate::model::{ImportItem, Imported};

const OLD: &str = r#"[
  { "session": { "session_type": "qa", "ended_at": "2024-05-01T22:30:00-05:00", "duration_minutes": 10 } },
  { "session": { "session_type": "qa", "local_date": "2024-05-02", "duration_minutes": 5 } },
  { "session": { "session_type": "qa", "local_date": "2024-05-02", "duration_minutes": 5 } },
  { "key": "old-7", "session": { "session_type": "image", "started_at": "2024-05-03T10:00:00Z" } },
  { "event": { "occurred_at": "2024-05-04T10:00:00Z", "points": 30, "achievements": ["first"] } } ]"#;

fn import(engine: &mut Engine, name: &str, items: &str) -> Imported {
    engine.import_once(name, ImportItem::list(items).unwrap(), at(100)).unwrap()
}

fn ids(engine: &Engine) -> Vec<MutationId> {
    engine.pending().unwrap().into_iter().map(|mutation| mutation.id).collect()
}

#[test]
fn what_was_there_before_comes_in_with_its_times_and_only_once() {
    let mut engine = engine();
    record(&mut engine, 1);
    let outcome = import(&mut engine, "history", OLD);
    assert_eq!((outcome.imported, outcome.known, outcome.refused.len()), (5, 0, 0));
    let progress = engine.progress(at(0)).unwrap();
    assert_eq!(
        (progress.total_sessions, progress.total_time_spent_minutes, progress.total_points),
        (5, 21, 30)
    );
    assert_eq!(progress.longest_streak_days, 4, "the days are those of then");
    assert_eq!(progress.achievements["first"].to_string(), "2024-05-04T10:00:00.000000Z");
    let first = &engine.pending().unwrap()[1];
    assert_eq!(first.values["ended_at"], "2024-05-02T03:30:00.000000Z");
    assert_eq!(first.values["session_data"]["local_date"], "2024-05-01");

    let again = import(&mut engine, "history", OLD);
    assert_eq!((again.imported, again.known), (0, 5));
    assert_eq!(ids(&engine).len(), 6);
    // A name that is done does nothing, whatever comes with it; another name is another import.
    let more = r#"[{ "session": { "session_type": "qa", "local_date": "2024-06-01" } }]"#;
    assert_eq!(import(&mut engine, "history", more).imported, 0);
    assert_eq!(import(&mut engine, "more", more).imported, 1);
}

#[test]
fn ids_are_made_of_the_user_the_name_and_the_item_on_every_device() {
    let (mut one, mut other) = (engine(), engine());
    import(&mut one, "history", OLD);
    let reversed: Vec<serde_json::Value> = serde_json::from_str(OLD).unwrap();
    let reversed = serde_json::to_string(&reversed.into_iter().rev().collect::<Vec<_>>()).unwrap();
    import(&mut other, "history", &reversed);
    let (mut mine, mut theirs) = (ids(&one), ids(&other));
    mine.sort_unstable();
    theirs.sort_unstable();
    assert_eq!(mine, theirs);
    assert!(mine.iter().all(|id| id.as_uuid().get_version_num() == 5));
    mine.dedup();
    assert_eq!(mine.len(), 5, "two that say the same are two");
    // Whoever wants to know an id beforehand can make it: these are frozen.
    assert!(mine.iter().any(|id| id.to_string() == "c9d5847f-ea14-5a26-b665-e22e963f419e"), "{mine:?}");

    // The same server takes what the second device brings for what the first one brought.
    let mut server = Server::default();
    for engine in [&mut one, &mut other] {
        let outgoing = send(engine);
        let answer = server.take(&outgoing.request);
        engine.apply_response(outgoing.ticket, Ok(answer), at(0)).unwrap();
    }
    assert_eq!(server.sessions.len(), 4);
    assert_eq!(totals(&other).0, 4);
}

#[test]
fn what_is_wrong_is_named_and_keeps_nothing_else_out_until_it_is_right() {
    let mut engine = engine();
    let items = |third: &str| {
        format!(
            r#"[{{ "session": {{ "session_type": "qa", "local_date": "2024-05-02" }} }},
                {{ "session": {{ "session_type": "qa" }} }},
                {third},
                {{ "event": {{ "local_date": "2024-05-02", "points": 5 }} }}]"#
        )
    };
    let wrong = items(r#"{ "session": { "session_type": "qa", "minutes": "a secret" } }"#);
    let outcome = import(&mut engine, "history", &wrong);
    assert_eq!(outcome.imported, 2);
    let said: Vec<_> = outcome.refused.iter().map(|item| (item.index, item.message.as_str())).collect();
    assert_eq!(said[0].0, 1);
    assert!(said[0].1.starts_with("ended_at: is missing"), "{said:?}");
    assert!(said[1].0 == 2 && said[1].1.contains("unknown field `minutes`") && !said[1].1.contains("secret"));

    let right = items(r#"{ "session": { "session_type": "qa", "ended_at": "2024-05-02T10:00:00Z" } }"#);
    let right = right
        .replace(r#"{ "session_type": "qa" }"#, r#"{ "session_type": "b", "local_date": "2024-05-01" }"#);
    let outcome = import(&mut engine, "history", &right);
    assert_eq!((outcome.imported, outcome.known, outcome.refused.len()), (2, 2, 0));
    assert_eq!(totals(&engine).0, 3);
}

#[test]
fn two_items_with_one_name_are_two_only_by_names_of_their_own() {
    let (session, award) = (
        r#""session": { "session_type": "qa", "local_date": "2024-05-02", "duration_minutes": 5 }"#,
        r#""event": { "local_date": "2024-05-02", "points": 5 }"#,
    );
    let id = r#""id": "00000000-0000-4000-8000-0000000000aa", "#;
    let of_id = |item: &str| item.replacen("{ ", &format!("{{ {id}"), 1);
    let longer = session.replace(r#""duration_minutes": 5"#, r#""duration_minutes": 50"#);
    let row = |level: &str| {
        format!(
            r#""table": "words", "key": "00000000-0000-4000-8000-0000000000bb", "values": {{ "word": "sea", "level": "{level}" }}"#
        )
    };
    let keyed = |item: &str| format!(r#""key": "1", {item}"#);
    for (first, second, said) in [
        (keyed(session), keyed(award), "key: belongs to a session already; give an award one of its own"),
        (keyed(award), keyed(session), "key: belongs to an award already; give a session one of its own"),
        (of_id(session), of_id(award), "id: belongs to a session already; give an award one of its own"),
        (
            keyed(session),
            keyed(&longer),
            "key: belongs to a session with another duration_minutes already; the same one again is for the same values",
        ),
        (
            row("a1"),
            row("a2"),
            "key: belongs to a new row with another level already; the same one again is for the same values",
        ),
    ] {
        let mut engine = device();
        // In one list, then in a call of its own.
        for items in [format!("[{{ {first} }}, {{ {second} }}]"), format!("[{{ {second} }}]")] {
            let outcome = import(&mut engine, "history", &items);
            let said_of: Vec<_> = outcome.refused.iter().map(|item| item.message.as_str()).collect();
            assert_eq!(said_of, [said], "{items}");
        }
        assert_eq!(ids(&engine).len(), 1, "{first}");
        // Put right, the rest comes in, and what had come in is known.
        let other = second
            .replace(r#""key": "1""#, r#""key": "2""#)
            .replace("0000aa", "0000cc")
            .replace("0000bb", "0000cc");
        let outcome =
            import(&mut engine, "history", &format!("[{{ {first} }}, {{ {other} }}, {{ {first} }}]"));
        assert_eq!((outcome.imported, outcome.known, outcome.refused.len()), (1, 2, 0), "{other}");
        assert_eq!(ids(&engine).len(), 2);
    }

    // What the app has recorded itself has its id, too.
    let mut engine = engine();
    let input = SessionInput { id: Some(MutationId::from(Uuid::from_u128(0xaa))), ..SessionInput::new("qa") };
    engine.mutate(input.into(), at(0)).unwrap();
    let award = r#"[{ "event": { "id": "00000000-0000-0000-0000-0000000000aa", "local_date": "2024-05-02", "points": 5 } }]"#;
    let outcome = import(&mut engine, "history", award);
    assert_eq!((outcome.known, outcome.refused.len()), (0, 1), "{outcome:?}");
}

#[test]
fn names_and_lists_that_cannot_be_are_refused() {
    let mut engine = engine();
    for name in ["", "a\0b", &"x".repeat(101)] {
        assert_eq!(engine.import_once(name, Vec::new(), at(0)).unwrap_err().code(), "invalid_input");
    }
    engine.import_once(&"x".repeat(100), Vec::new(), at(0)).unwrap();
    for items in ["{}", "nonsense", "null"] {
        assert_eq!(ImportItem::list(items).unwrap_err().code(), "invalid_input", "{items}");
    }
    for item in [
        "1",
        "{}",
        r#"{"key":"a"}"#,
        r#"{"session":{"session_type":"a"},"event":{}}"#,
        r#"{"table":"words"}"#,
    ] {
        assert!(ImportItem::list(&format!("[{item}]")).unwrap()[0].is_err(), "{item}");
    }
}

#[test]
fn rows_come_in_behind_everything_that_was_written_to_them_since() {
    let key = "00000000-0000-4000-8000-0000000000aa";
    let rows = format!(
        r#"[{{ "table": "words", "key": "{key}", "values": {{ "word": "old", "level": "a1" }} }},
            {{ "table": "tags", "key": "blue", "values": {{ "color": "blue" }} }},
            {{ "table": "tags", "values": {{ "color": "green" }} }},
            {{ "table": "nowhere", "key": "a", "values": {{}} }}]"#
    );
    let mut server = table_server::TableServer::new(tables::WORDS);
    let (mut one, mut other) = (device(), device());
    let outcome = import(&mut one, "words", &rows);
    assert_eq!(outcome.imported, 2);
    let said: Vec<_> = outcome.refused.iter().map(|item| item.message.as_str()).collect();
    assert!(said[0].starts_with("key: is missing") && said[1].contains("nowhere"), "{said:?}");
    update(&mut one, key, json!({ "word": "new" }), 1).unwrap();
    tables::sync(&mut one, &mut server);
    import(&mut other, "words", &rows);
    tables::sync(&mut other, &mut server);
    let word = |engine: &Engine| {
        let row = engine.get_row("words", key).unwrap().map(|row| serde_json::from_str(&row).unwrap());
        row.map(|row: serde_json::Value| (row["word"].clone(), row["level"].clone()))
    };
    assert_eq!(word(&other), Some((json!("new"), json!("a1"))), "the import is older than the change");

    delete(&mut other, key, 2);
    tables::sync(&mut other, &mut server);
    let mut third = device();
    import(&mut third, "words", &rows);
    tables::sync(&mut third, &mut server);
    assert_eq!(word(&third), None, "and older than the deletion");
    assert_eq!(catalogue().hash(), third.catalogue().unwrap().hash());
    // What is written afterwards is later than what was written before.
    let clock = |engine: &Engine| engine.store.read().clock().unwrap();
    let before = clock(&one);
    import(&mut one, "again", r#"[{ "table": "tags", "key": "red", "values": {} }]"#);
    assert!(clock(&one) >= before);
}
