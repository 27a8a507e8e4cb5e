//! What `marea doctor` says of a mirror that can be read: sound or not, and who else may write, or has written, where it is.

use marea_native::{Client, Status, block_on, who_else_may_write};

use super::doctor::{Check, Verdict};
use crate::failure::Failure;

pub(super) fn mirror_in_order(client: &Client, status: &Status) -> Result<Check, Failure> {
    let path = client.mirror_path();
    let bytes = std::fs::metadata(path).map_or(0, |found| found.len());
    let found =
        format!("sound, schema {}, {} KiB at {}", status.mirror_version, bytes / 1024, path.display());
    let warning = |more: String| Check::new("mirror", Verdict::Warning, format!("{found}; {more}"));
    let foreign = block_on(client.foreign_objects())?;
    if !foreign.is_empty() {
        let what = foreign.join(", ");
        return Ok(warning(format!("somebody else has written into it: {what}, which is not run")).mend(
            "Find out which program has the file open and end that. `marea queue export` saves what was not sent; a mirror that is \
             moved away is made again by the next sync.",
        ));
    }
    let files = path.with_extension("files");
    let places =
        [(path.parent().unwrap_or(path), "its folder"), (files.as_path(), "the folder of its files")];
    for (folder, what) in places {
        if let Ok(Some(who)) = who_else_may_write(folder) {
            return Ok(warning(format!("{who} may write in {what}, and put another file in its place"))
                .mend(format!("Let its owner alone write there: chmod go-w {}", folder.display())));
        }
    }
    Ok(match client.set_aside().last() {
        None => Check::new("mirror", Verdict::Ok, found),
        Some(damaged) => warning(format!("a damaged one was set aside as {}", damaged.display())).mend(
            "What could be read of its queue was restored. Delete it and what lies beside it once nothing is missed.",
        ),
    })
}
