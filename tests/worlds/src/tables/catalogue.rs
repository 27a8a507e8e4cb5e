//! A catalogue of a world: random tables of random columns, that grow and shrink while devices live.

use marea_core::Catalogue;
use serde_json::{Value, json};

use crate::random::Random;

/// One column: its name, its type, its rule.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) rule: &'static str,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Table {
    pub(super) name: String,
    /// `uuid` or `text`.
    pub(super) key: &'static str,
    pub(super) columns: Vec<Column>,
}

/// What a schema module would hold, by version.
#[derive(Clone, Debug)]
pub(super) struct Described {
    pub(super) version: u32,
    pub(super) tables: Vec<Table>,
    /// Whether sessions are mirrored.
    pub(super) sessions: bool,
    next_column: u32,
}

const KINDS: [(&str, &str); 12] = [
    ("text", "register"),
    ("integer", "register"),
    ("boolean", "register"),
    ("timestamptz", "register"),
    ("jsonb", "register"),
    ("integer", "counter"),
    ("integer", "counter"),
    ("bigint", "counter"),
    ("numeric", "counter"),
    ("jsonb", "union"),
    ("text", "once"),
    ("text", "server"),
];

impl Described {
    pub(super) fn some(random: &mut Random) -> Described {
        let sessions = random.chance(50);
        let mut described = Described { version: 1, tables: Vec::new(), sessions, next_column: 0 };
        for _ in 0..random.within(1..=2) {
            described.add_table(random);
        }
        described
    }

    fn add_table(&mut self, random: &mut Random) {
        let name = format!("t{}", self.tables.len());
        let key = if random.chance(70) { "uuid" } else { "text" };
        self.tables.push(Table { name, key, columns: Vec::new() });
        let place = self.tables.len() - 1;
        for _ in 0..random.within(2..=5) {
            self.add_column(place, random);
        }
    }

    fn add_column(&mut self, table: usize, random: &mut Random) {
        let (kind, rule) = *random.one_of(&KINDS);
        // Any name that Postgres takes is a column's.
        let odd = if self.next_column % 4 == 1 { " 5\" \\\t" } else { "" };
        let name = format!("c{}{odd}", self.next_column);
        self.next_column += 1;
        self.tables[table].columns.push(Column { name, kind, rule });
    }

    /// Somebody changes the tables: a column more, a column less, a table more.
    pub(super) fn change(&mut self, random: &mut Random) {
        self.version += 1;
        let table = usize::try_from(random.within(0..=i64::try_from(self.tables.len()).expect("few") - 1));
        let table = table.expect("there is one");
        if random.chance(20) {
            self.sessions = true;
        }
        // Every now and then one is widened, which the numbers in it and the devices that do not know it survive.
        let mut columns = self.tables[table].columns.iter_mut();
        if self.version.is_multiple_of(2)
            && let Some(column) = columns.find(|column| column.kind == "integer")
        {
            column.kind = "bigint";
        }
        match random.within(0..=9) {
            0..=2 if self.tables.len() < 4 => self.add_table(random),
            1..=3 if self.tables[table].columns.len() > 2 => drop(self.tables[table].columns.remove(0)),
            _ => self.add_column(table, random),
        }
    }

    pub(super) fn json(&self) -> String {
        let table = |table: &Table| {
            let column = |column: &Column| {
                json!({ "name": column.name, "type": column.kind, "rule": column.rule,
                        "nullable": column.rule != "counter", "default": column.rule == "counter" })
            };
            let key = json!({ "name": "k", "type": table.key, "rule": "key" });
            let columns: Vec<Value> = [key].into_iter().chain(table.columns.iter().map(column)).collect();
            json!({ "name": table.name, "schema": "public", "key": "k", "owner": "user_id", "columns": columns })
        };
        let sessions = self.sessions.then(super::sessions::described);
        let tables: Vec<Value> = sessions.into_iter().chain(self.tables.iter().map(table)).collect();
        json!({ "version": 1, "hash": format!("{:016}", self.version), "tables": tables }).to_string()
    }

    pub(super) fn catalogue(&self) -> Catalogue {
        Catalogue::parse(&self.json()).expect("a catalogue")
    }

    pub(super) fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.name == name)
    }
}

impl Table {
    pub(super) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}

impl Column {
    /// A value that a device may write.
    pub(super) fn some_value(&self, random: &mut Random) -> Value {
        let number = random.within(0..=99);
        match self.kind {
            "text" => format!("text {number} \"é\"").into(),
            "integer" => number.into(),
            "boolean" => (number % 2 == 0).into(),
            "timestamptz" => format!("2026-01-01T00:00:{:02}.000000Z", number % 60).into(),
            "jsonb" if self.rule == "union" => json!({ format!("a{}", number % 4): format!("{number:02}") }),
            "jsonb" => json!([number, null, { "a": "b" }]),
            "bigint" => number.to_string().into(),
            _ => format!("{number}.25").into(),
        }
    }
}

/// The sum of two values of a counter, in hundredths.
pub(super) fn hundredths(value: &Value) -> i64 {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let whole: i64 = whole.parse().unwrap_or(0);
    let fraction: i64 = format!("{fraction:0<2}").parse().unwrap_or(0);
    whole * 100 + if text.starts_with('-') { -fraction } else { fraction }
}
