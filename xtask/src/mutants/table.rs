//! Counts by module, and the mutants that nothing notices.

use std::collections::BTreeMap;

use super::{list::Mutant, trial::Outcome};

/// Of the mutants of a module that can be noticed, in percent.
pub(crate) const BAR: f64 = 97.0;

#[derive(Default)]
struct Row {
    noticed: u32,
    missed: u32,
    equivalent: u32,
    not_compiled: u32,
    not_woven: u32,
}

pub(crate) struct Table {
    equivalent: Vec<String>,
    modules: BTreeMap<String, Row>,
    missed: Vec<String>,
}

impl Table {
    pub(crate) fn new(equivalent: Vec<String>) -> Table {
        Table { equivalent, modules: BTreeMap::new(), missed: Vec::new() }
    }

    pub(crate) fn add(&mut self, mutant: &Mutant, outcome: &Outcome) {
        let row = self.modules.entry(mutant.module.clone()).or_default();
        match outcome {
            Outcome::Noticed(_) => row.noticed += 1,
            Outcome::Missed if self.equivalent.contains(&without_place(&mutant.name)) => row.equivalent += 1,
            Outcome::Missed => {
                row.missed += 1;
                self.missed.push(mutant.name.clone());
            }
            Outcome::NotCompiled => row.not_compiled += 1,
            Outcome::NotWoven => row.not_woven += 1,
        }
    }

    pub(crate) fn below_the_bar(&self) -> Vec<&str> {
        let is_below = |(_, row): &(&String, &Row)| row.noticed + row.missed > 0 && row.percent() < BAR;
        self.modules.iter().filter(is_below).map(|(module, _)| module.as_str()).collect()
    }
}

impl Row {
    fn percent(&self) -> f64 {
        100.0 * f64::from(self.noticed) / f64::from((self.noticed + self.missed).max(1))
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (module, row) in &self.modules {
            let Row { noticed, missed, equivalent, not_compiled, not_woven } = row;
            let share = format!("{module:8} {:5.1} %  {noticed} noticed, {missed} missed", row.percent());
            writeln!(
                f,
                "{share}, {equivalent} equivalent, {not_compiled} that do not compile, {not_woven} in constants"
            )?;
        }
        self.missed.iter().try_for_each(|name| writeln!(f, "missed: {name}"))
    }
}

/// A mutant's name without line and column, which change with every edit: `file: what`.
fn without_place(name: &str) -> String {
    let (place, what) = name.split_once(": ").unwrap_or((name, ""));
    format!("{}: {what}", place.split(':').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equivalent_mutants_count_neither_way() {
        let mut table = Table::new(vec!["core/src/merge/a.rs: replace z".to_owned()]);
        let noticed = || Outcome::Noticed(String::new());
        for (module, name, outcome) in [
            ("merge", "core/src/merge/a.rs:1:2: replace + with -", noticed()),
            ("merge", "core/src/merge/a.rs:2:2: replace x", noticed()),
            ("merge", "core/src/merge/a.rs:3:2: replace y", Outcome::NotCompiled),
            ("merge", "core/src/merge/a.rs:4:2: replace z", Outcome::Missed),
            ("store", "core/src/store/b.rs:5:7: replace w", Outcome::Missed),
            ("wire", "core/src/wire/c.rs:5:7: replace v", Outcome::NotWoven),
        ] {
            let listed = serde_json::Value::Null;
            let (name, module, file) = (name.to_owned(), module.to_owned(), String::new());
            table.add(&Mutant { id: 1, name, file, module, listed }, &outcome);
        }
        assert_eq!(table.missed, ["core/src/store/b.rs:5:7: replace w"]);
        assert_eq!(table.below_the_bar(), ["store"]);
        assert!(table.to_string().contains("merge    100.0 %  2 noticed, 0 missed, 1 equivalent"), "{table}");
    }
}
