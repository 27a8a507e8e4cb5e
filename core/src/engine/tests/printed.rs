//! What `Debug` shows of things that hold what is the user's: enough to tell them apart, and nothing of that.

use super::*;
use crate::store::{QueryLimits, QueryResult};
use crate::vault::{FileHash, VaultRequest};

#[test]
fn what_is_printed_says_what_it_is_and_none_of_the_users_data() {
    let mut engine = engine();
    let client_id = format!("{:?}", engine.client_id);
    let result = QueryResult {
        columns: vec!["word".to_owned()],
        rows: vec![vec![json!("a secret")]],
        tables: vec!["daily_activity".to_owned()],
    };
    let mut limits = QueryLimits { rows: 7, bytes: 8, steps: 9, ..QueryLimits::default() };
    limits.expired = Some(Box::new(|| false));
    let mut hash = FileHash::new();
    hash.update(b"a secret");
    let work = engine.begin_vault_work(VaultRequest::SetUp, at(0)).unwrap();
    for (printed, expected) in [
        (format!("{engine:?}"), format!("Engine {{ client_id: {client_id}, .. }}")),
        (format!("{limits:?}"), "QueryLimits { rows: 7, bytes: 8, steps: 9, .. }".to_owned()),
        (
            format!("{result:?}"),
            r#"QueryResult { columns: ["word"], rows: 1, tables: ["daily_activity"] }"#.to_owned(),
        ),
        (format!("{hash:?}"), "FileHash { .. }".to_owned()),
        (format!("{work:?}"), "VaultWork { request: SetUp, .. }".to_owned()),
    ] {
        assert_eq!(printed, expected);
    }
}
