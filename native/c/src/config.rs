//! What `marea_open` is told, as JSON, and the client that comes of it.

use std::path::PathBuf;
use std::sync::Arc;

use marea_native::auth::{self, Accounts, RememberedAccount, Secret};
use marea_native::{Catalogue, Client, Config, Error, UserId, block_on};
use serde::Deserialize;

use crate::problem::{Problem, read_json};
use crate::tokens::{Handed, Source};

/// The members of the configuration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    /// The data folder.
    dir: PathBuf,
    user_id: Option<UserId>,
    /// Nobody has signed in.
    #[serde(default)]
    guest: bool,
    url: Option<String>,
    publishable_key: Option<String>,
    /// The older name of `publishable_key`, which loses where both are given.
    anon_key: Option<String>,
    access_token: Option<Secret>,
    /// Which of the accounts that have signed in on this folder.
    email: Option<String>,
    /// The catalogue of the mirrored tables; learned from the server when absent.
    schema: Option<serde_json::Value>,
    #[serde(default = "yes")]
    background_sync: bool,
    #[serde(default = "yes")]
    wakeups: bool,
    #[serde(default = "yes")]
    online: bool,
    /// Minutes after midnight at which the learner's day begins.
    day_starts_at: Option<u16>,
    /// Whether the server may be another machine without TLS.
    #[serde(default)]
    allow_http: bool,
}

fn yes() -> bool {
    true
}

/// An open client, and where its tokens are handed in when they are the app's.
pub(crate) struct Opened {
    pub(crate) client: Client,
    pub(crate) tokens: Option<Arc<Handed>>,
}

/// Opens the mirror that the configuration names. Waits for no network.
pub(crate) fn open(json: &str) -> Result<Opened, Problem> {
    let input: Input = read_json(json, "config")?;
    let given = input.user_id.is_some() || input.access_token.is_some() || input.email.is_some();
    if input.guest && given {
        let problem = "has guest beside user_id, access_token or email; a guest is nobody of these";
        return Err(Problem::Input("config", problem.to_owned()));
    }
    let account = match input.access_token {
        None if !input.guest => account(&input)?,
        _ => None,
    };
    let user_id = match (&input.user_id, &input.access_token, &account) {
        _ if input.guest => UserId::GUEST,
        (Some(user_id), ..) => *user_id,
        (None, Some(token), _) => auth::user_of_token(token.expose())?,
        (None, None, Some(account)) => account.user_id,
        (None, None, None) => {
            let problem = "names nobody: give user_id or access_token, or sign in on this folder first";
            return Err(Problem::Input("config", problem.to_owned()));
        }
    };
    let mut config = Config::new(&input.dir, user_id)
        .background_sync(input.background_sync)
        .wakeups(input.wakeups)
        .online(input.online);
    if let Some(schema) = &input.schema {
        config = config.schema(Catalogue::parse(&schema.to_string()).map_err(Error::from)?);
    }
    if let Some(minutes) = input.day_starts_at {
        config = config.day_starts_at(minutes);
    }
    config = config.allow_http(input.allow_http || account.as_ref().is_some_and(|known| known.allow_http));
    let known = account.as_ref().map(|account| (account.url.clone(), account.anon_key.clone()));
    let server = match (input.url, input.publishable_key.or(input.anon_key), known) {
        (Some(url), Some(key), _) => Some((url, key)),
        (Some(_), None, None) => {
            return Err(Problem::Input("config", "has a url and no publishable_key".to_owned()));
        }
        (_, key, Some((url, known_key))) => Some((url, key.unwrap_or(known_key))),
        (None, _, None) => None,
    };
    let handed = match &account {
        Some(_) => None,
        None => Some(Arc::new(Handed::new(input.access_token))),
    };
    if let Some((url, key)) = server {
        config = match (account, &handed) {
            // The sign-in service is behind the same gateway: a key that is given anew is for both.
            (Some(account), _) => {
                let allow_http = input.allow_http || account.allow_http;
                let account = auth::Account { anon_key: key.clone(), allow_http, ..account };
                config.tokens(RememberedAccount::new(&input.dir, account, None))
            }
            (None, Some(handed)) => config.tokens(Source(Arc::clone(handed))),
            (None, None) => config,
        };
        config = config.server(url, key);
    }
    Ok(Opened { client: block_on(Client::open(config))?, tokens: handed })
}

/// The remembered sign-in that is meant, if there is one.
fn account(input: &Input) -> Result<Option<auth::Account>, Problem> {
    let accounts = Accounts::load(&input.dir)?;
    let Some(user_id) = input.user_id else {
        return Ok(accounts.find(input.url.as_deref(), input.email.as_deref()).cloned());
    };
    let same_server =
        |url: &str| input.url.as_deref().is_none_or(|wanted| wanted.trim_end_matches('/') == url);
    let found = accounts.all().iter().find(|known| known.user_id == user_id && same_server(&known.url));
    Ok(found.cloned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: &str = "7d0c7d5e-0d0e-4c0f-9b3a-2f8f5a1b6c3d";

    #[test]
    fn a_user_may_come_from_a_token_and_nobody_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let config = |more: &str| format!(r#"{{"dir":{:?}{more}}}"#, folder.path());
        // `{}` . `{"sub": USER}` . nothing that any server would accept.
        let token =
            r#","access_token":"e30.eyJzdWIiOiI3ZDBjN2Q1ZS0wZDBlLTRjMGYtOWIzYS0yZjhmNWExYjZjM2QifQ.x""#;
        assert_eq!(open(&config(token)).unwrap().client.user_id().to_string(), USER);
        for refused in ["", r#","url":"http://localhost:1""#, r#","access_token":"secret""#] {
            let said = open(&config(refused)).err().unwrap().to_json();
            assert!(said.contains("invalid_input") && !said.contains("secret"), "{said}");
        }
        let wrong_address =
            format!(r#","url":"http://localhost:1/rest/v1","anon_key":"k","user_id":"{USER}""#);
        let said = open(&config(&wrong_address)).err().unwrap().to_json();
        assert!(said.contains("invalid_input") && said.contains("url: "), "{said}");
        let plain = r#","url":"http://10.0.0.1","anon_key":"k","access_token":"e30.eyJzdWIiOiI3ZDBjN2Q1ZS0wZDBlLTRjMGYtOWIzYS0yZjhmNWExYjZjM2QifQ.x""#;
        let said = open(&config(plain)).err().unwrap().to_json();
        assert!(said.contains("invalid_input") && said.contains("allow_http"), "{said}");
        assert!(open(&config(&format!(r#"{plain},"allow_http":true,"online":false"#))).is_ok());
        let no_key = format!(r#","url":"http://localhost:1","user_id":"{USER}""#);
        assert!(open(&config(&no_key)).err().unwrap().to_json().contains("no publishable_key"));
        assert!(open(&config(r#","guest":true"#)).unwrap().client.user_id().is_guest());
        let both = format!(r#","guest":true,"user_id":"{USER}""#);
        assert!(open(&config(&both)).err().unwrap().to_json().contains("a guest is nobody"));
    }
}
