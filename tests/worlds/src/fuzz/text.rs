//! Texts that come from the wire, the mirror or an app: what parses must print as something that parses to the same.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use marea_core::{Cursor, Hlc, KeyEnvelope, LocalDate, MutationId, Timestamp, UnixMillis, UserId};

pub(super) fn feed(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let parsed = text.parse::<Hlc>();
    if let Ok(clock) = parsed {
        for now in [i64::MIN, -1, 0, 1_795_435_200_000, i64::MAX] {
            let next = clock.tick(UnixMillis(now));
            // A clock that is at its end stays there.
            assert!(next >= clock, "{next} comes after {clock}");
            there_and_back::<Hlc>(&next.to_string());
        }
    }
    there_and_back::<Hlc>(&text);
    there_and_back::<Timestamp>(&text);
    there_and_back::<LocalDate>(&text);
    there_and_back::<MutationId>(&text);
    there_and_back::<UserId>(&text);
    if let Ok(envelope) = text.parse::<KeyEnvelope>() {
        assert!(
            !format!("{envelope:?}").contains(&*text) || text.is_empty(),
            "an envelope prints nothing of itself"
        );
    }
    if let Ok(day) = text.parse::<LocalDate>() {
        let _ = format!("{day:?}");
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        for offset in [-24 * 60, -1, 0, 1, 14 * 60, 24 * 60, i32::MAX, i32::MIN] {
            let _ = time.local_date(offset);
        }
    }
    if let Ok(cursor) = serde_json::from_str::<Cursor>(&text) {
        let again: Cursor =
            serde_json::from_str(&serde_json::to_string(&cursor).expect("JSON")).expect("a cursor");
        assert_eq!(again, cursor);
    }
}

fn there_and_back<T: FromStr + Display + Debug + PartialEq>(text: &str) {
    if let Ok(parsed) = text.parse::<T>() {
        let printed = parsed.to_string();
        let again = printed.parse::<T>().ok();
        assert_eq!(again.as_ref(), Some(&parsed), "{printed}");
    }
}
