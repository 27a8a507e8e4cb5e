//! `marea init`: the SQL that this program carries, written as the project's migration tool wants it, and where the app is one of the
//! browser, a schema module, a first component and the names of its environment. Run again, it adds what is missing and changes nothing
//! that is there. It reads no database and asks no server. `npx marea-client init` writes the same.

mod starter;

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use include_dir::{Dir, include_dir};
use serde_json::json;

use crate::failure::Failure;
use crate::output::Output;
use starter::Framework;

static MIGRATIONS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../migrations");

/// What stands for the procedure that commits, where a tool has a transaction around the file.
const ONE_BATCH: &str = "\
-- In this transaction, so for at most 10,000 learners. Where there are more, repeat it until it returns less:
--   SELECT marea.backfill_batch(10000);
SELECT marea.backfill_batch(10000);";

#[derive(Args)]
pub(crate) struct InitArgs {
    /// The migration tool [default: found by the project's files, else supabase]
    #[arg(long, value_enum)]
    tool: Option<Tool>,
    /// What the app is built with [default: found in package.json, else none]
    #[arg(long, value_enum)]
    framework: Option<Framework>,
    /// The project's folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    project: PathBuf,
}

/// A tool that runs migrations.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Tool {
    Supabase,
    Dbmate,
    Flyway,
    Sqlx,
    Psql,
}

struct Step {
    name: String,
    up: &'static str,
    down: &'static str,
}

pub(crate) fn run(args: &InitArgs, output: &Output) -> Result<(), Failure> {
    let tool = args.tool.unwrap_or_else(|| Tool::found_in(&args.project));
    let now = jiff::Timestamp::now().strftime("%Y%m%d%H%M%S").to_string();
    let framework = args.framework.unwrap_or_else(|| Framework::found_in(&args.project));
    let added = write(&args.project, tool, framework, now.parse().unwrap_or_default()).map_err(|error| {
        Failure::new("storage_failed", format!("cannot write {}: {error}", args.project.display()))
    })?;
    output.result(&json!({ "added": added, "next": tool.next() }), |_| {
        let files: String = added.iter().map(|path| format!("added {path}\n")).collect();
        let none = if added.is_empty() { "Everything is there: nothing was added.\n" } else { "" };
        format!("{files}{none}Ask the database first what stands in the way: run marea/preflight.sql, which only reads.\nNext: {}\n", tool.next())
    })
}

/// In the order of running. `adopt` changes nothing where there is nothing to adopt.
fn steps() -> Vec<Step> {
    let text =
        |name: &str| MIGRATIONS.get_file(name).and_then(|file| file.contents_utf8()).unwrap_or_default();
    let is_numbered = |name: &str| {
        name.len() > 4
            && name.as_bytes().iter().take(3).all(u8::is_ascii_digit)
            && !name.ends_with("_rollback.sql")
    };
    let mut names: Vec<&str> = MIGRATIONS
        .files()
        .filter_map(|file| file.path().to_str()?.strip_suffix(".sql"))
        .filter(|name| is_numbered(&format!("{name}.sql")))
        .collect();
    names.sort_unstable();
    let step = |name: &str| Step {
        name: name.to_owned(),
        up: text(&format!("{name}.sql")),
        down: text(&format!("{name}_rollback.sql")),
    };
    std::iter::once("adopt").chain(names).map(step).collect()
}

fn write(project: &Path, tool: Tool, framework: Framework, now: u64) -> io::Result<Vec<String>> {
    let folder = project.join(tool.folder());
    let present: Vec<String> = match fs::read_dir(&folder) {
        Ok(entries) => {
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    // Behind all that is there, which may be dated ahead.
    let number =
        |name: &str| name.trim_start_matches('V').split('_').next().and_then(|it| it.parse::<u64>().ok());
    let latest = present.iter().filter_map(|name| number(name)).max().unwrap_or_default();
    let first = now.max(latest + 1);
    // A step is known by its name, whatever its number.
    let has = |step: &Step| {
        present.iter().any(|file| file.rsplit("marea_").next() == Some(&format!("{}.sql", step.name)))
    };
    let mut added = Vec::new();
    for (stamp, step) in (first..).zip(steps().iter().filter(|step| !has(step))) {
        add(
            project,
            &format!("{}/{}", tool.folder(), tool.file_name(stamp, &step.name)),
            &tool.text(step),
            &mut added,
        )?;
    }
    let preflight =
        MIGRATIONS.get_file("preflight.sql").and_then(|file| file.contents_utf8()).unwrap_or_default();
    add(project, "marea/preflight.sql", preflight, &mut added)?;
    for (path, text) in framework.texts(project) {
        add(project, &path, text, &mut added)?;
    }
    added.extend(starter::add_variables(project, framework)?);
    Ok(added)
}

/// A file that is there stays as it is.
fn add(project: &Path, path: &str, text: &str, added: &mut Vec<String>) -> io::Result<()> {
    let place = project.join(path);
    if let Some(folder) = place.parent() {
        fs::create_dir_all(folder)?;
    }
    match OpenOptions::new().write(true).create_new(true).open(&place) {
        Ok(mut file) => {
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            added.push(path.to_owned());
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

impl Tool {
    fn found_in(project: &Path) -> Tool {
        let has = |signs: &[&str]| signs.iter().any(|sign| project.join(sign).exists());
        match () {
            () if has(&["supabase"]) => Tool::Supabase,
            () if has(&["db/migrations"]) => Tool::Dbmate,
            () if has(&["flyway.toml", "flyway.conf", "conf/flyway.conf"]) => Tool::Flyway,
            () if has(&["sqlx.toml", ".sqlx", "Cargo.toml"]) => Tool::Sqlx,
            () => Tool::Supabase,
        }
    }

    fn folder(self) -> &'static str {
        match self {
            Tool::Supabase => "supabase/migrations",
            Tool::Dbmate => "db/migrations",
            Tool::Flyway => "sql",
            Tool::Sqlx => "migrations",
            Tool::Psql => "marea",
        }
    }

    fn file_name(self, stamp: u64, name: &str) -> String {
        match self {
            Tool::Supabase | Tool::Dbmate | Tool::Sqlx => format!("{stamp}_marea_{name}.sql"),
            Tool::Flyway => format!("V{stamp}__marea_{name}.sql"),
            Tool::Psql => format!("{name}.sql"),
        }
    }

    fn text(self, step: &Step) -> String {
        match self {
            Tool::Psql => step.up.to_owned(),
            Tool::Dbmate => {
                format!("-- migrate:up\n{}\n-- migrate:down\n{}", in_one(step.up), in_one(step.down))
            }
            Tool::Supabase | Tool::Flyway | Tool::Sqlx => in_one(step.up),
        }
    }

    fn next(self) -> &'static str {
        match self {
            Tool::Supabase => "supabase db push (or supabase migration up)",
            Tool::Dbmate => "dbmate up",
            Tool::Flyway => "flyway migrate",
            Tool::Sqlx => "sqlx migrate run",
            Tool::Psql => "psql -v ON_ERROR_STOP=1 -f each of marea/*.sql: adopt first, then by number",
        }
    }
}

/// For a tool that has a transaction of its own around the file.
fn in_one(text: &str) -> String {
    let lines = text.lines().filter(|line| !matches!(*line, "BEGIN;" | "COMMIT;"));
    lines
        .map(|line| if line == "CALL marea.run_backfill();" { ONE_BATCH } else { line })
        .fold(String::new(), |text, line| text + line + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_stays_and_what_is_missing_comes_behind_it() {
        let project = tempfile::tempdir().unwrap();
        fs::create_dir_all(project.path().join("supabase/migrations")).unwrap();
        fs::write(project.path().join("supabase/migrations/20991231235959_own.sql"), "SELECT 1;").unwrap();
        assert!(Tool::found_in(project.path()) == Tool::Supabase);
        let added = write(project.path(), Tool::Supabase, Framework::None, 20_261_129_000_000).unwrap();
        assert!(added.len() >= 6, "{added:?}");
        assert_eq!(added[0], "supabase/migrations/20991231235960_marea_adopt.sql");
        for path in &added[..added.len() - 1] {
            let text = fs::read_to_string(project.path().join(path)).unwrap();
            assert!(
                !text.lines().any(|line| line == "BEGIN;" || line == "COMMIT;" || line.starts_with("CALL ")),
                "{path}"
            );
        }
        let changed = project.path().join(&added[1]);
        fs::write(&changed, "-- mine").unwrap();
        assert_eq!(
            write(project.path(), Tool::Supabase, Framework::None, 20_301_129_000_000).unwrap(),
            Vec::<String>::new()
        );
        assert_eq!(fs::read_to_string(changed).unwrap(), "-- mine");
        fs::remove_file(project.path().join(&added[3])).unwrap();
        assert_eq!(write(project.path(), Tool::Supabase, Framework::None, 0).unwrap().len(), 1);
    }

    #[test]
    fn every_tool_has_each_step_with_its_way_back() {
        for step in steps() {
            assert!(step.up.len() > 100 && step.down.len() > 100, "{}", step.name);
        }
        for tool in [Tool::Supabase, Tool::Dbmate, Tool::Flyway, Tool::Sqlx, Tool::Psql] {
            let project = tempfile::tempdir().unwrap();
            assert_eq!(write(project.path(), tool, Framework::None, 1).unwrap().len(), steps().len() + 1);
        }
    }
}
