//! Whether answers bring the client any further. A server that says "there is more" for ever would be asked without a pause.

use crate::planted::{self, Fault};
use crate::wire::SyncAnswer;

/// Pages without a row that this user may see, one upon the other. Policies of the app may hide some.
const MOST_EMPTY: u32 = 50;

/// What the answers so far were like.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Paging {
    /// Pages in a row that held nothing.
    empty: u32,
    /// Everything is being pulled again, and has not come yet.
    is_anew: bool,
}

impl Paging {
    /// Whether this answer to a request for what came after version `since` is a step forward.
    pub(super) fn moves_on(&mut self, since: Option<i64>, answer: &SyncAnswer) -> bool {
        if !answer.has_more && !answer.reset {
            *self = Paging::default();
            return true;
        }
        let begins_again = answer.reset && self.is_anew;
        self.is_anew |= answer.reset;
        let is_empty = answer.rows.is_empty() && answer.packed.is_empty() && answer.deleted.is_empty();
        self.empty = if is_empty && answer.has_more { self.empty + 1 } else { 0 };
        let is_ahead =
            !answer.has_more || answer.reset || since.is_none_or(|since| answer.cursor.version > since);
        (is_ahead && !begins_again && self.empty <= MOST_EMPTY) || planted::is(Fault::StalledPagesFollowed)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::{Timestamp, UnixMillis};
    use crate::wire::Cursor;

    fn empty(version: i64, has_more: bool, reset: bool) -> SyncAnswer {
        SyncAnswer {
            protocol: 1,
            server_time: Timestamp::from_millis(UnixMillis(0)),
            reset,
            results: Vec::new(),
            rows: BTreeMap::new(),
            packed: BTreeMap::new(),
            deleted: BTreeMap::new(),
            cursor: Cursor { version, epoch: "e".to_owned() },
            has_more,
            user_missing: false,
            wakeups: false,
            catalogue: None,
        }
    }

    fn page(version: i64, has_more: bool, reset: bool) -> SyncAnswer {
        let deleted = BTreeMap::from([("export_history".to_owned(), vec!["1".to_owned()])]);
        SyncAnswer { deleted, ..empty(version, has_more, reset) }
    }

    #[test]
    fn a_cursor_that_stands_or_goes_back_is_no_step_forward() {
        let mut paging = Paging::default();
        assert!(paging.moves_on(None, &page(0, true, false)));
        assert!(paging.moves_on(Some(0), &page(1, true, false)));
        assert!(!paging.moves_on(Some(1), &page(1, true, false)));
        assert!(!paging.moves_on(Some(2), &page(1, true, false)));
        assert!(paging.moves_on(Some(1), &page(1, false, false)), "the end is the end");
    }

    #[test]
    fn empty_pages_are_followed_for_a_while() {
        let mut paging = Paging::default();
        let followed = (1..).take_while(|n| paging.moves_on(Some(n - 1), &empty(*n, true, false))).count();
        assert_eq!(followed, 50);
        assert!(paging.moves_on(Some(98), &page(99, true, false)), "rows are a step");
    }

    #[test]
    fn a_second_new_history_before_the_first_has_come_is_none() {
        let mut paging = Paging::default();
        assert!(paging.moves_on(Some(9), &page(2, true, true)));
        assert!(paging.moves_on(Some(2), &page(3, true, false)));
        assert!(!paging.moves_on(Some(3), &page(1, true, true)));
        assert!(paging.moves_on(Some(1), &page(3, false, false)));
        assert!(paging.moves_on(Some(3), &empty(0, false, true)), "another one, later");
    }
}
