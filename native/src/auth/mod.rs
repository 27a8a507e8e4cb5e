//! Signing in, for hosts that have no session of their own: passwords and refresh tokens as GoTrue serves them.
//!
//! [`sign_in`] turns an email and a password into an [`Account`]; [`Accounts`] remembers accounts in a file of the data folder;
//! [`RememberedAccount`] is a [`TokenSource`](crate::TokenSource) that keeps one of them fresh.
//!
//! The file is `session.json`, readable by its owner alone (mode 0600 on Unix), and written atomically. It holds tokens, never
//! passwords. Whoever can read it can act as the user until the user signs out: it is as private as the mirror beside it.
//!
//! Deliberately not here: sign-up, sign-out, social sign-in, and any verification of a token. The server verifies.

mod accounts;
mod claims;
mod gotrue;
mod remembered;
mod secret;

pub use accounts::{Account, Accounts};
pub use claims::user_of_token;
pub use gotrue::sign_in;
pub use remembered::RememberedAccount;
pub use secret::Secret;
