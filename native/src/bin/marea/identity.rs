//! Who the command works for: a token, a remembered account, a sign-in, or a guest; and with which server.
//!
//! It uses the network only to sign in an account that the folder does not know yet.

use std::io::IsTerminal as _;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::Duration;

use marea_core::Transport;
use marea_native::auth::{self, Account, Accounts, RememberedAccount, Secret};
use marea_native::{Client, Config, Error, StaticToken, TokenSource as _, UserId, block_on, has_guest};

use crate::cli::Globals;
use crate::escape::inline;
use crate::failure::Failure;
use crate::output::Output;

/// The user of this command, and how to speak to the server for them.
pub(crate) struct Identity {
    dir: PathBuf,
    user_id: UserId,
    server: Option<(String, String)>,
    allow_http: bool,
    tokens: Tokens,
    json: bool,
}

/// The engine's code for a damaged mirror whose place a new one has taken.
pub(crate) const SET_ASIDE: &str = "mirror_set_aside";

enum Tokens {
    Given(String),
    Remembered(RememberedAccount),
    /// Nobody has signed in.
    Guest,
}

/// Finds out who is asking: an account, or the guest whose work in this folder no account has yet.
pub(crate) fn identify(globals: &Globals) -> Result<Identity, Failure> {
    match identify_to_record(globals)? {
        guest if guest.user_id.is_guest() && !guest.has_work() => identify_account(globals),
        identity => Ok(identity),
    }
}

/// The same for what is recorded: without an account it is a guest's, and kept on this machine.
pub(crate) fn identify_to_record(globals: &Globals) -> Result<Identity, Failure> {
    let dir = globals.dir()?;
    let names_somebody = globals.token().is_some() || globals.email().is_some();
    if names_somebody || !Accounts::load(&dir)?.all().is_empty() {
        return identify_account(globals);
    }
    Ok(Identity {
        dir,
        user_id: UserId::GUEST,
        server: None,
        allow_http: false,
        tokens: Tokens::Guest,
        json: globals.json,
    })
}

/// The same for what needs an account.
pub(crate) fn identify_account(globals: &Globals) -> Result<Identity, Failure> {
    let dir = globals.dir()?;
    if let Some(token) = globals.token() {
        let user_id = match globals.user() {
            Some(user) => user.parse().map_err(|_| {
                Failure::usage("--user: expected the user's id, a UUID (or MAREA_USER)".to_owned())
            })?,
            None => auth::user_of_token(token.expose())?,
        };
        let server = globals.url().zip(globals.key()).map(|(url, key)| (url.to_owned(), key.to_owned()));
        return Ok(Identity {
            dir,
            user_id,
            server,
            allow_http: globals.allow_http,
            tokens: Tokens::Given(token.expose().to_owned()),
            json: globals.json,
        });
    }
    let accounts = Accounts::load(&dir)?;
    let account = match accounts.find(globals.url(), globals.email()).cloned() {
        Some(account) => account,
        None => sign_in(globals, &dir, &accounts)?,
    };
    // The sign-in service is behind the same gateway: a key that is given anew is for both.
    let anon_key = globals.key().unwrap_or(&account.anon_key).to_owned();
    let allow_http = globals.allow_http || account.allow_http;
    let account = Account { anon_key, allow_http, ..account };
    let server = Some((account.url.clone(), account.anon_key.clone()));
    let user_id = account.user_id;
    let tokens = Tokens::Remembered(RememberedAccount::new(&dir, account, globals.password().cloned()));
    Ok(Identity { dir, user_id, server, allow_http, tokens, json: globals.json })
}

fn sign_in(globals: &Globals, dir: &Path, known: &Accounts) -> Result<Account, Failure> {
    let Some(email) = globals.email() else {
        return Err(Failure::usage(match (globals.url(), known.find(None, None)) {
            (Some(url), Some(other)) => format!(
                "nobody has signed in to {url} here, but to {}: leave --url and MAREA_URL away to use that, or sign in with \
                 --email and --password",
                other.url
            ),
            _ => "nobody has signed in here yet: `marea account sign-in`, or give --email and --password (MAREA_EMAIL and \
                  MAREA_PASSWORD), or --token. What is recorded without goes into the account at the sign-in"
                .to_owned(),
        }));
    };
    sign_in_as(email, globals.url().zip(globals.key()), globals, dir).map_err(|failure| {
        let first = "nobody has signed in on this folder with that email and server before: sign in once with a network, then \
                     everything but `sync` works without one";
        match failure.code.as_str() {
            "offline" => Failure::new("offline", format!("{}; {first}", failure.message)),
            _ => failure,
        }
    })
}

/// Signs in whether the folder knows the account or not; what is not given is taken from the last sign-in, or asked for.
pub(crate) fn sign_in_anew(globals: &Globals) -> Result<Account, Failure> {
    let dir = globals.dir()?;
    let known = Accounts::load(&dir)?;
    // A new person on this folder probably uses the server that the others do.
    let before = known.find(globals.url(), globals.email()).or(known.find(globals.url(), None));
    let email = match (globals.email(), before) {
        (Some(email), _) => email.to_owned(),
        (None, Some(before)) => before.email.clone(),
        (None, None) => ask_email()?,
    };
    let url = globals.url().or(before.map(|account| account.url.as_str()));
    let anon_key = globals.key().or(before.map(|account| account.anon_key.as_str()));
    sign_in_as(&email, url.zip(anon_key), globals, &dir)
}

fn sign_in_as(
    email: &str,
    server: Option<(&str, &str)>,
    globals: &Globals,
    dir: &Path,
) -> Result<Account, Failure> {
    let Some((url, anon_key)) = server else {
        return Err(Failure::usage(
            "signing in needs the server: give --url and --key (or MAREA_URL and MAREA_KEY)",
        ));
    };
    let password = match globals.password() {
        Some(password) => password.clone(),
        None => ask_password(email)?,
    };
    let account = runtime()?.block_on(async {
        match globals.allow_http {
            true => auth::sign_in_allowing_http(url, anon_key, email, &password).await,
            false => auth::sign_in(url, anon_key, email, &password).await,
        }
    })?;
    Accounts::remember(dir, account.clone())?;
    Ok(account)
}

fn ask_email() -> Result<String, Failure> {
    let missing = || Failure::usage("who signs in is missing: give --email, or MAREA_EMAIL");
    if !std::io::stdin().is_terminal() {
        return Err(missing());
    }
    eprint!("Email: ");
    let mut email = String::new();
    std::io::stdin().read_line(&mut email).map_err(|_| missing())?;
    Some(email.trim().to_owned()).filter(|email| !email.is_empty()).ok_or_else(missing)
}

/// On a terminal a person is asked, without echo; a script is told what is missing.
fn ask_password(email: &str) -> Result<Secret, Failure> {
    let missing = || Failure::usage("the password is missing: give MAREA_PASSWORD, or --password");
    if !std::io::stdin().is_terminal() {
        return Err(missing());
    }
    rpassword::prompt_password(format!("Password of {}: ", inline(email)))
        .map(Secret::new)
        .map_err(|_| missing())
}

impl Identity {
    /// Opens the user's mirror to read and record. Uses no network.
    pub(crate) fn open(&self) -> Result<Opened, Failure> {
        let client = self.open_to_report()?;
        self.warn_of_damage(&client)?;
        Ok(client)
    }

    /// The same, for the commands whose own words include what became of a damaged mirror.
    pub(crate) fn open_to_report(&self) -> Result<Opened, Failure> {
        opened(Config::new(&self.dir, self.user_id))
    }

    /// Whether there is anything in a guest's mirror. One that cannot be read may hold something, and says so when it is opened.
    fn has_work(&self) -> bool {
        let pending = || Ok::<_, Failure>(block_on(opened(Config::guest(&self.dir))?.status())?.pending);
        has_guest(&self.dir) && pending().map_or(true, |pending| pending > 0)
    }

    /// Says where what a guest has recorded is kept.
    pub(crate) fn warn_of_a_guest(&self, output: &Output) {
        if self.user_id.is_guest() {
            let kept = "nobody has signed in, so this is kept on this machine alone; `marea account sign-in` brings it into the account";
            output.warning("guest", kept);
        }
    }

    /// That the mirror was damaged is said with every command until the next sync has filled its place.
    fn warn_of_damage(&self, client: &Client) -> Result<(), Failure> {
        match block_on(client.status())?.last_error {
            Some(error) if error.code == SET_ASIDE => {
                let place = client.set_aside().last().map(|path| format!(": {}", path.display()));
                let message = format!("{}{}", error.message, place.unwrap_or_default());
                Output::new(self.json).warning(&error.code, &message);
            }
            _ => {}
        }
        Ok(())
    }

    /// Opens the user's mirror to sync once, or by itself for as long as it is open: that tells all troubles as they come.
    pub(crate) fn open_to_sync(&self, by_itself: bool) -> Result<Opened, Failure> {
        if self.user_id.is_guest() {
            return Err(Failure::usage("nobody has signed in here yet: `marea account sign-in`"));
        }
        let (url, anon_key) = self.server.as_ref().ok_or_else(|| {
            Failure::usage("say which server: --url and --key (or MAREA_URL and MAREA_KEY)")
        })?;
        let config = Config::new(&self.dir, self.user_id).server(url, anon_key);
        let config = config.background_sync(by_itself).allow_http(self.allow_http);
        let config = match &self.tokens {
            Tokens::Given(token) => config.tokens(StaticToken::new(token.as_str())),
            Tokens::Remembered(account) => config.tokens(account.clone()),
            Tokens::Guest => config,
        };
        let client = opened(config)?;
        if !by_itself {
            self.warn_of_damage(&client)?;
        }
        Ok(client)
    }

    /// The server's address and key, once somebody has said them.
    pub(crate) fn server(&self) -> Option<(&str, &str)> {
        self.server.as_ref().map(|(url, key)| (url.as_str(), key.as_str()))
    }

    /// The way to that server, once it may be spoken to.
    pub(crate) fn transport(&self, url: &str, anon_key: &str) -> Result<Transport, Failure> {
        let transport = match self.allow_http {
            true => Transport::allowing_http(url, anon_key),
            false => Transport::new(url, anon_key),
        };
        Ok(transport.map_err(Error::from)?)
    }

    /// Whose mirror it is.
    pub(crate) fn user_id(&self) -> UserId {
        self.user_id
    }

    /// The access token that a request would carry now.
    pub(crate) async fn access_token(&self) -> Option<String> {
        match &self.tokens {
            Tokens::Given(token) => Some(token.clone()),
            Tokens::Remembered(account) => account.access_token(false).await,
            Tokens::Guest => None,
        }
    }

    /// Why there was no access token, when signing in or refreshing is what failed.
    pub(crate) fn token_problem(&self) -> Option<Error> {
        match &self.tokens {
            Tokens::Given(_) | Tokens::Guest => None,
            Tokens::Remembered(account) => account.take_problem(),
        }
    }
}

/// Opens a mirror, whoever's.
pub(crate) fn opened(config: Config) -> Result<Opened, Failure> {
    Ok(Opened(block_on(Client::open(config))?))
}

/// A client that is closed in order before the command ends: else its thread would be cut off, and leave the next command the
/// write-ahead log to go through.
pub(crate) struct Opened(Client);

impl Deref for Opened {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.0
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        // Everything acknowledged is durable already, and who has shut it down before has been told.
        let _ = block_on(self.0.shutdown(Duration::ZERO));
    }
}

/// For the commands that use the network: one thread is plenty for one conversation.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new("internal", format!("the system gave no runtime: {error}")))
}
