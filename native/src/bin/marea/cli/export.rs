//! The words of `marea export`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use marea_native::{ExportStatus, MutationId, Timestamp};

#[derive(Subcommand)]
pub(crate) enum ExportCommand {
    /// Ask for an export; works offline, the server learns of it with the next sync
    Create(CreateArgs),
    /// Say what became of an export: its status, its size, where its file is
    Update(UpdateArgs),
    /// List the exports, newest first
    List(ListArgs),
    /// Show the files of exports on this device: how far each is, what was refused and why
    Files,
    /// Write an export's file to this folder, from this device or from the server
    Download {
        /// The export's id
        #[arg(value_name = "ID")]
        id: MutationId,
        /// Where to write it; it must not be there yet
        #[arg(long, value_name = "PATH")]
        out: Option<PathBuf>,
    },
    /// Print a link that opens an export's file for whoever has it
    Link {
        /// The export's id
        #[arg(value_name = "ID")]
        id: MutationId,
        /// For how long, in seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
        expires: u32,
    },
    /// Hold a file back
    Pause {
        /// The export's id
        #[arg(value_name = "ID")]
        id: MutationId,
    },
    /// Try a file again that is held back or was refused
    Retry {
        /// The export's id
        #[arg(value_name = "ID")]
        id: MutationId,
    },
    /// Give a file up, here and at the server; the export stays
    Cancel {
        /// The export's id
        #[arg(value_name = "ID")]
        id: MutationId,
    },
    /// Delete an export, on all devices; its file goes with it
    Delete {
        /// The export's id
        #[arg(value_name = "ID")]
        id: MutationId,
    },
    /// Show one export with all that is known of it
    Show {
        /// The export's id
        #[arg(value_name = "ID")]
        id: MutationId,
    },
}

#[derive(Args)]
#[command(after_help = "\
With --file, or with a type that this command makes itself (progress, activity, exports, or the name of a mirrored table) as csv,
jsonl or html, the file is kept on this device and uploaded with the next sync.

Examples:
  marea export create --type activity --format csv
  marea export create --type progress --format html
  marea export create --type photos --format zip --file photos.zip
  marea export create --type vocabulary --format csv
  marea export create --type sessions --format json --filters '{\"since\": \"2026-01-01\"}'")]
pub(crate) struct CreateArgs {
    /// What is exported, 1 to 50 characters
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) export_type: String,
    /// The file format, 1 to 20 characters
    #[arg(long, value_name = "FORMAT", default_value = "json")]
    pub(crate) format: String,
    /// Which rows, as the app understands it: a JSON object
    #[arg(long, value_name = "JSON")]
    pub(crate) filters: Option<String>,
    /// The export's file: a copy of it is uploaded
    #[arg(long, value_name = "PATH")]
    pub(crate) file: Option<PathBuf>,
    /// Begin a CSV file with a byte order mark, which some spreadsheets need
    #[arg(long)]
    pub(crate) bom: bool,
    /// An id of your own, so that the same line run twice asks for one export
    #[arg(long, value_name = "UUID")]
    pub(crate) id: Option<MutationId>,
}

/// How an export stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StatusWord {
    /// Asked for
    Pending,
    /// Being made
    Processing,
    /// Ready
    Completed,
    /// Could not be made
    Failed,
    /// Its file is gone
    Expired,
}

impl From<StatusWord> for ExportStatus {
    fn from(word: StatusWord) -> ExportStatus {
        match word {
            StatusWord::Pending => ExportStatus::Pending,
            StatusWord::Processing => ExportStatus::Processing,
            StatusWord::Completed => ExportStatus::Completed,
            StatusWord::Failed => ExportStatus::Failed,
            StatusWord::Expired => ExportStatus::Expired,
        }
    }
}

#[derive(Args)]
#[command(after_help = "\
Only what is given changes. Of two devices that say it differently, the later one wins, column by column.

Example:
  marea export update ID --status completed --records 120 --file-url https://files.example.com/a.csv")]
pub(crate) struct UpdateArgs {
    /// The export's id
    #[arg(value_name = "ID")]
    pub(crate) id: MutationId,
    /// How it stands
    #[arg(long, value_name = "STATUS")]
    pub(crate) status: Option<StatusWord>,
    /// Rows exported
    #[arg(long, value_name = "N")]
    pub(crate) records: Option<i32>,
    /// Size of the file in bytes
    #[arg(long, value_name = "BYTES")]
    pub(crate) size: Option<i64>,
    /// Where the file is
    #[arg(long = "file-url", value_name = "URL")]
    pub(crate) file_url: Option<String>,
    /// The export itself, when it is small: JSON
    #[arg(long, value_name = "JSON")]
    pub(crate) data: Option<String>,
    /// Why it failed, for people
    #[arg(long = "error", value_name = "TEXT")]
    pub(crate) error_message: Option<String>,
    /// Attempts beyond the first
    #[arg(long, value_name = "N")]
    pub(crate) retries: Option<i32>,
    /// When the work began
    #[arg(long, value_name = "TIME")]
    pub(crate) started_at: Option<Timestamp>,
    /// When it was ready
    #[arg(long, value_name = "TIME")]
    pub(crate) completed_at: Option<Timestamp>,
    /// How long the work took, in seconds
    #[arg(long, value_name = "SECONDS")]
    pub(crate) took: Option<i32>,
    /// When the file goes away
    #[arg(long, value_name = "TIME")]
    pub(crate) expires_at: Option<Timestamp>,
}

#[derive(Args)]
pub(crate) struct ListArgs {
    /// Only those that stand so
    #[arg(long, value_name = "STATUS")]
    pub(crate) status: Option<StatusWord>,
    /// Only those of this type
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) export_type: Option<String>,
    /// At most so many, 1 to 500
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub(crate) limit: u32,
    /// Those after this one of an earlier list: its id
    #[arg(long, value_name = "ID")]
    pub(crate) after: Option<MutationId>,
}
