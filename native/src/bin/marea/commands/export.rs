//! `marea export`: asks for exports, says what became of them, lists them. All of it works offline.

use marea_native::{
    Export, ExportChange, ExportInput, ExportKey, ExportPage, ExportQuery, MutationId, Recorded, block_on,
};

use super::files;
use super::record::{in_words_of_the_command_line, json, object};
use crate::cli::{CreateArgs, ExportCommand, Globals, ListArgs, UpdateArgs};
use crate::escape::inline;
use crate::failure::Failure;
use crate::identity::{identify, identify_to_record};
use crate::output::{Output, aligned, local, table};

pub(crate) fn run(globals: &Globals, command: &ExportCommand, output: &Output) -> Result<(), Failure> {
    match command {
        ExportCommand::Create(args) => create(globals, args, output),
        ExportCommand::Update(args) => update(globals, args, output),
        ExportCommand::List(args) => list(globals, args, output),
        ExportCommand::Files => files::list(globals, output),
        ExportCommand::Download { id, out } => files::download(globals, *id, out.as_deref(), output),
        ExportCommand::Link { id, expires } => files::link(globals, *id, *expires, output),
        ExportCommand::Pause { id } => files::change(globals, *id, files::Word::Pause, output),
        ExportCommand::Retry { id } => files::change(globals, *id, files::Word::Retry, output),
        ExportCommand::Cancel { id } => files::change(globals, *id, files::Word::Cancel, output),
        ExportCommand::Delete { id } => {
            let client = identify(globals)?.open()?;
            if block_on(client.export(*id))?.is_none() {
                return Err(unknown(*id));
            }
            let recorded = block_on(client.delete_export(*id)).map_err(in_words_of_the_command_line)?;
            said(&recorded, "Deleted export", output)
        }
        ExportCommand::Show { id } => {
            let found = block_on(identify(globals)?.open()?.export(*id))?;
            output.result(&found.ok_or_else(|| unknown(*id))?, one)
        }
    }
}

fn create(globals: &Globals, args: &CreateArgs, output: &Output) -> Result<(), Failure> {
    let input = ExportInput {
        id: args.id,
        export_type: args.export_type.clone(),
        export_format: args.format.clone(),
        filters: args.filters.as_deref().map(|text| object("--filters", text)).transpose()?,
    };
    let identity = identify_to_record(globals)?;
    let client = identity.open()?;
    let (recorded, what) = match files::file_for(&client, args)? {
        Some((file, records)) => {
            let recorded = block_on(client.create_export_with_file(input, file));
            let recorded = recorded.map_err(in_words_of_the_command_line)?;
            if let Some(records_count) = records {
                let change = ExportChange { records_count: Some(records_count), ..ExportChange::default() };
                block_on(client.update_export(recorded.id, change)).map_err(in_words_of_the_command_line)?;
            }
            (recorded, "Kept the file of export")
        }
        None => {
            let recorded = block_on(client.create_export(input)).map_err(in_words_of_the_command_line)?;
            (recorded, "Asked for export")
        }
    };
    identity.warn_of_a_guest(output);
    said(&recorded, what, output)
}

fn update(globals: &Globals, args: &UpdateArgs, output: &Output) -> Result<(), Failure> {
    let change = ExportChange {
        status: args.status.map(Into::into),
        records_count: args.records,
        file_size_bytes: args.size,
        file_url: args.file_url.clone(),
        data: args.data.as_deref().map(|text| json("--data", text)).transpose()?,
        error_message: args.error_message.clone(),
        retry_count: args.retries,
        started_at: args.started_at,
        completed_at: args.completed_at,
        processing_time_seconds: args.took,
        expires_at: args.expires_at,
    };
    let client = identify(globals)?.open()?;
    let recorded = block_on(client.update_export(args.id, change)).map_err(in_words_of_the_command_line)?;
    said(&recorded, "Noted the change", output)
}

fn said(recorded: &Recorded, what: &str, output: &Output) -> Result<(), Failure> {
    output.result(recorded, |recorded| {
        format!("{what} {} ({} waiting to be sent)\n", recorded.id, recorded.pending)
    })
}

fn list(globals: &Globals, args: &ListArgs, output: &Output) -> Result<(), Failure> {
    let client = identify(globals)?.open()?;
    let after = match args.after {
        None => None,
        Some(id) => {
            let export = block_on(client.export(id))?.ok_or_else(|| unknown(id))?;
            Some(ExportKey { created_at: export.created_at, id })
        }
    };
    let query = ExportQuery {
        status: args.status.map(Into::into),
        export_type: args.export_type.clone(),
        limit: Some(args.limit),
        after,
    };
    let page = block_on(client.exports(query)).map_err(in_words_of_the_command_line)?;
    output.result(&page, many)
}

fn unknown(id: MutationId) -> Failure {
    Failure::new(
        "not_found",
        format!("there is no export {id} in this mirror; `marea sync` fetches what is new"),
    )
}

fn many(page: &ExportPage) -> String {
    if page.exports.is_empty() {
        return "No exports. Ask for one with: marea export create --type vocabulary --format csv\n".into();
    }
    let rows: Vec<Vec<String>> = page
        .exports
        .iter()
        .map(|export| {
            vec![
                export.id.to_string(),
                export.export_type.clone(),
                export.export_format.clone(),
                export.status.clone(),
                export.records_count.map(|count| count.to_string()).unwrap_or_default(),
                local(export.created_at),
            ]
        })
        .collect();
    let mut text = table(&["Export", "Type", "Format", "Status", "Records", "Asked for"], &rows);
    if let Some(next) = &page.next {
        text += &format!("More: marea export list --after {}\n", next.id);
    }
    text
}

fn one(export: &Export) -> String {
    let mut lines = vec![
        ("Export", export.id.to_string()),
        ("Type", format!("{} as {}", export.export_type, export.export_format)),
        ("Status", export.status.clone()),
        ("Asked for", local(export.created_at)),
    ];
    let number = |value: Option<i64>| value.map(|value| value.to_string());
    let optional = [
        ("Records", number(export.records_count)),
        ("Bytes", number(export.file_size_bytes)),
        ("File", export.file_url.clone()),
        ("Error", export.error_message.clone()),
        ("Retries", number(export.retry_count.filter(|count| *count > 0))),
        ("Begun", export.started_at.map(local)),
        ("Ready", export.completed_at.map(local)),
        ("Took", export.processing_time_seconds.map(|seconds| format!("{seconds} s"))),
        ("Goes away", export.expires_at.map(local)),
        ("Filters", export.filters.as_ref().filter(|it| !it.is_null()).map(ToString::to_string)),
        ("Data", export.data.as_ref().filter(|it| !it.is_null()).map(ToString::to_string)),
    ];
    lines.extend(optional.into_iter().filter_map(|(label, text)| Some((label, text?))));
    lines.iter_mut().for_each(|(_, text)| *text = inline(text).into_owned());
    aligned(&lines)
}
