//! A remembered account as a source of access tokens: hands out the stored one, buys a new one when it is spent.
//!
//! It decides nothing about syncing. What went wrong last is kept for whoever wants to explain a missing token.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use marea_core::Failure;

use super::accounts;
use super::{Account, Accounts, Secret, gotrue};
use crate::tokens::{TokenFuture, TokenSource, TryTokenFuture};
use crate::{Error, clock, keychain};

/// A token that ends within this time is replaced first, so that it does not end on its way.
const EXPIRY_MARGIN_SECONDS: i64 = 30;

/// A question of the keychain's takes a minute at most, and each of three requests ten seconds.
const PATIENCE: Duration = Duration::from_secs(100);

/// Keeps one account of a data folder signed in. Cheap to clone.
#[derive(Clone)]
pub struct RememberedAccount {
    shared: Arc<Shared>,
}

struct Shared {
    dir: PathBuf,
    /// The account as it was when this was made; the tokens in the file may be newer.
    account: Account,
    /// Signs in anew when the refresh token is spent.
    password: Option<Secret>,
    state: Mutex<State>,
    /// One refresh at a time.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    handed_out: Option<Secret>,
    /// What the file said when it was last looked at: the token, or that it is in the keychain, and when it ends.
    looked_at: Option<(Secret, i64)>,
    problem: Option<Error>,
}

impl RememberedAccount {
    /// Keeps `account`, remembered in `dir`, signed in. With a password, a sign-in that has ended is made anew.
    pub fn new(dir: &Path, account: Account, password: Option<Secret>) -> RememberedAccount {
        let shared = Shared {
            dir: dir.to_owned(),
            account,
            password,
            state: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        };
        RememberedAccount { shared: Arc::new(shared) }
    }

    /// Why there was no token the last time there was none. Taken, so that it is told once.
    pub fn take_problem(&self) -> Option<Error> {
        self.state().problem.take()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // Each field is replaced whole, so that a panic elsewhere cannot have left them half changed.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The token; `None` when the sign-in is over.
    async fn token(&self, refused: bool) -> Result<Option<Secret>, Failure> {
        let _turn = self.shared.turn.lock().await;
        let found = self.stored_or_new(refused).await;
        let looked_at = self.in_file().ok().map(|account| (account.access_token, account.expires_at));
        let mut state = self.state();
        state.looked_at = looked_at;
        match found {
            Ok(token) => {
                state.problem = None;
                state.handed_out = Some(token.clone());
                Ok(Some(token))
            }
            Err(error) => {
                tracing::debug!(code = error.code(), "no access token could be had");
                let failure = without_token(&error);
                state.problem = Some(error);
                failure.map_or(Ok(None), Err)
            }
        }
    }

    async fn stored_or_new(&self, refused: bool) -> Result<Secret, Error> {
        let stored = self.stored().await?;
        if self.is_usable(&stored, refused) {
            return Ok(stored.access_token);
        }
        let dir = self.shared.dir.clone();
        let lock =
            tokio::task::spawn_blocking(move || accounts::lock(&dir)).await.map_err(|_| Error::Closed)??;
        // Another process may have refreshed while this one waited.
        let stored = self.stored().await?;
        if self.is_usable(&stored, refused) {
            return Ok(stored.access_token);
        }
        // Whoever stops waiting, or ends, leaves it running until the new token is kept: the old one is spent by then.
        let (renewing, spent) = (self.clone(), stored.clone());
        let renewed = keychain::off_thread(move || {
            let _held = lock;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|source| Error::NoResources { source })?;
            let renewed = runtime.block_on(renewing.renew(&spent));
            runtime.shutdown_background();
            renewed
        });
        match renewed.await {
            // By the server's clock it may still be good; if not, or if there is no network, the sync itself finds out, and says
            // so better than a missing token could.
            Err(error) if !refused && without_token(&error).is_some() => Ok(stored.access_token),
            renewed => Ok(renewed?.access_token),
        }
    }

    /// The account with its tokens, which the keychain may have to be asked for.
    async fn stored(&self) -> Result<Account, Error> {
        let account = self.in_file()?;
        let accounts = Accounts::load(&self.shared.dir)?;
        if !accounts.are_in_keychain() {
            return Ok(account);
        }
        let dir = self.shared.dir.clone();
        keychain::off_thread(move || accounts.with_tokens(&dir, account)).await
    }

    fn in_file(&self) -> Result<Account, Error> {
        let mine = &self.shared.account;
        let accounts = Accounts::load(&self.shared.dir)?;
        let found = accounts.find_user(&mine.url, mine.user_id).cloned().ok_or(Error::SignInEnded)?;
        // The key may have been given anew, because the server has retired the one of the sign-in.
        let allow_http = mine.allow_http || found.allow_http;
        Ok(Account { anon_key: mine.anon_key.clone(), allow_http, ..found })
    }

    fn is_usable(&self, account: &Account, refused: bool) -> bool {
        let spent = account.expires_at <= clock::unix_seconds().saturating_add(EXPIRY_MARGIN_SECONDS);
        let is_the_refused_one = refused && self.state().handed_out.as_ref() == Some(&account.access_token);
        !spent && !is_the_refused_one
    }

    /// The caller holds the lock of the file.
    async fn renew(&self, stored: &Account) -> Result<Account, Error> {
        let renewed = match (gotrue::refresh(stored).await, &self.shared.password) {
            (Err(Error::SignInEnded), Some(password)) => {
                let account = gotrue::sign_in_to(gotrue::Server::of(stored), &stored.email, password).await?;
                if account.user_id != stored.user_id {
                    return Err(Error::SignInEnded);
                }
                account
            }
            (renewed, _) => renewed?,
        };
        accounts::remember_locked(&self.shared.dir, renewed.clone())?;
        Ok(renewed)
    }
}

/// What a sync has met that got no token; `None` when the sign-in is over, and only then: everything else may pass.
fn without_token(error: &Error) -> Option<Failure> {
    match error {
        Error::SignInEnded | Error::SignInRefused | Error::SignInNotAllowed { .. } => None,
        Error::ApiKeyRefused => Some(Failure::ApiKeyRefused),
        Error::AccountDeleted => Some(Failure::AccountDeleted),
        Error::Offline { reason } if reason.is_offline() => Some(reason.clone()),
        _ => Some(Failure::TokenUnavailable),
    }
}

impl TokenSource for RememberedAccount {
    fn access_token(&self, refused: bool) -> TokenFuture<'_> {
        Box::pin(async move { self.try_access_token(refused).await.ok().flatten() })
    }

    fn try_access_token(&self, refused: bool) -> TryTokenFuture<'_> {
        Box::pin(async move { Ok(self.token(refused).await?.map(|token| token.expose().to_owned())) })
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }

    fn has_newer(&self) -> bool {
        let Some(looked_at) = self.state().looked_at.clone() else { return false };
        self.in_file().is_ok_and(|now| (now.access_token, now.expires_at) != looked_at)
    }
}

impl fmt::Debug for RememberedAccount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RememberedAccount").field("dir", &self.shared.dir).finish_non_exhaustive()
    }
}
