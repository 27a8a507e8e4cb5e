//! `marea session record`: one completed session, durable when its id is printed.

use marea_native::{Error, SessionInput, block_on};
use serde_json::{Map, Value};

use crate::cli::{Globals, RecordArgs};
use crate::failure::Failure;
use crate::identity::identify;
use crate::output::Output;

pub(crate) fn run(globals: &Globals, args: &RecordArgs, output: &Output) -> Result<(), Failure> {
    let input = input(args)?;
    let client = identify(globals)?.open()?;
    let recorded = block_on(client.record_session(input)).map_err(in_words_of_the_command_line)?;
    output.result(&recorded, |recorded| {
        format!("Recorded session {} ({} waiting to be sent)\n", recorded.id, recorded.pending)
    })
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
        session_data: args.data.as_deref().map(object).transpose()?,
    })
}

/// The engine names the field that it refuses; a person has typed an option.
fn in_words_of_the_command_line(error: Error) -> Failure {
    let Error::Engine(marea_core::Error::InvalidInput { field, problem }) = &error else {
        return error.into();
    };
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
        "session_data" => "--data",
        other => other,
    };
    Failure::new(error.code(), format!("{option}: {problem}"))
}

/// Reads `--data`. The parser's own message would repeat what the learner wrote, so only the place is told.
fn object(text: &str) -> Result<Map<String, Value>, Failure> {
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Failure::usage("the value of --data is JSON, but not an object in braces")),
        Err(error) => Err(Failure::usage(format!(
            "the value of --data is not JSON: the mistake is at line {}, column {}",
            error.line(),
            error.column()
        ))),
    }
}
