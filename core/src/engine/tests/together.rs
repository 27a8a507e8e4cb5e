//! Changes that come together: one transaction, an outcome for each.

use super::*;
use crate::model::{ExportChange, ExportInput, ExportStatus};

fn id(last: u32) -> MutationId {
    format!("01890a5d-ac96-774b-bcce-{last:012}").parse().unwrap()
}

fn status(status: ExportStatus) -> ExportChange {
    ExportChange { status: Some(status), ..ExportChange::default() }
}

#[test]
fn each_has_its_own_outcome_and_a_refused_one_keeps_no_other_back() {
    let mut engine = engine();
    let wrong = SessionInput::new("");
    let nowhere = Change::UpdateExport { id: id(9), change: status(ExportStatus::Failed) };
    let outcomes = engine
        .mutate_all(
            vec![
                (None, session(10).into()),
                (None, wrong.into()),
                (None, nowhere),
                (Some(id(1)), session(5).into()),
                (Some(id(1)), session(5).into()),
            ],
            at(0),
        )
        .unwrap();
    let codes: Vec<&str> =
        outcomes.iter().map(|outcome| outcome.as_ref().map_or_else(Error::code, |_| "done")).collect();
    assert_eq!(codes, ["done", "invalid_input", "invalid_input", "done", "done"]);
    assert_eq!(totals(&engine), (2, 15), "the same id is the same session");
    assert_eq!(outcomes[0].as_ref().unwrap().pending, 2);
    assert_eq!(engine.mutate_all(Vec::new(), at(0)).unwrap().len(), 0);
}

#[test]
fn a_change_that_is_handed_on_twice_does_not_undo_what_came_between() {
    let mut engine = engine();
    let export = ExportInput {
        id: Some(id(1)),
        export_type: "progress".to_owned(),
        export_format: "csv".to_owned(),
        ..ExportInput::default()
    };
    engine.mutate(Change::CreateExport(export), at(0)).unwrap();
    let update = |status_to| Change::UpdateExport { id: id(1), change: status(status_to) };
    let first = (Some(id(2)), update(ExportStatus::Processing));
    engine.mutate_all(vec![first.clone()], at(1)).unwrap();
    engine.mutate_all(vec![(Some(id(3)), update(ExportStatus::Completed))], at(2)).unwrap();
    let again = engine.mutate_all(vec![first], at(3)).unwrap();
    assert_eq!(again[0].as_ref().unwrap().id, id(2));
    assert_eq!(engine.export(id(1)).unwrap().unwrap().status, "completed");
}
