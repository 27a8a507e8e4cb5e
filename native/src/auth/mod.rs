//! Signing in, for hosts that have no session of their own: passwords and refresh tokens as GoTrue serves them.
//!
//! [`sign_in`] turns an email and a password into an [`Account`]; [`Accounts`] remembers accounts in a file of the data folder;
//! [`RememberedAccount`] is a [`TokenSource`](crate::TokenSource) that keeps one of them fresh.
//!
//! The file is `session.json`, readable by its owner alone (mode 0600 on Unix), and written atomically. It holds tokens, never
//! passwords. Whoever can read it can act as the user until the user signs out: it is as private as the mirror beside it.
//!
//! ```no_run
//! use std::path::Path;
//!
//! use marea_native::auth::{self, Accounts, RememberedAccount, Secret};
//! use marea_native::{Client, Config, Error};
//!
//! # async fn example(dir: &Path, password: Secret) -> Result<Client, Error> {
//! let (url, publishable_key) = ("https://project.supabase.co", "sb_publishable_...");
//! // Once, with a network.
//! let account = auth::sign_in(url, publishable_key, "ada@example.com", &password).await?;
//! Accounts::remember(dir, account)?;
//!
//! // At every later start, with or without one.
//! let account = Accounts::load(dir)?.find(Some(url), None).cloned().ok_or(Error::SignInEnded)?;
//! let config = Config::new(dir, account.user_id).server(url, publishable_key);
//! Client::open(config.tokens(RememberedAccount::new(dir, account, None))).await
//! # }
//! ```
//!
//! [`Accounts::move_to_keychain`] lets the system's keychain hold the tokens in place of the file, where there is one.
//!
//! [`sign_out`] ends it again, and keeps the queue.
//!
//! Deliberately not here: sign-up, social sign-in, and any verification of a token. The server verifies.

mod accounts;
mod claims;
mod gotrue;
mod remembered;
mod secret;
mod tokens;

pub(crate) use accounts::FILE_NAME as ACCOUNTS_FILE;
pub use accounts::{Account, Accounts};
pub use claims::user_of_token;
pub use gotrue::{sign_in, sign_in_allowing_http, sign_out};
pub use remembered::RememberedAccount;
pub use secret::Secret;
