//! Labels of `session_type`: a typing mistake is told when it is made, as soon as the device knows them.

use super::*;
use crate::catalogue::Catalogue;

fn catalogue(hash: &str, labels: &str) -> Catalogue {
    let json = format!(r#"{{ "version": 1, "hash": "{hash}", "tables": []{labels} }}"#);
    Catalogue::parse(&json).unwrap()
}

const QA: &str = r#", "labels": { "sessions.session_type": ["qa", "image"], "later.column": ["x"] }"#;

#[test]
fn a_type_that_is_no_label_is_refused_by_name_once_labels_are_known() {
    let mut engine = engine();
    engine.mutate(SessionInput::new("typo").into(), at(0)).unwrap();
    engine.use_catalogue(Some(&catalogue("01", QA)), at(0)).unwrap();
    let refused = engine.mutate(SessionInput::new("typo").into(), at(0)).unwrap_err();
    assert_eq!(refused.to_string(), "session_type: must be one of qa, image");
    assert_eq!(refused.code(), "invalid_input");
    record(&mut engine, 1);
    assert_eq!(totals(&engine).0, 2, "what was recorded before is the server's to judge");
    // A column of texts has none.
    for none in ["", r#", "labels": {}"#, r#", "labels": { "sessions.session_type": [] }"#] {
        engine.use_catalogue(Some(&catalogue("02", none)), at(0)).unwrap();
        engine.mutate(SessionInput::new("anything").into(), at(0)).unwrap();
        engine.use_catalogue(Some(&catalogue("01", QA)), at(0)).unwrap();
    }
}

#[test]
fn other_labels_are_kept_without_pulling_everything_again() {
    let folder = tempfile::tempdir().unwrap();
    let location = Location::File(folder.path().join("mirror.sqlite3"));
    let (mut engine, mut server) = (open(&location).unwrap(), Server::default());
    record(&mut engine, 1);
    engine.use_catalogue(None, at(0)).unwrap();
    for (hash, labels) in [("01", QA), ("02", r#", "labels": { "sessions.session_type": ["qa"] }"#)] {
        engine.signal(Signal::SyncNow, at(9));
        let outgoing = engine.next_request(at(10)).unwrap().unwrap();
        assert_ne!(outgoing.request.catalogue.as_deref(), Some(hash));
        let document = catalogue(hash, labels);
        let raw = serde_json::value::RawValue::from_string(document.to_json().to_owned()).unwrap();
        let answer = SyncAnswer { catalogue: Some(raw), ..server.take(&outgoing.request) };
        let version = answer.cursor.version;
        engine.apply_response(outgoing.ticket, Ok(answer), at(10)).unwrap();
        let seen = engine.status(at(10)).unwrap().cursor;
        // The first catalogue of all makes no table other than it was.
        assert_eq!(seen, Some(version), "nothing is pulled again");
    }
    engine.close().unwrap();
    let mut engine = open(&location).unwrap();
    assert!(engine.mutate(SessionInput::new("image").into(), at(0)).is_err());
    record(&mut engine, 1);
}
