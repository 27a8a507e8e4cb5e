//! `marea session record` and `marea event record`: one fact, durable when its id is printed.

use marea_native::{Error, EventInput, Recorded, SessionInput, block_on};
use serde_json::{Map, Value};

use crate::cli::{EventArgs, Globals, RecordArgs};
use crate::failure::Failure;
use crate::identity::identify_to_record;
use crate::output::Output;

pub(crate) fn session(globals: &Globals, args: &RecordArgs, output: &Output) -> Result<(), Failure> {
    let input = input(args)?;
    let identity = identify_to_record(globals)?;
    let client = identity.open()?;
    let recorded = block_on(client.record_session(input)).map_err(in_words_of_the_command_line)?;
    identity.warn_of_a_guest(output);
    warn_of_a_day_ahead(&recorded, output);
    output.result(&recorded, |recorded| {
        format!("Recorded session {} ({} waiting to be sent)\n", recorded.id, recorded.pending)
    })
}

pub(crate) fn event(globals: &Globals, args: &EventArgs, output: &Output) -> Result<(), Failure> {
    let input = EventInput {
        id: args.id,
        occurred_at: args.occurred_at,
        local_date: args.local_date,
        descriptions: args.descriptions,
        images: args.images,
        questions_answered: args.questions,
        questions_correct: args.correct,
        vocabulary_learned: args.words,
        minutes: args.minutes,
        points: args.points,
        mastered_words: args.mastered,
        learning_words: args.learning,
        new_words: args.new,
        achievements: args.achievements.clone(),
        freezes_day: args.freeze,
    };
    let identity = identify_to_record(globals)?;
    let client = identity.open()?;
    let recorded = block_on(client.record_event(input)).map_err(in_words_of_the_command_line)?;
    identity.warn_of_a_guest(output);
    warn_of_a_day_ahead(&recorded, output);
    output.result(&recorded, |recorded| {
        format!("Recorded award {} ({} waiting to be sent)\n", recorded.id, recorded.pending)
    })
}

/// A day after tomorrow is nearly always a wrong clock or a typing error.
fn warn_of_a_day_ahead(recorded: &Recorded, output: &Output) {
    if let Some(day) = recorded.counts_from {
        let problem = format!(
            "{day} lies after tomorrow: it is in the totals now, and counts for the streak once it has come; look at this \
             machine's clock if that is not what you meant"
        );
        output.warning("future_day", &problem);
    }
}

fn input(args: &RecordArgs) -> Result<SessionInput, Failure> {
    Ok(SessionInput {
        id: args.id,
        session_type: args.session_type.clone(),
        started_at: args.started_at,
        ended_at: args.ended_at,
        local_date: args.local_date,
        duration_minutes: args.minutes,
        images_processed: args.images,
        descriptions_generated: args.descriptions,
        qa_attempts: args.questions,
        qa_correct: args.correct,
        vocabulary_learned: args.words,
        phrases_saved: args.phrases,
        session_data: args.data.as_deref().map(|text| object("--data", text)).transpose()?,
    })
}

/// The engine names the field that it refuses; a person has typed an option.
pub(super) fn in_words_of_the_command_line(error: Error) -> Failure {
    let Error::Engine(marea_core::Error::InvalidInput { field, problem }) = &error else {
        return error.into();
    };
    let problem = problem
        .replace("qa_attempts", "--questions")
        .replace("questions_answered", "--questions")
        .replace("duration_minutes", "--minutes")
        .replace("ended_at", "--ended-at");
    let option = match *field {
        "session_type" => "--type",
        "duration_minutes" => "--minutes",
        "images_processed" => "--images",
        "descriptions_generated" => "--descriptions",
        "qa_attempts" => "--questions",
        "qa_correct" => "--correct",
        "vocabulary_learned" => "--words",
        "phrases_saved" => "--phrases",
        "started_at" => "--started-at",
        "ended_at" => "--ended-at",
        "local_date" => "--local-date",
        "session_data" | "data" => "--data",
        "occurred_at" => "--occurred-at",
        "questions_answered" => "--questions",
        "questions_correct" => "--correct",
        "points" => "--points",
        "minutes" => "--minutes",
        "images" => "--images",
        "descriptions" => "--descriptions",
        "mastered_words" => "--mastered",
        "learning_words" => "--learning",
        "new_words" => "--new",
        "achievements" => "--achievement",
        "freezes_day" => "--freeze",
        "export_type" => "--type",
        "export_format" => "--format",
        "filters" => "--filters",
        "expires_in_seconds" => "--expires",
        "records_count" => "--records",
        "file_size_bytes" => "--size",
        "file_url" => "--file-url",
        "error_message" => "--error",
        "retry_count" => "--retries",
        "processing_time_seconds" => "--took",
        "limit" => "--limit",
        "id" => "ID",
        other => other,
    };
    Failure::new(error.code(), format!("{option}: {problem}"))
}

/// Reads an option's JSON. The parser's own message would repeat what the learner wrote, so only the place is told.
pub(super) fn json(option: &str, text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Failure::usage(format!(
            "the value of {option} is not JSON: the mistake is at line {line}, column {column}"
        ))
    })
}

/// Reads an option's JSON object.
pub(super) fn object(option: &str, text: &str) -> Result<Map<String, Value>, Failure> {
    match json(option, text)? {
        Value::Object(object) => Ok(object),
        _ => Err(Failure::usage(format!("the value of {option} is JSON, but not an object in braces"))),
    }
}
