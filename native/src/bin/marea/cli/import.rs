//! The words of `marea import`.

use std::path::PathBuf;

use clap::Args;

#[derive(Args)]
#[command(after_help = "\
Examples:
  marea import 'history of version 1' history.json
  jq '[.days[] | {session: {session_type: \"qa\", local_date: .}}]' old.json | marea import days -

The file is a JSON array. Each item has one of
  \"session\"             session_type, ended_at or started_at or local_date, duration_minutes, ...
  \"event\"               occurred_at or local_date, points, achievements, ...
  \"table\" and \"values\"  a row of a mirrored table; \"key\" is the row's
and may have a \"key\" that makes it the same item on every device. Run again, here or elsewhere, nothing comes in twice; a name of \
which nothing was refused is done.")]
pub(crate) struct ImportArgs {
    /// What this import is called, 1 to 100 characters
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// The file; - for standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}
