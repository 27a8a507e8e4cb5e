//! Reads of mirrored tables: one row, a page of rows, how many there are. Rows are JSON texts, columns as on the wire.

use rusqlite::types::Value as SqlValue;
use rusqlite::{Row, params_from_iter};
use serde_json::{Map, Value};

use crate::catalogue::{Column, ColumnType, Rule};
use crate::error::Error;
use crate::model::{ListQuery, json_text};
use crate::store::Rows;
use crate::store::shapes::{Shape, quoted};
use crate::store::values::{ends, write_text};

/// Rows of one page when nothing is said, and at most.
const USUAL_LIMIT: u32 = 100;
const MOST_LIMIT: u32 = 1_000;
/// Values of one `in`.
const MOST_VALUES: usize = 1_000;

/// SQL, and what is bound in it.
#[derive(Default)]
struct Condition {
    sql: String,
    bound: Vec<SqlValue>,
}

/// A column to order by, and whether from the greatest.
struct Ordered<'s> {
    column: &'s Column,
    descends: bool,
}

impl Rows<'_> {
    /// One row.
    pub(crate) fn row_json(self, shape: &Shape, key: &str) -> Result<Option<String>, Error> {
        let Some(key) = shape.key(key) else { return Ok(None) };
        let mut statement = self.connection.prepare_cached(&shape.get)?;
        let mut rows = statement.query([key])?;
        rows.next()?.map(|row| row_json(shape, row)).transpose()
    }

    /// A page of rows.
    pub(crate) fn list(self, shape: &Shape, query: &ListQuery) -> Result<Vec<String>, Error> {
        let Condition { sql, bound } = self.listing(shape, query)?;
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(&bound))?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(row_json(shape, row)?);
        }
        Ok(found)
    }

    /// The statement of a page.
    fn listing(self, shape: &Shape, query: &ListQuery) -> Result<Condition, Error> {
        let limit = query.limit.unwrap_or(USUAL_LIMIT);
        if !(1..=MOST_LIMIT).contains(&limit) {
            return Err(Error::invalid("limit", format!("must be from 1 to {MOST_LIMIT}")));
        }
        let order = order_of(shape, &query.order)?;
        let mut condition = Condition::of(shape, &query.filter)?;
        if let Some(after) = &query.after {
            self.begin_after(shape, &order, after, &mut condition)?;
        }
        let order = order
            .iter()
            .map(|by| format!("{}{}", ordering(by.column), if by.descends { " DESC" } else { "" }));
        let order = order.collect::<Vec<_>>().join(", ");
        let name = quoted(shape.table.table.name());
        let sql = format!(
            "SELECT {} FROM {name}{} ORDER BY {order} LIMIT {limit}",
            shape.columns,
            condition.clause()
        );
        Ok(Condition { sql, ..condition })
    }

    /// How many rows there are.
    pub(crate) fn count_listed(self, shape: &Shape, filter: &Map<String, Value>) -> Result<u64, Error> {
        let condition = Condition::of(shape, filter)?;
        let name = quoted(shape.table.table.name());
        let sql = format!("SELECT count(*) FROM {name}{}", condition.clause());
        let mut statement = self.connection.prepare_cached(&sql)?;
        let count: i64 = statement.query_row(params_from_iter(&condition.bound), |row| row.get(0))?;
        Ok(count.unsigned_abs())
    }

    /// Rows behind one, in this order: of the first column in which they differ they have the later value.
    fn begin_after(
        self,
        shape: &Shape,
        order: &[Ordered<'_>],
        after: &str,
        condition: &mut Condition,
    ) -> Result<(), Error> {
        let gone =
            || Error::invalid("after", "there is no row with this key any more; begin with the first page");
        let columns = order.iter().map(|by| ordering(by.column)).collect::<Vec<_>>().join(", ");
        let (name, key) = (quoted(shape.table.table.name()), quoted(&shape.table.key().name));
        let sql = format!("SELECT {columns} FROM {name} WHERE {key} = ?1");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query([shape.key(after).ok_or_else(gone)?])?;
        let row = rows.next()?.ok_or_else(gone)?;
        let mut sql = String::new();
        for (place, by) in order.iter().enumerate().rev() {
            let value: SqlValue = row.get(place)?;
            let column = ordering(by.column);
            let bind = |value: &SqlValue, condition: &mut Condition| {
                condition.bound.push(value.clone());
                format!("?{}", condition.bound.len())
            };
            let is_none = value == SqlValue::Null;
            let behind = match (by.descends, is_none) {
                (false, true) => format!("{column} IS NOT NULL"),
                (false, false) => format!("{column} > {}", bind(&value, condition)),
                (true, true) => "0".to_owned(),
                (true, false) => format!("({column} < {} OR {column} IS NULL)", bind(&value, condition)),
            };
            sql = if sql.is_empty() {
                behind
            } else {
                format!("({behind} OR ({column} IS {} AND {sql}))", bind(&value, condition))
            };
            if place == 0 && !is_none && !by.descends {
                // So that an index begins there.
                sql = format!("{column} >= {} AND {sql}", bind(&value, condition));
            }
        }
        condition.and(&sql);
        Ok(())
    }
}

fn order_of<'s>(shape: &'s Shape, order: &[String]) -> Result<Vec<Ordered<'s>>, Error> {
    let mut found: Vec<Ordered<'s>> = Vec::new();
    for name in order {
        let (name, descends) = name.strip_prefix('-').map_or((name.as_str(), false), |name| (name, true));
        let column =
            shape.table.column(name).ok_or_else(|| shape.table.refused(name, "there is no such column"))?;
        found.push(Ordered { column, descends });
    }
    // Once the key is among them, the order is complete.
    let key = shape.table.key();
    if !found.iter().any(|by| by.column.name == key.name) {
        let descends = found.last().is_some_and(|by| by.descends);
        found.push(Ordered { column: key, descends });
    }
    Ok(found)
}

/// What a column is ordered by. An enum's labels are in the order in which Postgres has them, and one of a later type comes last.
fn ordering(column: &Column) -> String {
    let name = quoted(&column.name);
    // As texts are ordered anyway, or no enum: then an index helps.
    if column.labels.is_sorted() {
        return name;
    }
    let ranks = column.labels.iter().enumerate();
    let ranks = ranks.map(|(rank, label)| format!("WHEN '{}' THEN {rank} ", label.replace('\'', "''")));
    let last = column.labels.len();
    format!("CASE {name} {}ELSE iif({name} IS NULL, NULL, {last}) END", ranks.collect::<String>())
}

impl Condition {
    fn of(shape: &Shape, filter: &Map<String, Value>) -> Result<Condition, Error> {
        let mut condition = Condition::default();
        for (name, wanted) in filter {
            let column = shape
                .table
                .column(name)
                .ok_or_else(|| shape.table.refused(name, "there is no such column"))?;
            condition.add(column, wanted).map_err(|problem| shape.table.refused(name, problem))?;
        }
        Ok(condition)
    }

    fn add(&mut self, column: &Column, wanted: &Value) -> Result<(), String> {
        let Value::Object(tests) = wanted else {
            return self.compare(column, "IS", wanted);
        };
        for (test, value) in tests {
            match test.as_str() {
                "gt" => self.compare(column, ">", value)?,
                "gte" => self.compare(column, ">=", value)?,
                "lt" => self.compare(column, "<", value)?,
                "lte" => self.compare(column, "<=", value)?,
                "ne" => self.compare(column, "IS NOT", value)?,
                "in" => self.is_one_of(column, value)?,
                _ => {
                    return Err("a condition is a value, or an object of gt, gte, lt, lte, ne, in".to_owned());
                }
            }
        }
        Ok(())
    }

    fn compare(&mut self, column: &Column, operator: &str, value: &Value) -> Result<(), String> {
        let name = quoted(&column.name);
        // An index helps an equality with a value, and `IS` only where the value is known to be none.
        let operator = if operator == "IS" && !value.is_null() { "=" } else { operator };
        if value.is_null() && matches!(operator, "IS" | "IS NOT") {
            self.and(&format!("{name} {operator} NULL"));
            return Ok(());
        }
        let (by, bound) = match ordering(column) {
            by if by != name && operator.starts_with(['<', '>']) => (by, rank(column, value)?),
            _ => (name, bound(column, value)?),
        };
        self.bound.push(bound);
        let place = self.bound.len();
        self.and(&format!("{by} {operator} ?{place}"));
        Ok(())
    }

    fn is_one_of(&mut self, column: &Column, values: &Value) -> Result<(), String> {
        let Some(values) = values.as_array().filter(|values| values.len() <= MOST_VALUES) else {
            return Err(format!("in: must be a list of at most {MOST_VALUES} values"));
        };
        let name = quoted(&column.name);
        let mut places = Vec::new();
        for value in values.iter().filter(|value| !value.is_null()) {
            self.bound.push(bound(column, value)?);
            places.push(format!("?{}", self.bound.len()));
        }
        let or_none = if places.len() < values.len() { format!(" OR {name} IS NULL") } else { String::new() };
        self.and(&format!("({name} IN ({}){or_none})", places.join(", ")));
        Ok(())
    }

    fn and(&mut self, sql: &str) {
        self.sql += if self.sql.is_empty() { " WHERE " } else { " AND " };
        self.sql += sql;
    }

    fn clause(&self) -> &str {
        &self.sql
    }
}

/// A value to compare with, as SQLite keeps such values. It need not be one that may be written.
fn bound(column: &Column, value: &Value) -> Result<SqlValue, String> {
    let kind = match column.kind {
        ColumnType::Enum => ColumnType::Text,
        ColumnType::UuidBytes => ColumnType::Uuid,
        kind => kind,
    };
    let lenient =
        Column { kind, max: None, precision: None, rule: Rule::Register, nullable: true, ..column.clone() };
    let mut checked = lenient.check(value.clone())?;
    if column.kind.is_json_text() {
        checked = json_text(&checked).into();
    }
    let bound = column.kind.bind(Some(&checked)).ok_or("cannot be compared with that")?;
    ends(&bound).try_into().map_err(|_| "cannot be compared with that".to_owned())
}

/// A label's place among the others.
fn rank(column: &Column, value: &Value) -> Result<SqlValue, String> {
    let rank =
        |label: &str| column.labels.iter().position(|it| it == label).and_then(|at| i64::try_from(at).ok());
    match value {
        Value::Null => Ok(SqlValue::Null),
        value => value
            .as_str()
            .and_then(rank)
            .map(SqlValue::Integer)
            .ok_or_else(|| format!("must be one of {}", column.labels.join(", "))),
    }
}

fn row_json(shape: &Shape, row: &Row<'_>) -> Result<String, Error> {
    let mut json = String::from("{");
    for (place, column) in shape.table.columns.iter().enumerate() {
        if place > 0 {
            json.push(',');
        }
        write_text(&column.name, &mut json)?;
        json.push(':');
        column.kind.write_json(row.get_ref(place)?, &mut json)?;
    }
    json.push('}');
    Ok(json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Catalogue;
    use crate::model::Table;
    use crate::store::{Location, Store};

    const WORDS: &str = r#"{ "version": 1, "hash": "01", "tables": [
      { "name": "words", "schema": "public", "key": "id", "owner": "user_id", "write": true, "indexes": [["level"]], "columns": [
        { "name": "id", "type": "text", "rule": "key" },
        { "name": "level", "type": "integer", "rule": "register" } ] } ] }"#;

    /// A page far behind costs no more than the first: nothing before it is read.
    #[test]
    fn an_index_begins_where_the_page_does() {
        let mut store = Store::open(&Location::Memory).unwrap();
        store.adopt(&Catalogue::parse(WORDS).unwrap(), |_| Ok(())).unwrap();
        store.connection.execute("INSERT INTO words VALUES ('a', 1, '{}'), ('b', NULL, '{}')", []).unwrap();
        let plan = |order: &str, after: &str| {
            let (rows, words) = (store.read(), Table::named("words").unwrap());
            let query = ListQuery {
                order: vec![order.to_owned()],
                after: Some(after.to_owned()),
                ..ListQuery::default()
            };
            let Condition { sql, bound } = rows.listing(rows.shapes().get(words).unwrap(), &query).unwrap();
            let mut statement = store.connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let mut steps = statement.query(params_from_iter(&bound)).unwrap();
            steps.next().unwrap().unwrap().get::<_, String>(3).unwrap()
        };
        assert!(plan("level", "a").starts_with("SEARCH words USING INDEX"), "{}", plan("level", "a"));
        assert!(plan("level", "a").ends_with("(level>?)"), "{}", plan("level", "a"));
        // Everything is behind no value, and less of it is not where a descending page begins.
        for (order, after) in [("level", "b"), ("-level", "a")] {
            assert!(!plan(order, after).ends_with("(level>?)"), "{order} {after}: {}", plan(order, after));
        }
    }
}
