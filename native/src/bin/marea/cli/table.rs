//! The words of `marea table`, `marea query` and `marea schema`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Subcommand)]
pub(crate) enum TableCommand {
    /// Make a row; works offline, as all of these do
    #[command(after_help = "\
Examples:
  marea table insert vocabulary_items '{\"word\": \"marea\", \"level\": \"a1\"}'

A key that is a UUID is made where the row has none. The key is printed.")]
    Insert {
        #[command(flatten)]
        table: TableName,
        /// The row: a JSON object of its columns
        #[arg(value_name = "JSON")]
        row: String,
    },
    /// Show one row
    Get(RowArgs),
    /// Set columns of a row; of two devices that set one, the later one wins
    Update {
        #[command(flatten)]
        row: RowArgs,
        /// The columns to set: a JSON object
        #[arg(value_name = "JSON")]
        values: String,
    },
    /// Add to counters of a row; every device's additions count
    #[command(after_help = "\
Example:
  marea table add phrases 018f2f6e-0000-7000-8000-000000000001 '{\"times_seen\": 1}'")]
    Add {
        #[command(flatten)]
        row: RowArgs,
        /// How much to add to which column: a JSON object
        #[arg(value_name = "JSON")]
        additions: String,
    },
    /// Delete a row, everywhere
    Delete(RowArgs),
    /// List rows
    List(TableListArgs),
}

#[derive(Args)]
pub(crate) struct TableName {
    /// The table, as the server's catalogue names it
    #[arg(value_name = "TABLE")]
    pub(crate) table: String,
}

#[derive(Args)]
pub(crate) struct RowArgs {
    /// The table, as the server's catalogue names it
    #[arg(value_name = "TABLE")]
    pub(crate) table: String,
    /// The row's key
    #[arg(value_name = "KEY")]
    pub(crate) key: String,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  marea table list vocabulary_items --where '{\"level\": \"a1\"}' --order -seen,word --limit 20
  marea table list phrases --where '{\"times_seen\": {\"gte\": 3}, \"source\": null}'

Conditions on a column: a value (null: it has none), or an object with gt, gte, lt, lte, ne, in. All must hold.")]
pub(crate) struct TableListArgs {
    #[command(flatten)]
    pub(crate) table: TableName,
    /// The conditions: a JSON object
    #[arg(long = "where", value_name = "JSON")]
    pub(crate) filter: Option<String>,
    /// Columns to order by, the first decides; with - in front from the greatest to the least
    #[arg(long, value_name = "COLUMN,-COLUMN", value_delimiter = ',', allow_hyphen_values = true)]
    pub(crate) order: Vec<String>,
    /// How many at most, 1 to 1000
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) limit: u32,
    /// Those behind the row with this key, in this order
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    pub(crate) after: Option<String>,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  marea query 'SELECT level, count(*) FROM vocabulary_items GROUP BY level'
  marea query 'SELECT word FROM vocabulary_items WHERE seen > ? AND level = ?' --param 3 --param '\"a1\"'
  marea query 'SELECT day, minutes FROM daily_activity' --csv > minutes.csv

The SQL is SQLite's. It sees the mirrored tables, user_progress, daily_activity and export_history, of this user, as they are on this \
machine. At most 10,000 rows, 16 MiB, 5 seconds.")]
pub(crate) struct QueryArgs {
    /// One SELECT, WITH or VALUES statement
    #[arg(value_name = "SQL")]
    pub(crate) sql: String,
    /// A value for the next ? of the statement, as JSON: 3, '\"text\"', null, '[1, 2]' for json_each(?)
    #[arg(long = "param", value_name = "JSON", allow_hyphen_values = true)]
    pub(crate) params: Vec<String>,
    /// Print comma-separated values
    #[arg(long)]
    pub(crate) csv: bool,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  marea schema --url https://project.supabase.co --key KEY --out marea.schema.json
  marea schema --out marea.schema.ts               a TypeScript module with types, as npx marea-client schema writes it
  marea schema --out marea.schema.json --check     in CI: fails when the file is not what the server has, and says what differs")]
pub(crate) struct SchemaArgs {
    /// The file to write, .json or .ts [default: JSON to standard output]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Write nothing; fail when the file differs from what the server has
    #[arg(long, requires = "out")]
    pub(crate) check: bool,
}
