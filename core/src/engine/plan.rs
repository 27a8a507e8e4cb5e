//! A change that an app asks for, and the plan that it becomes: what is to be queued, checked as far as that goes without the
//! mirror's rows.

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use crate::catalogue::{MirroredTable, Rule};
use crate::error::Error;
use crate::merge::Fact;
use crate::model::limits::check_instant;
use crate::model::{
    EventInput, ExportChange, ExportInput, ExportStatus, Here, Hlc, KeyEnvelope, MutationId, Op, Provider,
    SESSION_DAY, SessionInput, Table, Timestamp, UserId, check_correction, from_value,
};
use crate::store::{Rows, Shapes};

/// A local write.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Change {
    /// A completed session.
    RecordSession(SessionInput),
    /// An award that belongs to no session.
    RecordEvent(EventInput),
    /// A new export.
    CreateExport(ExportInput),
    /// What became of an export.
    UpdateExport {
        /// The export.
        id: MutationId,
        /// The columns to set.
        change: ExportChange,
    },
    /// An export's file is given up: its row names none any more.
    DropFile {
        /// The export.
        id: MutationId,
    },
    /// A sealed API key, in place of the provider's last one.
    PutKey {
        /// Whose API the key is for.
        provider: Provider,
        /// The sealed key.
        envelope: KeyEnvelope,
    },
    /// A provider's key is to be gone, everywhere.
    DeleteKey {
        /// Whose API the key is for.
        provider: Provider,
    },
    /// The providers accepted the keys at this time.
    KeysValidated {
        /// When.
        at: Timestamp,
    },
    /// An export is to be gone, everywhere.
    DeleteExport {
        /// The export.
        id: MutationId,
    },
    /// A new row of a mirrored table.
    Insert {
        /// The table's name.
        table: String,
        /// The row's key. `None`: the user's own id where that is the key, else a UUID is made, where the key is one.
        key: Option<String>,
        /// The columns, as on the wire; the key may be among them.
        values: Map<String, Value>,
    },
    /// Other values for columns of a row of a mirrored table.
    Update {
        /// The table's name.
        table: String,
        /// The row's key.
        key: String,
        /// The columns to set, as on the wire.
        values: Map<String, Value>,
    },
    /// Additions to counters of a row of a mirrored table.
    Add {
        /// The table's name.
        table: String,
        /// The row's key.
        key: String,
        /// How much is added to which column.
        values: Map<String, Value>,
    },
    /// A row of a mirrored table is to be gone, everywhere.
    Delete {
        /// The table's name.
        table: String,
        /// The row's key.
        key: String,
    },
}

impl From<SessionInput> for Change {
    fn from(input: SessionInput) -> Change {
        Change::RecordSession(input)
    }
}

impl From<EventInput> for Change {
    fn from(input: EventInput) -> Change {
        Change::RecordEvent(input)
    }
}

/// What a guest cannot have: a key is sealed for one account.
pub(super) const KEYS: &str = "sealed API keys";

/// A mutation's id, and whether this mirror may have it already.
#[derive(Clone, Copy)]
pub(super) enum Known {
    /// The caller has given it, perhaps before.
    Maybe(MutationId),
    /// It was drawn for this change.
    New(MutationId),
}

impl Known {
    pub(super) fn id(self) -> MutationId {
        match self {
            Known::Maybe(id) | Known::New(id) => id,
        }
    }
}

/// What is to be queued, and what it adds to progress.
#[derive(Clone)]
pub(super) struct Plan {
    pub(super) table: Table,
    pub(super) op: Op,
    pub(super) key: String,
    pub(super) values: Box<RawValue>,
    pub(super) fact: Option<Fact>,
    /// The columns whose values the caller did not choose: the same call made later has others.
    pub(super) assumed: Vec<&'static str>,
    /// The clock, where it is not the next one.
    pub(super) clock: Option<Hlc>,
}

impl Change {
    /// The id that the caller gave.
    pub(super) fn given_id(&self) -> Option<MutationId> {
        match self {
            Change::RecordSession(input) => input.id,
            Change::RecordEvent(input) => input.id,
            Change::CreateExport(input) => input.id,
            Change::Insert { table, key, values } if table == Table::Sessions.name() => {
                let key = key.as_deref().or_else(|| values.get("id")?.as_str());
                key.and_then(|key| key.parse().ok())
            }
            _ => None,
        }
    }

    /// A session is a fact, whose key is the id of its mutation, whatever id a caller gives to that.
    pub(super) fn is_named_by_key(&self) -> bool {
        matches!(self, Change::Insert { table, .. } if table == Table::Sessions.name())
    }

    pub(super) fn plan(
        self,
        id: MutationId,
        user_id: UserId,
        here: Here<'_>,
        shapes: &Shapes,
    ) -> Result<Plan, Error> {
        match self {
            Change::Insert { table, key, mut values } => {
                let table = mirrored(shapes, &table)?;
                if table.table == Table::Sessions {
                    return session_of(table, key.as_deref(), values)?.plan(id, user_id, here, shapes);
                }
                let among = values.remove(&table.key().name);
                let among = among.map(|key| table.key_of(key)).transpose()?;
                // That of the mutation is as new as any, and the same when the caller calls again.
                let made = || match table.owner {
                    Some(_) => Some(user_id.to_string()),
                    None => table.makes_keys().then(|| id.to_string()),
                };
                let key = key.or(among).or_else(made);
                let key = key.ok_or_else(|| table.refused(&table.key().name, "a new row needs a key"))?;
                row(table, Op::Insert, &key, values, user_id)
            }
            Change::Update { table, key, values } => {
                row(mirrored(shapes, &table)?, Op::Merge, &key, values, user_id)
            }
            Change::Add { table, key, values } => {
                row(mirrored(shapes, &table)?, Op::Add, &key, values, user_id)
            }
            Change::Delete { table, key } => {
                row(mirrored(shapes, &table)?, Op::Delete, &key, Map::new(), user_id)
            }
            Change::RecordSession(input) => {
                check_type(shapes, &input.session_type)?;
                let assumed = input.assumed();
                let session = input.complete(id, here)?;
                let fact = Some(Fact::from(&session));
                Ok(Plan { fact, assumed, ..insert(Table::Sessions, id, &session)? })
            }
            Change::RecordEvent(input) => {
                let assumed = input.assumed();
                let event = input.complete(id, here)?;
                let fact = Some(Fact::from(&event));
                Ok(Plan { fact, assumed, ..insert(Table::ProgressEvents, id, &event)? })
            }
            Change::CreateExport(input) => {
                input.check()?;
                // NULL is no value of this column in Postgres: without filters it is the empty object.
                let filters = input.filters.unwrap_or_default();
                let values = json!({
                    "id": id, "export_type": input.export_type, "export_format": input.export_format,
                    "filters": filters, "status": ExportStatus::Pending,
                    "created_at": here.now.timestamp().max(Timestamp::FIRST),
                });
                Ok(Plan {
                    assumed: vec!["created_at", "status"],
                    ..insert(Table::ExportHistory, id, &values)?
                })
            }
            Change::UpdateExport { id, change } => {
                change.check()?;
                merge(Table::ExportHistory, id.to_string(), &change)
            }
            Change::DropFile { id } => {
                merge(Table::ExportHistory, id.to_string(), &json!({ "file_url": null }))
            }
            Change::DeleteExport { id } => {
                let plan = merge(Table::ExportHistory, id.to_string(), &Map::new())?;
                Ok(Plan { op: Op::Delete, ..plan })
            }
            Change::PutKey { .. } | Change::DeleteKey { .. } | Change::KeysValidated { .. }
                if user_id.is_guest() =>
            {
                Err(Error::NeedsAccount { what: KEYS })
            }
            Change::PutKey { provider, envelope } => keys(user_id, provider, json!(envelope)),
            Change::DeleteKey { provider } => keys(user_id, provider, Value::Null),
            Change::KeysValidated { at } => {
                check_instant(Table::UserApiKeys, "last_validated_at", Some(at))?;
                keys_column(user_id, "last_validated_at", json!(at))
            }
        }
    }
}

impl Plan {
    /// What only the mirror's rows can tell.
    pub(super) fn check(&self, rows: Rows<'_>) -> Result<(), Error> {
        let Plan { table, op, key, .. } = self;
        let builds_on_row = matches!(op, Op::Merge | Op::Add) && *table != Table::UserApiKeys;
        if !builds_on_row || rows.register(*table, key)?.is_some() {
            return Ok(());
        }
        match rows.shapes().get(*table).map(|shape| &shape.table) {
            Some(table) if table.table.is_of_catalogue() => {
                Err(table.refused(&table.key().name, "there is no such row in this mirror"))
            }
            _ => Err(Error::invalid("id", "there is no such export in this mirror")),
        }
    }
}

/// Where the app's column is an enum, and its labels are known: a typing mistake is told when it is made, not when it is sent.
fn check_type(shapes: &Shapes, session_type: &str) -> Result<(), Error> {
    match shapes.catalogue().and_then(|catalogue| catalogue.labels_of("sessions.session_type")) {
        Some(labels) if !labels.iter().any(|label| label == session_type) => {
            Err(Error::invalid("session_type", format!("must be one of {}", labels.join(", "))))
        }
        _ => Ok(()),
    }
}

/// The table of the catalogue that has this name.
pub(super) fn mirrored<'s>(shapes: &'s Shapes, name: &str) -> Result<&'s MirroredTable, Error> {
    let table = shapes.named(name).filter(|table| table.is_of_catalogue());
    let shape = table.and_then(|table| shapes.get(table));
    shape.map(|shape| &shape.table).ok_or_else(|| Error::UnknownTable { table: name.to_owned() })
}

fn row(
    table: &MirroredTable,
    op: Op,
    key: &str,
    values: Map<String, Value>,
    user_id: UserId,
) -> Result<Plan, Error> {
    let key = table.check_key(key)?;
    if table.owner.is_some() && key != user_id.to_string() {
        return Err(table.refused(&table.key().name, "must be the user's own id"));
    }
    let values = raw(&if table.table == Table::Sessions {
        check_session(table, op, values)?
    } else {
        table.check(op, values)?
    })?;
    Ok(Plan { table: table.table, op, key, values, fact: None, assumed: Vec::new(), clock: None })
}

/// A new session, as the rows of its table are written: nothing else makes one.
fn session_of(
    table: &MirroredTable,
    key: Option<&str>,
    mut values: Map<String, Value>,
) -> Result<Change, Error> {
    if let Some(key) = key {
        values.insert("id".to_owned(), table.check_key(key)?.into());
    }
    for (name, value) in &values {
        if table.column(name).is_none() && name != SESSION_DAY {
            return Err(table.refused(name, "there is no such column"));
        }
        if let (Some(column), false) =
            (table.column(name).filter(|column| column.rule != Rule::Key), value.is_null())
        {
            column.check(value.clone()).map_err(|problem| table.refused(name, problem))?;
        }
    }
    values.retain(|_, value| !value.is_null());
    let input: SessionInput = from_value(values.into()).map_err(|_| {
        table.refused(
            "",
            "a new session has session_type and the columns that recordSession takes, each of its type",
        )
    })?;
    Ok(Change::RecordSession(input))
}

/// A correction. Beside the columns it may name the day.
fn check_session(
    table: &MirroredTable,
    op: Op,
    mut values: Map<String, Value>,
) -> Result<Map<String, Value>, Error> {
    let of_column = |error: Error| match error {
        Error::InvalidInput { field, problem } => table.refused(field, problem),
        other => other,
    };
    let day = if op == Op::Merge { values.remove(SESSION_DAY) } else { None };
    let mut checked = if values.is_empty() && day.is_some() { values } else { table.check(op, values)? };
    checked.extend(day.map(|day| (SESSION_DAY.to_owned(), day)));
    check_correction(&checked).map_err(of_column)?;
    Ok(checked)
}

fn insert(table: Table, id: MutationId, values: &impl serde::Serialize) -> Result<Plan, Error> {
    let (key, values, assumed) = (id.to_string(), raw(values)?, Vec::new());
    Ok(Plan { table, op: Op::Insert, key, values, fact: None, assumed, clock: None })
}

fn merge(table: Table, key: String, values: &impl serde::Serialize) -> Result<Plan, Error> {
    let (values, assumed) = (raw(values)?, Vec::new());
    Ok(Plan { table, op: Op::Merge, key, values, fact: None, assumed, clock: None })
}

pub(super) fn keys(user_id: UserId, provider: Provider, value: Value) -> Result<Plan, Error> {
    keys_column(user_id, provider.column(), value)
}

fn keys_column(user_id: UserId, column: &str, value: Value) -> Result<Plan, Error> {
    let mut values = Map::new();
    values.insert(column.to_owned(), value);
    merge(Table::UserApiKeys, user_id.to_string(), &values)
}

fn raw(values: &impl serde::Serialize) -> Result<Box<RawValue>, Error> {
    to_raw_value(values).map_err(|_| Error::Internal("a change is not JSON"))
}
