//! What `marea key` says: which keys there are, what a change comes to, and what is shown once.

use marea_native::{KeyState, KeyView, Passphrase, Provider, VaultState, VaultStatus};
use serde::Serialize;

use crate::output::table;

/// What a change comes to.
#[derive(Serialize)]
pub(super) struct Changed {
    pub(super) done: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) provider: Option<Provider>,
    /// Mutations that wait for the next sync; nothing where the mirror could not say.
    pub(super) pending: Option<u32>,
    /// To be written down now: it is not shown again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) recovery_code: Option<String>,
    /// What the learner should know about it.
    pub(super) notes: Vec<String>,
}

/// What is shown of a generated passphrase before it counts; as JSON the beginning of the one document.
pub(super) fn shown_first(passphrase: &Passphrase, as_json: bool) -> String {
    let passphrase = passphrase.expose();
    match as_json {
        true => format!("{{\"passphrase\":{}", serde_json::Value::from(passphrase)),
        false => format!(
            "Keep this passphrase, it is not shown again. It counts once this command has ended well:\n\n  {passphrase}\n\n"
        ),
    }
}

pub(super) fn for_people(changed: &Changed) -> String {
    let waiting =
        changed.pending.map(|pending| format!(" ({pending} waiting to be sent)")).unwrap_or_default();
    let first = format!("{}{waiting}\n", changed.done);
    let code = changed
        .recovery_code
        .iter()
        .map(|code| format!("Write down the recovery code, it is not shown again:\n\n  {code}\n\n"));
    let notes = changed.notes.iter().map(|note| format!("{note}\n"));
    std::iter::once(first).chain(code).chain(notes).collect()
}

pub(super) fn listed(status: &VaultStatus) -> String {
    let state = |key: &KeyView| match key.state {
        KeyState::Open => key.hint.clone().unwrap_or_default(),
        KeyState::Locked => "sealed".into(),
        KeyState::OtherPassphrase => "sealed under another passphrase: `marea key join`".into(),
        _ => "damaged: `marea key set` it anew".into(),
    };
    let rows: Vec<Vec<String>> =
        status.keys.iter().map(|key| vec![key.provider.name().into(), state(key)]).collect();
    match (rows.is_empty(), status.state) {
        (true, VaultState::NotSetUp) => "No key, and no passphrase was chosen yet.\n".into(),
        (true, _) => "No key.\n".into(),
        (false, _) => table(&["Provider", "Key"], &rows),
    }
}
