//! A server of mirrored tables, as `docs/PROTOCOL.md` describes it. It keeps what every mutation said, and works rows out of that:
//! nothing here is merged step by step, as the engine and the SQL do it.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use marea_core::{
    Cursor, Failure, Hlc, MutationId, MutationResult, ResultStatus, SyncAnswer, SyncRequest, Timestamp,
    UnixMillis, UserId, WireMutation, WireRow,
};
use serde_json::{Map, Value, json};

use super::catalogue::{Described, hundredths};
use super::sessions::{self, Folded};

/// A table and a key.
pub(super) type Place = (String, String);

/// A clock and a client.
pub(super) type Stamp = (String, String);

/// What one mutation said.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) stamp: Stamp,
    pub(super) op: String,
    pub(super) values: Map<String, Value>,
}

impl Said {
    /// A device has inserted the row on behalf of the one that made it.
    pub(super) fn heals(&self) -> bool {
        self.op == "insert" && self.stamp.0 == Hlc::ZERO.to_string()
    }
}

/// What the server took to one row, in the order in which it took it.
pub(super) type Taken = Vec<(MutationId, Rc<Said>)>;

/// One row worked out: its columns, and their clocks.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Row {
    pub(super) values: Map<String, Value>,
    pub(super) clocks: BTreeMap<String, Stamp>,
}

#[derive(Clone, Default)]
struct Books {
    taken: BTreeMap<Place, Taken>,
    versions: BTreeMap<Place, i64>,
    version: i64,
    /// The rows of progress, as they were when they last changed.
    folded: BTreeMap<Place, Value>,
}

pub(super) struct Server {
    pub(super) described: Described,
    books: Books,
    epoch: u32,
    saved: Vec<Books>,
    pub(super) page_rows: usize,
    pub(super) packs: bool,
    /// Mutations that are refused.
    pub(super) poison: BTreeSet<MutationId>,
    /// What was ever taken, in any history.
    pub(super) ever: BTreeMap<Place, Taken>,
    user: UserId,
}

impl Server {
    pub(super) fn new(described: Described, user: UserId) -> Server {
        Server {
            described,
            books: Books::default(),
            epoch: 1,
            saved: vec![Books::default()],
            page_rows: 1_000,
            packs: true,
            poison: BTreeSet::new(),
            ever: BTreeMap::new(),
            user,
        }
    }

    pub(super) fn save(&mut self) {
        self.saved.push(self.books.clone());
    }

    pub(super) fn set_back(&mut self, choice: usize) {
        self.books = self.saved[choice % self.saved.len()].clone();
        self.epoch += 1;
    }

    /// The tables have changed: rows of them get new versions.
    pub(super) fn touch_all(&mut self) {
        let places: Vec<Place> =
            self.books.taken.keys().filter(|place| place.0 != sessions::TABLE).cloned().collect();
        for place in places {
            self.books.touch(place);
        }
    }

    pub(super) fn was_set_back(&self) -> bool {
        self.epoch > 1
    }

    pub(super) fn version(&self) -> i64 {
        self.books.version
    }

    /// What of each row is known.
    pub(super) fn known(&self) -> BTreeMap<Place, Taken> {
        self.books.taken.clone()
    }

    /// What all sessions come to.
    pub(super) fn folded(&self) -> Folded {
        let taken = self.books.taken.iter().filter(|(place, _)| place.0 == sessions::TABLE);
        let rows: Vec<Row> = taken.filter_map(|(place, taken)| sessions::row_of(&place.1, taken)).collect();
        sessions::fold(self.user, rows.iter().map(|row| &row.values))
    }

    /// The keys of the sessions that there are.
    pub(super) fn sessions(&self) -> BTreeSet<String> {
        let taken = self.books.taken.iter().filter(|(place, _)| place.0 == sessions::TABLE);
        let there = taken.filter(|(place, taken)| sessions::row_of(&place.1, taken).is_some());
        there.map(|(place, _)| place.1.clone()).collect()
    }

    /// Gives versions to the rows of progress that are others now.
    fn fold(&mut self) {
        let rows = self.folded().rows(self.user);
        let before = std::mem::replace(&mut self.books.folded, rows);
        let places: BTreeSet<Place> = before.keys().chain(self.books.folded.keys()).cloned().collect();
        for place in places {
            if before.get(&place) != self.books.folded.get(&place) {
                self.books.touch(place);
            }
        }
    }

    /// Sessions come to be mirrored: each gets a version.
    pub(super) fn mirror_sessions(&mut self) {
        let places = self.books.taken.keys().filter(|place| place.0 == sessions::TABLE);
        for place in places.cloned().collect::<Vec<_>>() {
            self.books.touch(place);
        }
    }

    pub(super) fn rows(&self) -> BTreeMap<Place, Row> {
        let rows = self.books.taken.iter().map(|(place, taken)| (place.clone(), self.row(place, taken)));
        rows.filter_map(|(place, row)| Some((place, row?))).collect()
    }

    fn row(&self, place: &Place, taken: &Taken) -> Option<Row> {
        if place.0 == sessions::TABLE {
            return sessions::row_of(&place.1, taken).filter(|_| self.described.sessions);
        }
        row_of(&self.described, place, taken)
    }

    pub(super) fn answer(&mut self, request: &SyncRequest, now_ms: i64) -> Result<SyncAnswer, Failure> {
        let client = request.client_id.to_string();
        let mut results = Vec::new();
        let mut rest = request.mutations.as_slice();
        while let Some(first) = rest.first() {
            let together =
                rest.iter().take_while(|other| first.batch.is_some() && other.batch == first.batch);
            let (unit, others) = rest.split_at(together.count().max(1));
            rest = others;
            let before = (self.books.clone(), self.ever.clone());
            let outcomes: Vec<_> =
                unit.iter().map(|mutation| (mutation, self.take(&client, mutation))).collect();
            let fails = outcomes.iter().any(|(_, outcome)| outcome.is_err());
            if fails && first.batch.is_some() {
                (self.books, self.ever) = before;
            }
            for (mutation, outcome) in outcomes {
                let outcome = outcome.and_then(|status| {
                    if fails {
                        Err(("MB001", "batch: another mutation of it was refused"))
                    } else {
                        Ok(status)
                    }
                });
                results.push(match outcome {
                    Ok(status) => MutationResult { id: mutation.id, status, code: None, message: None },
                    Err((code, message)) => MutationResult {
                        id: mutation.id,
                        status: ResultStatus::Rejected,
                        code: Some(code.to_owned()),
                        message: Some(message.to_owned()),
                    },
                });
            }
        }
        self.fold();
        Ok(self.page(request, results, now_ms))
    }

    fn take(
        &mut self,
        client: &str,
        mutation: &WireMutation,
    ) -> Result<ResultStatus, (&'static str, &'static str)> {
        if self.poison.contains(&mutation.id) {
            return Err(("23514", "refused"));
        }
        let values: Map<String, Value> = serde_json::from_str(mutation.values.get()).expect("JSON");
        if mutation.table == sessions::TABLE {
            if mutation.op != "insert" && !self.described.sessions {
                return Err(("22023", "table, op: no device may do this"));
            }
        } else {
            let table = self.described.table(&mutation.table).ok_or(("22023", "table: not mirrored"))?;
            if values.keys().any(|name| table.column(name).is_none()) {
                return Err(("22023", "values: unknown column"));
            }
        }
        let place = (mutation.table.clone(), mutation.key.clone());
        let taken = self.books.taken.entry(place.clone()).or_default();
        if taken.is_empty() && matches!(&*mutation.op, "merge" | "add") {
            self.books.taken.remove(&place);
            return Err(("22023", "key: no such row"));
        }
        let is_session = mutation.table == sessions::TABLE;
        let is_never = is_session && mutation.op == "delete" && taken.is_empty();
        if is_never {
            // A row that never was leaves no tombstone.
            self.books.taken.remove(&place);
            return Ok(ResultStatus::Applied);
        }
        let again = taken.iter().any(|(id, said)| *id == mutation.id && said.op == mutation.op);
        if again || (is_session && mutation.op == "insert" && !taken.is_empty()) {
            return Ok(ResultStatus::Duplicate);
        }
        let stamp = (mutation.hlc.to_string(), client.to_owned());
        let said = Rc::new(Said { stamp, op: mutation.op.clone(), values });
        taken.push((mutation.id, Rc::clone(&said)));
        let ever = self.ever.entry(place.clone()).or_default();
        if !ever.iter().any(|(id, _)| *id == mutation.id) {
            ever.push((mutation.id, said));
        }
        self.books.touch(place);
        Ok(ResultStatus::Applied)
    }

    fn page(&self, request: &SyncRequest, results: Vec<MutationResult>, now_ms: i64) -> SyncAnswer {
        let epoch = self.epoch.to_string();
        let asked = request.cursor.as_ref();
        let current = asked.filter(|cursor| cursor.epoch == epoch && cursor.version <= self.books.version);
        let since = current.map_or(0, |cursor| cursor.version);
        let mut lines: Vec<_> = self.books.versions.iter().filter(|(_, version)| **version > since).collect();
        lines.sort_by_key(|(_, version)| **version);
        let has_more = lines.len() > self.page_rows;
        lines.truncate(self.page_rows);
        let end = lines.last().filter(|_| has_more).map_or(self.books.version, |(_, version)| **version);
        let differs =
            request.catalogue.as_ref().is_some_and(|hash| *hash != self.described.catalogue().hash());
        let mut answer = SyncAnswer {
            protocol: 1,
            server_time: Timestamp::from_millis(UnixMillis(now_ms)),
            reset: asked.is_some() && current.is_none(),
            results,
            rows: BTreeMap::new(),
            packed: BTreeMap::new(),
            deleted: BTreeMap::new(),
            cursor: Cursor { version: end, epoch },
            has_more,
            user_missing: false,
            wakeups: false,
            catalogue: differs.then(|| serde_json::from_str(&self.described.json()).expect("JSON")),
        };
        let mut packed: BTreeMap<&str, Vec<Row>> = BTreeMap::new();
        for (place, version) in lines {
            if let Some(values) = self.books.folded.get(place) {
                let row = WireRow {
                    values: serde_json::from_str(&values.to_string()).expect("JSON"),
                    hlc: json!({}),
                    version: *version,
                };
                answer.rows.entry(place.0.clone()).or_default().push(row);
                continue;
            }
            if !self.books.taken.contains_key(place) {
                if since > 0 {
                    answer.deleted.entry(place.0.clone()).or_default().push(place.1.clone());
                }
                continue;
            }
            if place.0 == sessions::TABLE && !self.described.sessions {
                continue;
            }
            match self.row(place, &self.books.taken[place]) {
                // Who has nothing yet learns of no deletion.
                None if since == 0 => {}
                None => answer.deleted.entry(place.0.clone()).or_default().push(place.1.clone()),
                Some(row) if self.packs => packed.entry(&place.0).or_default().push(row),
                Some(row) => answer.rows.entry(place.0.clone()).or_default().push(WireRow {
                    values: serde_json::from_str(&Value::from(row.values).to_string()).expect("JSON"),
                    hlc: json!(row.clocks),
                    version: *version,
                }),
            }
        }
        for (table, rows) in packed {
            let names: BTreeSet<&String> = rows.iter().flat_map(|row| row.values.keys()).collect();
            let mut columns = Map::new();
            for name in names {
                columns.insert(name.clone(), rows.iter().map(|row| row.values.get(name).cloned()).collect());
            }
            columns.insert("clocks".to_owned(), rows.iter().map(|row| json!(row.clocks)).collect());
            answer.packed.insert(table.to_owned(), Value::from(columns).to_string());
        }
        answer
    }
}

impl Books {
    fn touch(&mut self, place: Place) {
        self.version += 1;
        self.versions.insert(place, self.version);
    }
}

/// What the mutations of a row come to; `None` while it is deleted.
pub(super) fn row_of(described: &Described, place: &Place, taken: &Taken) -> Option<Row> {
    let table = described.table(&place.0)?;
    // Where the row that there is was begun; a deletion takes it away whatever its clock, an insert behind it by the clock brings
    // another one.
    let (mut begin, mut deleted) = (None, None);
    for (index, (_, said)) in taken.iter().enumerate() {
        match said.op.as_str() {
            "delete" => (begin, deleted) = (None, deleted.max(Some(&said.stamp))),
            "insert" if begin.is_none() && deleted.is_none_or(|deleted| said.stamp > *deleted) => {
                begin = Some(index);
            }
            _ => {}
        }
    }
    let begin = begin?;
    let mut row = Row::default();
    row.values.insert("k".to_owned(), place.1.clone().into());
    for column in &table.columns {
        let of_column =
            taken[begin..].iter().filter_map(|(_, said)| Some((said, said.values.get(&column.name)?)));
        let initial = taken[begin].1.values.get(&column.name);
        let value = match column.rule {
            "register" => {
                let last =
                    of_column.filter(|(said, _)| said.op != "add").max_by_key(|(said, _)| said.stamp.clone());
                last.map(|(said, value)| {
                    row.clocks.insert(column.name.clone(), said.stamp.clone());
                    // By the type that the column has by now.
                    if column.kind == "bigint" { counter("bigint", hundredths(value)) } else { value.clone() }
                })
            }
            "union" => {
                let mut union: Option<Map<String, Value>> = None;
                for (key, value) in of_column.flat_map(|(_, value)| value.as_object().into_iter().flatten()) {
                    let union = union.get_or_insert_default();
                    if union.get(key).is_none_or(|known| value.as_str() < known.as_str()) {
                        union.insert(key.clone(), value.clone());
                    }
                }
                union.map(Value::from)
            }
            "counter" => {
                let added: i64 =
                    of_column.filter(|(said, _)| said.op == "add").map(|(_, value)| hundredths(value)).sum();
                Some(counter(column.kind, added + initial.map_or(0, hundredths)))
            }
            "once" => initial.cloned(),
            _ => Some(format!("{} of {}", column.name, place.1).into()),
        };
        row.values.insert(column.name.clone(), value.unwrap_or_default());
    }
    Some(row)
}

fn counter(kind: &str, hundredths: i64) -> Value {
    match kind {
        "integer" => (hundredths / 100).into(),
        "bigint" => (hundredths / 100).to_string().into(),
        _ => {
            let sign = if hundredths < 0 { "-" } else { "" };
            let (whole, rest) = (hundredths.abs() / 100, hundredths.abs() % 100);
            if hundredths == 0 { "0".into() } else { format!("{sign}{whole}.{rest:02}").into() }
        }
    }
}
