//! The words of `marea queue`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use marea_native::MutationId;

#[derive(Subcommand)]
pub(crate) enum QueueCommand {
    /// List what waits for the server, oldest first
    List,
    /// List what the server has refused, and why
    Rejected,
    /// Send a refused one again, once the reason is mended
    Retry(ChosenArgs),
    /// Forget a refused one for good
    Discard(ChosenArgs),
    /// Write everything that the server does not have to a file, in plain columns
    Export {
        /// The file, which must not exist yet [default: standard output]
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct ChosenArgs {
    /// Their ids, as `marea queue rejected` shows them
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<MutationId>,
    /// All that were refused
    #[arg(long)]
    pub(crate) all: bool,
}
