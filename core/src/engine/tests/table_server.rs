//! A server of tables of the catalogue, as `docs/PROTOCOL.md` describes it: written anew, not with the engine's merge.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Map, Value};

use super::*;
use crate::catalogue::{Catalogue, Column, MirroredTable, Rule, add_decimals};
use crate::model::Stamp;
use crate::wire::WireMutation;

type Place = (String, String);

/// One row, or what is left of it: its columns as JSON texts.
#[derive(Clone, Default)]
struct Line {
    version: i64,
    values: Option<BTreeMap<String, String>>,
    clocks: BTreeMap<String, Stamp>,
    deleted: Option<Stamp>,
}

#[derive(Clone)]
pub(super) struct TableServer {
    json: String,
    lines: BTreeMap<Place, Line>,
    counted: BTreeSet<MutationId>,
    version: i64,
    epoch: u32,
    pub(super) packs: bool,
    /// Rows of one page; 0: all.
    pub(super) page_rows: usize,
    /// A word that its table refuses.
    pub(super) refuses: Option<String>,
}

type Refused = (&'static str, String);

impl TableServer {
    pub(super) fn new(json: &str) -> TableServer {
        TableServer {
            json: json.to_owned(),
            lines: BTreeMap::new(),
            counted: BTreeSet::new(),
            version: 0,
            epoch: 1,
            packs: true,
            page_rows: 0,
            refuses: None,
        }
    }

    pub(super) fn change_catalogue(&mut self, json: &str) {
        json.clone_into(&mut self.json);
    }

    /// This backup, restored.
    pub(super) fn set_back(mut self) -> TableServer {
        self.epoch += 1;
        self
    }

    /// A row that something else has written.
    pub(super) fn put_raw(&mut self, table: &str, key: &str, json: &str) {
        let columns: HashMap<String, Box<serde_json::value::RawValue>> = serde_json::from_str(json).unwrap();
        let values = columns.into_iter().map(|(name, raw)| (name, raw.get().to_owned())).collect();
        self.version += 1;
        let line = Line { version: self.version, values: Some(values), ..Line::default() };
        self.lines.insert((table.to_owned(), key.to_owned()), line);
    }

    pub(super) fn take(&mut self, request: &SyncRequest) -> SyncAnswer {
        let catalogue = Catalogue::parse(&self.json).unwrap();
        let client = request.client_id.to_string();
        let mut results = Vec::new();
        let mut rest = request.mutations.as_slice();
        while let Some(first) = rest.first() {
            let together = if first.batch.is_none() {
                1
            } else {
                rest.iter().take_while(|mutation| mutation.batch == first.batch).count()
            };
            let (unit, others) = rest.split_at(together);
            rest = others;
            let before = self.clone();
            let mut outcomes: Vec<_> =
                unit.iter().map(|mutation| self.take_one(&catalogue, &client, mutation)).collect();
            if outcomes.iter().any(Result::is_err) && first.batch.is_some() {
                *self = before;
                let other =
                    || ("MB001", "batch: refused because another mutation of it was refused".to_owned());
                outcomes =
                    outcomes.into_iter().map(|outcome| outcome.map_or_else(Err, |_| Err(other()))).collect();
            }
            results
                .extend(unit.iter().zip(outcomes).map(|(mutation, outcome)| result_of(mutation.id, outcome)));
        }
        self.answer(request, &catalogue, results)
    }

    fn take_one(
        &mut self,
        catalogue: &Catalogue,
        client: &str,
        mutation: &WireMutation,
    ) -> Result<ResultStatus, Refused> {
        let invalid = |message: &str| ("22023", message.to_owned());
        let described = catalogue.mirrored().iter().find(|table| table.table.name() == mutation.table);
        let described = described.ok_or_else(|| invalid("table: not mirrored"))?;
        let values: Map<String, Value> = serde_json::from_str(mutation.values.get()).unwrap();
        if self.refuses.as_ref().is_some_and(|word| values.get("word").and_then(Value::as_str) == Some(word))
        {
            return Err(("23514", "refused".to_owned()));
        }
        let stamp = Stamp(mutation.hlc, client.to_owned());
        let place = (mutation.table.clone(), mutation.key.clone());
        let mut line = self.lines.get(&place).cloned();
        let is_there = line.as_ref().is_some_and(|line| line.values.is_some());
        let before = line.as_ref().map(|line| (line.values.clone(), line.clocks.clone()));
        match mutation.op.as_str() {
            "insert" if !is_there => {
                let late =
                    line.as_ref().and_then(|line| line.deleted.as_ref()).is_some_and(|gone| *gone >= stamp);
                if late {
                    return Ok(ResultStatus::Applied);
                }
                line = Some(inserted(described, &mutation.key, &values, &stamp)?);
            }
            "insert" | "merge" => {
                let Some(line) = &mut line else { return Err(invalid("key: no such row")) };
                if is_there {
                    merge(described, line, &values, &stamp, mutation.op == "merge")?;
                }
            }
            "add" => {
                let Some(line) = &mut line else { return Err(invalid("key: no such row")) };
                if is_there && self.counted.insert(mutation.id) {
                    add(described, line, &values)?;
                }
            }
            "delete" => {
                let gone = line.get_or_insert_default();
                (gone.values, gone.clocks) = (None, BTreeMap::new());
                gone.deleted = gone.deleted.take().max(Some(stamp));
            }
            _ => return Err(invalid("op: unknown")),
        }
        let Some(mut line) = line else { return Ok(ResultStatus::Applied) };
        if before.is_some_and(|before| before == (line.values.clone(), line.clocks.clone())) {
            return Ok(ResultStatus::Duplicate);
        }
        self.version += 1;
        line.version = self.version;
        self.lines.insert(place, line);
        Ok(ResultStatus::Applied)
    }

    fn answer(
        &self,
        request: &SyncRequest,
        catalogue: &Catalogue,
        results: Vec<MutationResult>,
    ) -> SyncAnswer {
        let current = request.cursor.as_ref().filter(|cursor| cursor.epoch == self.epoch.to_string());
        let since = current.map_or(0, |cursor| cursor.version);
        let mut lines: Vec<_> = self.lines.iter().filter(|(_, line)| line.version > since).collect();
        lines.sort_by_key(|(_, line)| line.version);
        let rows = if self.page_rows == 0 { lines.len() } else { self.page_rows.min(lines.len()) };
        let has_more = rows < lines.len();
        lines.truncate(rows);
        let end = lines.last().filter(|_| has_more).map_or(self.version, |(_, line)| line.version);
        let mut answer = SyncAnswer {
            protocol: 1,
            server_time: at(0).timestamp(),
            reset: request.cursor.is_some() && current.is_none(),
            results,
            rows: BTreeMap::new(),
            packed: BTreeMap::new(),
            deleted: BTreeMap::new(),
            cursor: Cursor { version: end, epoch: self.epoch.to_string() },
            has_more,
            user_missing: false,
            wakeups: false,
            catalogue: None,
        };
        let asks = request.catalogue.as_ref().is_some_and(|hash| hash != catalogue.hash());
        answer.catalogue = asks.then(|| serde_json::from_str(&self.json).unwrap());
        let mut packed: BTreeMap<&str, Vec<&Line>> = BTreeMap::new();
        for ((table, key), line) in lines {
            match &line.values {
                None if since == 0 => {}
                None => answer.deleted.entry(table.clone()).or_default().push(key.clone()),
                Some(_) if self.packs => packed.entry(table).or_default().push(line),
                Some(values) => {
                    let json = object(values.iter().map(|(name, json)| (name.as_str(), json.clone())));
                    answer.rows.entry(table.clone()).or_default().push(WireRow {
                        values: serde_json::from_str(&json).unwrap(),
                        hlc: serde_json::to_value(&line.clocks).unwrap(),
                        version: line.version,
                    });
                }
            }
        }
        for (table, lines) in packed {
            let names: BTreeSet<&String> =
                lines.iter().flat_map(|line| line.values.as_ref().unwrap().keys()).collect();
            let list = |items: Vec<String>| format!("[{}]", items.join(","));
            let clocks = lines.iter().map(|line| serde_json::to_string(&line.clocks).unwrap()).collect();
            let of = |name: &String| {
                let value = |line: &&Line| line.values.as_ref().unwrap().get(name).cloned();
                list(lines.iter().map(|line| value(line).unwrap_or_else(|| "null".to_owned())).collect())
            };
            let columns = names.iter().map(|name| (name.as_str(), of(name)));
            answer.packed.insert(table.to_owned(), object(columns.chain([("clocks", list(clocks))])));
        }
        answer
    }
}

fn object<'a>(members: impl Iterator<Item = (&'a str, String)>) -> String {
    let members: Vec<String> = members.map(|(name, json)| format!("{}:{json}", json!(name))).collect();
    format!("{{{}}}", members.join(","))
}

fn result_of(id: MutationId, outcome: Result<ResultStatus, Refused>) -> MutationResult {
    match outcome {
        Ok(status) => MutationResult { id, status, code: None, message: None },
        Err((code, message)) => MutationResult {
            id,
            status: ResultStatus::Rejected,
            code: Some(code.to_owned()),
            message: Some(message),
        },
    }
}

fn column<'t>(table: &'t MirroredTable, name: &str) -> Result<&'t Column, Refused> {
    table.column(name).ok_or_else(|| ("22023", format!("values.{name}: unknown column")))
}

fn inserted(
    table: &MirroredTable,
    key: &str,
    values: &Map<String, Value>,
    stamp: &Stamp,
) -> Result<Line, Refused> {
    let mut line = Line { values: Some(BTreeMap::new()), ..Line::default() };
    let kept = line.values.get_or_insert_default();
    for described in &table.columns {
        let zero = if described.rule == Rule::Counter { "0" } else { "null" };
        kept.insert(described.name.clone(), zero.to_owned());
    }
    kept.insert(table.key().name.clone(), json!(key).to_string());
    for (name, value) in values {
        let described = column(table, name)?;
        kept.insert(name.clone(), value.to_string());
        if described.rule == Rule::Register {
            line.clocks.insert(name.clone(), stamp.clone());
        }
    }
    Ok(line)
}

fn merge(
    table: &MirroredTable,
    line: &mut Line,
    values: &Map<String, Value>,
    stamp: &Stamp,
    is_update: bool,
) -> Result<(), Refused> {
    let kept = line.values.get_or_insert_default();
    for (name, value) in values {
        match column(table, name)?.rule {
            Rule::Register if line.clocks.get(name).is_some_and(|standing| standing >= stamp) => {}
            Rule::Register => {
                line.clocks.insert(name.clone(), stamp.clone());
                kept.insert(name.clone(), value.to_string());
            }
            Rule::Union => {
                let standing = kept.get(name).and_then(|json| serde_json::from_str(json).ok());
                let mut map: Map<String, Value> = standing.unwrap_or_default();
                for (key, value) in value.as_object().into_iter().flatten() {
                    // By text, as the server compares them.
                    let [given, known] = [Some(value), map.get(key)].map(|value| value.map(Value::to_string));
                    if known.is_none() || given < known {
                        map.insert(key.clone(), value.clone());
                    }
                }
                kept.insert(name.clone(), Value::from(map).to_string());
            }
            _ if is_update => return Err(("22023", format!("values.{name}: cannot be updated"))),
            _ => {}
        }
    }
    Ok(())
}

fn add(table: &MirroredTable, line: &mut Line, values: &Map<String, Value>) -> Result<(), Refused> {
    let kept = line.values.get_or_insert_default();
    let plain = |json: &str| json.trim_matches('"').replace("null", "0");
    for (name, delta) in values {
        let described = column(table, name)?;
        let is_text = delta.is_string();
        let standing = kept.get(&described.name).map_or_else(|| "0".to_owned(), |json| plain(json));
        let sum = add_decimals(&standing, &plain(&delta.to_string())).unwrap();
        kept.insert(name.clone(), if is_text { format!("\"{sum}\"") } else { sum });
    }
    Ok(())
}
