//! One merge rule for every column of the built-in tables. The SQL side's comments name the same rules.

pub use crate::catalogue::Rule;
use crate::catalogue::builtin;
use crate::model::Table;

/// The rule of a column; `None` for a column that this version does not know.
pub fn rule_of(table: Table, column: &str) -> Option<Rule> {
    match table {
        Table::Sessions | Table::ProgressEvents => Some(Rule::Event),
        Table::ExportHistory | Table::UserApiKeys => {
            // The key is set with the row: by the device that makes it, or by the server for the one row of a user.
            let of_key = if table == Table::ExportHistory { Rule::Once } else { Rule::Server };
            let described = builtin().iter().find(|described| described.table == table)?;
            match described.rule(column) {
                Some(Rule::Key) => Some(of_key),
                None if column == "user_id" => Some(of_key),
                rule => rule,
            }
        }
        Table::UserProgress => match column {
            "id" | "user_id" | "created_at" | "updated_at" => Some(Rule::Server),
            "achievements" => Some(Rule::Union),
            "total_descriptions"
            | "total_images"
            | "total_questions_answered"
            | "total_questions_correct"
            | "total_vocabulary_learned"
            | "total_sessions"
            | "total_time_spent_minutes"
            | "current_streak_days"
            | "longest_streak_days"
            | "total_points"
            | "average_accuracy"
            | "average_completion_time_seconds"
            | "mastered_words_count"
            | "learning_words_count"
            | "new_words_count"
            | "last_activity_at"
            | "last_description_at"
            | "last_qa_session_at"
            | "last_vocabulary_practice_at"
            | "last_active_on" => Some(Rule::Fold),
            _ => None,
        },
        Table::DailyActivity => match column {
            "user_id" | "day" | "sessions" | "minutes" | "questions" | "correct" | "words" | "points"
            | "frozen" => Some(Rule::Fold),
            _ => None,
        },
        // What the catalogue says of it.
        Table::Mirrored(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Progress, UserId};

    #[test]
    fn every_column_of_progress_has_a_rule() {
        let row = serde_json::to_value(Progress::empty(UserId::from(uuid::Uuid::nil()))).unwrap();
        // What a reader is told about the days is no column.
        for column in row
            .as_object()
            .unwrap()
            .keys()
            .filter(|name| !["future_days", "frozen_days"].contains(&name.as_str()))
        {
            assert!(rule_of(Table::UserProgress, column).is_some(), "{column}");
        }
    }

    #[test]
    fn every_column_of_the_other_tables_has_its_rule_and_a_stranger_has_none() {
        let exports = "export_type export_format filters created_at id user_id";
        let outcome = "status records_count file_size_bytes file_url data error_message retry_count started_at completed_at \
                       processing_time_seconds expires_at";
        let keys = "openai_api_key unsplash_api_key anthropic_api_key last_validated_at";
        let of_server = "id user_id created_at updated_at";
        for (table, columns, rule) in [
            (Table::Sessions, "id minutes", Rule::Event),
            (Table::ProgressEvents, "id points", Rule::Event),
            (Table::ExportHistory, exports, Rule::Once),
            (Table::ExportHistory, outcome, Rule::Register),
            (Table::ExportHistory, "updated_at", Rule::Server),
            (Table::UserApiKeys, keys, Rule::Register),
            (Table::UserApiKeys, of_server, Rule::Server),
            (Table::UserProgress, of_server, Rule::Server),
            (Table::UserProgress, "achievements", Rule::Union),
            (
                Table::DailyActivity,
                "user_id day sessions minutes questions correct words points frozen",
                Rule::Fold,
            ),
        ] {
            for column in columns.split_whitespace() {
                assert_eq!(rule_of(table, column), Some(rule), "{}.{column}", table.name());
            }
        }
        for table in [Table::ExportHistory, Table::UserApiKeys, Table::UserProgress, Table::DailyActivity] {
            assert_eq!(rule_of(table, "surprise"), None);
        }
    }
}
