//! A model of the server: what `marea_sync` promises, in memory. Rows are numbered as they change, pushed mutations are
//! idempotent by nature, and a page never holds more than it may.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use marea_core::{
    Cursor, Fact, Failure, Fold, MutationId, MutationResult, ResultStatus, SyncAnswer, SyncRequest,
    Timestamp, UnixMillis, UserId, WireMutation,
};
use serde_json::{Map, Value};

use super::beside::Beside;
use super::facts::fact_of;
use super::oracle::last_day;
use super::packed::pack;
use super::page::page;
use super::plan::Plan;
use super::refusals;
use super::registers::{Row, Stamp, Write, is_once, pulled_back};

/// Which facts an answer's rows are made of: what no real server says, and what makes the devices' sums checkable.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) facts: BTreeSet<MutationId>,
    pub(super) gone: BTreeSet<MutationId>,
}

/// Everything of one user.
#[derive(Clone)]
pub(super) struct Books {
    pub(super) facts: BTreeMap<MutationId, Rc<Fact>>,
    pub(super) gone: BTreeSet<MutationId>,
    pub(super) rows: BTreeMap<(String, String), Row>,
    /// What the export worker wrote.
    pub(super) own_writes: Vec<Write>,
    pub(super) fold: Fold,
    /// A job has written something into the progress row that no device can read.
    pub(super) is_odd: bool,
    pub(super) lines: BTreeMap<(String, String), Line>,
    version: i64,
}

#[derive(Clone, Copy)]
pub(super) struct Line {
    pub(super) version: i64,
    pub(super) deleted: bool,
}

/// The server, with its earlier states.
pub(super) struct Server {
    pub(super) beside: Option<Box<dyn Beside>>,
    /// Which of the model's cursors stands for which of the real server's.
    cursors: BTreeMap<(UserId, String, i64), Cursor>,
    pub(super) books: BTreeMap<UserId, Books>,
    epoch: u32,
    saved: Vec<(i64, BTreeMap<UserId, Books>)>,
    /// Rows of one page at most.
    pub(super) page_rows: usize,
    /// Mutations that some proxy in front lets through at most.
    pub(super) most_mutations: usize,
    /// Mutations that it gets done before it gives up, and rows of which it can make an answer.
    pub(super) slow_mutations: usize,
    line_bytes: usize,
    pub(super) answer_rows: u32,
    /// Mutations that are refused.
    pub(super) poison: BTreeSet<MutationId>,
    /// Mutations that make a request too large.
    pub(super) huge: BTreeSet<MutationId>,
    /// What was one of both.
    pub(super) mended: BTreeSet<MutationId>,
    /// Exports that were deleted in any of its histories.
    pub(super) deleted: BTreeSet<String>,
}

impl Books {
    fn new(user: UserId) -> Books {
        let mut books = Books {
            facts: BTreeMap::new(),
            gone: BTreeSet::new(),
            rows: BTreeMap::new(),
            own_writes: Vec::new(),
            fold: Fold::empty(user),
            is_odd: false,
            lines: BTreeMap::new(),
            version: 0,
        };
        books.touch("user_progress", &user.to_string(), false);
        books
    }

    pub(super) fn touch(&mut self, table: &str, key: &str, deleted: bool) {
        self.version += 1;
        self.lines.insert((table.to_owned(), key.to_owned()), Line { version: self.version, deleted });
    }

    pub(super) fn is_tombstone(&self, table: &str, key: &str) -> bool {
        self.lines.get(&(table.to_owned(), key.to_owned())).is_some_and(|line| line.deleted)
    }

    pub(super) fn known(&self) -> Rc<Known> {
        Rc::new(Known { facts: self.facts.keys().copied().collect(), gone: self.gone.clone() })
    }
}

impl Server {
    pub(super) fn new(users: &[UserId], plan: &Plan) -> Server {
        let books: BTreeMap<_, _> = users.iter().map(|user| (*user, Books::new(*user))).collect();
        Server {
            beside: None,
            cursors: BTreeMap::new(),
            saved: vec![(i64::MIN, books.clone())],
            books,
            epoch: 0,
            page_rows: plan.page_rows,
            most_mutations: plan.most_mutations,
            slow_mutations: plan.slow_mutations,
            line_bytes: plan.line_bytes,
            answer_rows: plan.answer_rows,
            poison: BTreeSet::new(),
            mended: BTreeSet::new(),
            huge: BTreeSet::new(),
            deleted: BTreeSet::new(),
        }
    }

    /// Takes from now on what it has refused.
    pub(super) fn mend(&mut self, id: MutationId) {
        if self.poison.remove(&id) | self.huge.remove(&id) {
            self.mended.insert(id);
        }
    }

    /// Keeps the present state for a later [`Server::set_back`].
    pub(super) fn save(&mut self, now_ms: i64) {
        self.saved.push((now_ms, self.books.clone()));
    }

    /// Goes back to an earlier state, not older than `oldest_ms`, and begins another history. `usize::MAX` chooses the newest.
    pub(super) fn set_back(&mut self, choice: usize, oldest_ms: i64) -> bool {
        let young: Vec<_> = self.saved.iter().filter(|(at, _)| *at >= oldest_ms).collect();
        let choice =
            if choice == usize::MAX { young.len().saturating_sub(1) } else { choice % young.len().max(1) };
        let Some((_, books)) = young.get(choice) else { return false };
        let books = books.clone();
        self.books = books;
        self.epoch += 1;
        true
    }

    /// Whether it has lost some of its past.
    pub(super) fn was_set_back(&self) -> bool {
        self.epoch > 0
    }

    /// Answers a request as its user.
    pub(super) fn answer(
        &mut self,
        user: UserId,
        request: &SyncRequest,
        now_ms: i64,
    ) -> Result<(SyncAnswer, Rc<Known>), Failure> {
        let huge = request.mutations.iter().any(|mutation| self.huge.contains(&mutation.id));
        let mutations = request.mutations.len();
        if mutations > self.most_mutations {
            return Err(Failure::ProxyTooLarge);
        } else if huge {
            return Err(Failure::TooLarge);
        } else if mutations > self.slow_mutations {
            return Err(Failure::ServerTimeout);
        } else if mutations > 1 && self.is_too_slow_for(request) {
            return Err(Failure::Timeout);
        } else if request.limit > self.answer_rows {
            return Err(Failure::AnswerTooLarge);
        }
        if self.beside.is_some() {
            return self.answer_beside(user, request, now_ms);
        }
        self.answer_alone(user, request, now_ms)
    }

    /// Whether the line to it is: nothing has come when the device stops waiting.
    fn is_too_slow_for(&self, request: &SyncRequest) -> bool {
        self.line_bytes < usize::MAX
            && serde_json::to_string(&request.mutations).is_ok_and(|text| text.len() > self.line_bytes)
    }

    /// Lets the real server answer, and takes the request like it.
    fn answer_beside(
        &mut self,
        user: UserId,
        request: &SyncRequest,
        now_ms: i64,
    ) -> Result<(SyncAnswer, Rc<Known>), Failure> {
        // Whole pages: which row of one transaction comes first is not promised, so a page that is cut off may hold others.
        let request = &SyncRequest { limit: self.answer_rows, limit_bytes: None, ..request.clone() };
        let of_model = |cursor: &Cursor| self.cursors[&(user, cursor.epoch.clone(), cursor.version)].clone();
        let cursor = request.cursor.as_ref().map(of_model);
        let (model, known) = self.answer_alone(user, &SyncRequest { cursor, ..request.clone() }, now_ms)?;
        let Some(beside) = &mut self.beside else { return Ok((model, known)) };
        let real = beside.answer(user, request, &model)?;
        self.cursors.insert((user, real.cursor.epoch.clone(), real.cursor.version), model.cursor);
        Ok((real, known))
    }

    /// What comes back for a token that has expired.
    pub(super) fn refuse(&mut self, user: UserId, request: &SyncRequest, code: &str) -> Failure {
        match &mut self.beside {
            Some(beside) => beside.refuse(user, request),
            None => Failure::Unauthorized { code: code.to_owned() },
        }
    }

    fn answer_alone(
        &mut self,
        user: UserId,
        request: &SyncRequest,
        now_ms: i64,
    ) -> Result<(SyncAnswer, Rc<Known>), Failure> {
        let results = self.push(user, request, now_ms);
        let most = self.page_rows.min(request.limit as usize);
        let epoch = self.epoch.to_string();
        let books = self.books.get(&user).ok_or(Failure::UserMissing)?;
        let asked = request.cursor.as_ref();
        let known = asked.filter(|cursor| cursor.epoch == epoch && cursor.version <= books.version);
        let start = known.map_or(0, |cursor| cursor.version);
        let mut answer = SyncAnswer {
            protocol: 1,
            server_time: Timestamp::from_millis(UnixMillis(now_ms)),
            reset: asked.is_some() && known.is_none(),
            results,
            rows: BTreeMap::new(),
            packed: BTreeMap::new(),
            deleted: BTreeMap::new(),
            cursor: Cursor { version: books.version, epoch },
            has_more: false,
            user_missing: false,
            wakeups: false,
            catalogue: None,
        };
        page(books, user, start, known.is_none(), most, &mut answer);
        if request.packed {
            pack(&mut answer);
        }
        Ok((answer, books.known()))
    }

    fn push(&mut self, user: UserId, request: &SyncRequest, now_ms: i64) -> Vec<MutationResult> {
        let client = request.client_id.to_string();
        let Some(books) = self.books.get_mut(&user) else { return Vec::new() };
        let mut touched = BTreeSet::new();
        let mut results = Vec::new();
        for (place, mutation) in request.mutations.iter().enumerate() {
            let taken = if self.poison.contains(&mutation.id) {
                Err(refusals::REFUSED)
            } else {
                let stamp = (pulled_back(&mutation.hlc.to_string(), now_ms, place), client.clone());
                take(books, user, mutation, &stamp, now_ms, &mut touched)
            };
            results.push(match taken {
                Ok(status) => MutationResult { id: mutation.id, status, code: None, message: None },
                Err(why) => refusals::rejected(mutation.id, why),
            });
        }
        // A real server is a year later than the worlds beside it.
        books.fold.count_days_until(match self.beside {
            None => Timestamp::from_millis(UnixMillis(now_ms)).local_date(0).next(),
            Some(_) => last_day(),
        });
        for (table, key) in touched {
            books.touch(&table, &key, false);
        }
        results
    }
}

type Touched = BTreeSet<(String, String)>;

fn take(
    books: &mut Books,
    user: UserId,
    mutation: &WireMutation,
    stamp: &Stamp,
    now_ms: i64,
    touched: &mut Touched,
) -> Result<ResultStatus, &'static str> {
    let values: Map<String, Value> = serde_json::from_str(mutation.values.get()).map_err(|_| "values")?;
    if let Some(fact) = fact_of(&mutation.table, &values) {
        return Ok(take_fact(books, user, mutation.id, fact, touched));
    }
    take_register(books, user, mutation, &values, stamp, now_ms, touched)
}

fn take_fact(
    books: &mut Books,
    user: UserId,
    id: MutationId,
    fact: Fact,
    touched: &mut Touched,
) -> ResultStatus {
    if books.facts.contains_key(&id) || books.gone.contains(&id) {
        return ResultStatus::Duplicate;
    }
    books.fold.add([&fact]);
    touched.insert(("daily_activity".to_owned(), fact.day.to_string()));
    touched.insert(("user_progress".to_owned(), user.to_string()));
    books.facts.insert(id, Rc::new(fact));
    ResultStatus::Applied
}

fn take_register(
    books: &mut Books,
    user: UserId,
    mutation: &WireMutation,
    values: &Map<String, Value>,
    stamp: &Stamp,
    now_ms: i64,
    touched: &mut Touched,
) -> Result<ResultStatus, &'static str> {
    let place = (mutation.table.clone(), mutation.key.clone());
    let now = Timestamp::from_millis(UnixMillis(now_ms)).to_string();
    match (mutation.table.as_str(), mutation.op.as_str()) {
        ("export_history", "insert") => {
            if values.get("filters").is_some_and(Value::is_null) {
                return Err("null value in column \"filters\"");
            }
            if books.is_tombstone(&place.0, &place.1) || books.rows.contains_key(&place) {
                return Ok(ResultStatus::Duplicate);
            }
            books.rows.insert(place.clone(), Row::new_export(values, stamp, &now));
        }
        (table @ ("export_history" | "user_api_keys"), "merge") => {
            if values.keys().any(|column| is_once(column) || column == "user_id") {
                return Err("is set once and never changes");
            }
            if !books.rows.contains_key(&place) {
                if books.is_tombstone(table, &place.1) {
                    return Ok(ResultStatus::Applied);
                }
                if table == "export_history" {
                    return Err("key: no such row");
                }
                books.rows.insert(place.clone(), Row::new_keys(&user.to_string(), &now));
            }
            let row = books.rows.get_mut(&place).ok_or("no row")?;
            let repeats = values.keys().any(|column| row.stamps.get(column) == Some(stamp));
            if !row.merge(values, stamp) {
                return Ok(if repeats { ResultStatus::Duplicate } else { ResultStatus::Applied });
            }
        }
        _ => return Err("table, op: no device may do this"),
    }
    touched.insert(place);
    Ok(ResultStatus::Applied)
}
