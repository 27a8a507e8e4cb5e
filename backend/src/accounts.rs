//! Accounts: sign-up, log-in, rotating refresh tokens, log-out. Plain SQL on one connection; the HTTP shapes are in
//! `gateway/auth.rs`.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use serde_json::Value;
use tokio::sync::{Mutex, MutexGuard};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Transaction};
use uuid::Uuid;

use crate::{Error, database, secrets};

/// One of the two accounts of a private database, and of somebody else's where that was asked for.
#[non_exhaustive]
pub struct Learner {
    /// The same in every backend, so that a test can name it.
    pub id: Uuid,
    /// What it signs in with.
    pub email: &'static str,
    /// Known to everybody: it opens nothing but a development database.
    pub password: &'static str,
}

/// The first demo account.
pub const LEARNER1: Learner = Learner {
    id: Uuid::from_u128(0x1ea4_0000_0000_4000_8000_0000_0000_0001),
    email: "learner1@example.com",
    password: "marea-demo",
};

/// The second demo account.
pub const LEARNER2: Learner = Learner {
    id: Uuid::from_u128(0x1ea4_0000_0000_4000_8000_0000_0000_0002),
    email: "learner2@example.com",
    password: "marea-demo",
};

/// Why an account call was refused.
pub(crate) enum Refusal {
    UserExists,
    WrongCredentials,
    UnknownRefreshToken,
    UsedRefreshToken,
    NoSession,
    NoUser,
    Internal,
}

impl From<tokio_postgres::Error> for Refusal {
    fn from(error: tokio_postgres::Error) -> Refusal {
        match error.code() {
            Some(code) if *code == SqlState::UNIQUE_VIOLATION => Refusal::UserExists,
            _ => Refusal::Internal,
        }
    }
}

impl From<Error> for Refusal {
    fn from(_: Error) -> Refusal {
        Refusal::Internal
    }
}

/// An account as the API shows it.
pub(crate) struct User {
    pub(crate) id: Uuid,
    pub(crate) email: String,
    pub(crate) metadata: Value,
    pub(crate) created_at: String,
    pub(crate) last_sign_in_at: String,
}

/// A log-in: what the tokens are made from.
pub(crate) struct SignedIn {
    pub(crate) user: User,
    pub(crate) session_id: Uuid,
    pub(crate) refresh_token: String,
}

const USER: &str = "SELECT id, email::text, coalesce(raw_user_meta_data, '{}') AS metadata,
    to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') AS created_at,
    to_char(last_sign_in_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') AS last_sign_in_at
    FROM auth.users WHERE id = $1";

/// The accounts of one database.
pub(crate) struct Accounts {
    url: String,
    client: Mutex<Client>,
}

impl Accounts {
    pub(crate) fn new(url: String, client: Client) -> Accounts {
        Accounts { url, client: Mutex::new(client) }
    }

    /// The connection, made anew when the server has gone away in between.
    async fn client(&self) -> Result<MutexGuard<'_, Client>, Error> {
        let mut client = self.client.lock().await;
        if client.is_closed() {
            *client = database::connect(&self.url).await?;
        }
        Ok(client)
    }

    pub(crate) async fn sign_up(
        &self,
        email: &str,
        password: String,
        data: Value,
    ) -> Result<SignedIn, Refusal> {
        let hash = hash_password(password).await?;
        let id = secrets::make_uuid()?;
        let mut client = self.client().await?;
        let transaction = client.transaction().await?;
        insert_user(&transaction, id, email, &hash, &data).await?;
        let signed_in = open_session(&transaction, id).await?;
        transaction.commit().await?;
        Ok(signed_in)
    }

    pub(crate) async fn sign_in(&self, email: &str, password: String) -> Result<SignedIn, Refusal> {
        let statement = "SELECT id, encrypted_password::text FROM auth.users WHERE lower(email) = $1";
        let row = self.client().await?.query_opt(statement, &[&email]).await?;
        let row = row.ok_or(Refusal::WrongCredentials)?;
        let hash = row.get::<_, Option<String>>(1).unwrap_or_default();
        if !is_password(password, hash).await {
            return Err(Refusal::WrongCredentials);
        }
        let mut client = self.client().await?;
        let transaction = client.transaction().await?;
        let signed_in = open_session(&transaction, row.get(0)).await?;
        transaction.commit().await?;
        Ok(signed_in)
    }

    /// Takes a refresh token, once, and gives the next. A second use means that somebody has a copy: it ends the session.
    pub(crate) async fn refresh(&self, token: &str) -> Result<SignedIn, Refusal> {
        let digest = secrets::derive_digest(token.as_bytes());
        let mut client = self.client().await?;
        let transaction = client.transaction().await?;
        // The row lock makes one of two callers at the same moment the second.
        let statement =
            "SELECT t.session_id, s.user_id, t.used_at IS NOT NULL FROM marea_backend.refresh_tokens t
            JOIN marea_backend.sessions s ON s.id = t.session_id WHERE t.digest = $1 FOR UPDATE OF t";
        let row = transaction.query_opt(statement, &[&digest]).await?;
        let row = row.ok_or(Refusal::UnknownRefreshToken)?;
        let (session_id, user_id): (Uuid, Uuid) = (row.get(0), row.get(1));
        if row.get(2) {
            transaction.execute("DELETE FROM marea_backend.sessions WHERE id = $1", &[&session_id]).await?;
            transaction.commit().await?;
            return Err(Refusal::UsedRefreshToken);
        }
        let statement = "UPDATE marea_backend.refresh_tokens SET used_at = now() WHERE digest = $1";
        transaction.execute(statement, &[&digest]).await?;
        let signed_in = next_token(&transaction, user_id, session_id).await?;
        transaction.commit().await?;
        Ok(signed_in)
    }

    /// The account, if the session (when the token names one) has not been ended.
    pub(crate) async fn user(&self, id: Uuid, session_id: Option<Uuid>) -> Result<User, Refusal> {
        let client = self.client().await?;
        let row = client.query_opt(USER, &[&id]).await?.ok_or(Refusal::NoUser)?;
        if let Some(session_id) = session_id {
            let statement = "SELECT FROM marea_backend.sessions WHERE id = $1 AND user_id = $2";
            client.query_opt(statement, &[&session_id, &id]).await?.ok_or(Refusal::NoSession)?;
        }
        Ok(user_of(row))
    }

    /// Ends sessions of `user_id`: the given one, all but it, or all.
    pub(crate) async fn sign_out(&self, user_id: Uuid, which: Sessions) -> Result<(), Refusal> {
        let (condition, session_id) = match which {
            Sessions::All => ("$2::uuid IS NULL", None),
            Sessions::One(id) => ("id = $2", Some(id)),
            Sessions::AllBut(id) => ("id <> $2", Some(id)),
        };
        let statement = format!("DELETE FROM marea_backend.sessions WHERE user_id = $1 AND {condition}");
        self.client().await?.execute(&statement, &[&user_id, &session_id]).await?;
        Ok(())
    }

    /// Makes the two demo accounts if they are not there. In somebody else's database it notes which, so that [`take_back`] finds them.
    pub(crate) async fn ensure_learners(&self, is_own: bool) -> Result<(), Error> {
        for learner in [LEARNER1, LEARNER2] {
            let doing = || Error::postgres(format!("could not make the account {}", learner.email));
            let statement = "SELECT FROM auth.users WHERE lower(email) = $1";
            let found = self.client().await?.query_opt(statement, &[&learner.email]).await.map_err(doing())?;
            if found.is_some() {
                continue;
            }
            let hash = hash_password(learner.password.to_owned()).await?;
            let mut client = self.client().await?;
            let transaction = client.transaction().await.map_err(doing())?;
            let data = Value::Object(serde_json::Map::new());
            let made =
                insert_user(&transaction, learner.id, learner.email, &hash, &data).await.map_err(doing())?;
            if !is_own {
                let statement =
                    "INSERT INTO marea_backend.demo_accounts VALUES ($1, $2) ON CONFLICT DO NOTHING";
                transaction.execute(statement, &[&learner.id, &made]).await.map_err(doing())?;
            }
            transaction.commit().await.map_err(doing())?;
        }
        Ok(())
    }
}

/// Which sessions a log-out ends.
pub(crate) enum Sessions {
    All,
    One(Uuid),
    AllBut(Uuid),
}

/// Removes the demo accounts that a backend has made in this database, with all that was recorded with them. Where something of the
/// app's holds on to one, its password goes.
pub(crate) async fn take_back(client: &Client) -> Result<(), Error> {
    let doing = || Error::postgres("could not take back the demo accounts");
    let made = client.query("SELECT id, with_app_row FROM marea_backend.demo_accounts", &[]).await;
    for row in made.map_err(doing())? {
        let (id, with_app_row): (Uuid, bool) = (row.get(0), row.get(1));
        let app_row =
            if with_app_row { format!("DELETE FROM public.users WHERE id = '{id}';") } else { String::new() };
        let all = format!("{app_row} DELETE FROM auth.users WHERE id = '{id}';");
        if client.batch_execute(&all).await.is_err() {
            let closed = "UPDATE auth.users SET encrypted_password = NULL WHERE id = $1";
            client.execute(closed, &[&id]).await.map_err(doing())?;
            client
                .execute("DELETE FROM marea_backend.sessions WHERE user_id = $1", &[&id])
                .await
                .map_err(doing())?;
        }
        let noted = "DELETE FROM marea_backend.demo_accounts WHERE id = $1";
        client.execute(noted, &[&id]).await.map_err(doing())?;
    }
    Ok(())
}

/// The account, and the app's own row for it; says whether that row was not there before.
async fn insert_user(
    transaction: &Transaction<'_>,
    id: Uuid,
    email: &str,
    hash: &str,
    data: &Value,
) -> Result<bool, tokio_postgres::Error> {
    let statement = r#"INSERT INTO auth.users (id, aud, role, email, encrypted_password, email_confirmed_at,
            last_sign_in_at, raw_app_meta_data, raw_user_meta_data, created_at, updated_at)
        VALUES ($1, 'authenticated', 'authenticated', $2, $3, now(), now(),
            '{"provider": "email", "providers": ["email"]}', $4, now(), now())"#;
    transaction.execute(statement, &[&id, &email, &hash, &data]).await?;
    // On Supabase an app often has a trigger on auth.users that does this.
    let statement = "INSERT INTO public.users (id, email) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING";
    Ok(transaction.execute(statement, &[&id, &email]).await? > 0)
}

async fn open_session(transaction: &Transaction<'_>, user_id: Uuid) -> Result<SignedIn, Refusal> {
    let session_id = secrets::make_uuid()?;
    let statement = "INSERT INTO marea_backend.sessions (id, user_id) VALUES ($1, $2)";
    transaction.execute(statement, &[&session_id, &user_id]).await?;
    transaction.execute("UPDATE auth.users SET last_sign_in_at = now() WHERE id = $1", &[&user_id]).await?;
    next_token(transaction, user_id, session_id).await
}

async fn next_token(
    transaction: &Transaction<'_>,
    user_id: Uuid,
    session_id: Uuid,
) -> Result<SignedIn, Refusal> {
    let refresh_token = secrets::make_secret()?;
    let digest = secrets::derive_digest(refresh_token.as_bytes());
    let statement = "INSERT INTO marea_backend.refresh_tokens (digest, session_id) VALUES ($1, $2)";
    transaction.execute(statement, &[&digest, &session_id]).await?;
    let user = user_of(transaction.query_one(USER, &[&user_id]).await?);
    Ok(SignedIn { user, session_id, refresh_token })
}

fn user_of(row: tokio_postgres::Row) -> User {
    User {
        id: row.get("id"),
        email: row.get::<_, Option<String>>("email").unwrap_or_default(),
        metadata: row.get("metadata"),
        created_at: row.get::<_, Option<String>>("created_at").unwrap_or_default(),
        last_sign_in_at: row.get::<_, Option<String>>("last_sign_in_at").unwrap_or_default(),
    }
}

/// Slow on purpose, so it does not run among the calls.
async fn hash_password(password: String) -> Result<String, Error> {
    let hash = move || Argon2::default().hash_password(password.as_bytes()).map(|hash| hash.to_string());
    match tokio::task::spawn_blocking(hash).await {
        Ok(Ok(hash)) => Ok(hash),
        _ => Err(Error::Cryptography),
    }
}

async fn is_password(password: String, hash: String) -> bool {
    let check = move || {
        let parsed = PasswordHash::new(&hash).ok();
        parsed.is_some_and(|it| Argon2::default().verify_password(password.as_bytes(), &it).is_ok())
    };
    tokio::task::spawn_blocking(check).await.unwrap_or(false)
}
