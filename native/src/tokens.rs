//! Where access tokens come from: the app's own sign-in, or [`crate::auth`].
//!
//! The client asks for a token for each request and keeps none that it has used. It asks on its own thread, in a tokio runtime.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use marea_core::Failure;
use zeroize::Zeroizing;

/// What [`TokenSource::access_token`] answers with: an access token, or `None` when there is none to be had now.
pub type TokenFuture<'a> = Pin<Box<dyn Future<Output = Option<String>> + Send + 'a>>;

/// What [`TokenSource::try_access_token`] answers with.
pub type TryTokenFuture<'a> = Pin<Box<dyn Future<Output = Result<Option<String>, Failure>> + Send + 'a>>;

/// Gives the client the signed-in user's access token (a JWT whose `sub` is the user).
///
/// Any `Fn(bool) -> impl Future<Output = Option<String>>` is one.
pub trait TokenSource: Send + Sync {
    /// The current access token. `refused` is true when the server did not accept the last one, so that handing out the same
    /// token again is of no use. `None` leaves the queue as it is and ends the sync with
    /// [`Outcome::NeedToken`](crate::Outcome::NeedToken).
    fn access_token(&self, refused: bool) -> TokenFuture<'_>;

    /// The same, for a source that can tell that nobody is signed in from not being able to say now: a failure means the
    /// latter ([`Failure::TokenUnavailable`] where no other fits), and it is asked again, a little later each time. The client
    /// calls this one.
    fn try_access_token(&self, refused: bool) -> TryTokenFuture<'_> {
        Box::pin(async move { Ok(self.access_token(refused).await) })
    }

    /// How long the client waits for an answer: what takes longer is a failure for now, and its token is used when the client asks
    /// again. Ten seconds, as in a browser; more for a source that ends by itself, and may have to ask a person first.
    fn patience(&self) -> Duration {
        Duration::from_secs(10)
    }

    /// Whether another program has got a token since the last one was handed out, so that a sync that waits for a sign-in may go
    /// on. A source that cannot tell says no; its app tells [`Signal::NewToken`](crate::Signal::NewToken).
    fn has_newer(&self) -> bool {
        false
    }
}

impl<F, R> TokenSource for F
where
    F: Fn(bool) -> R + Send + Sync,
    R: Future<Output = Option<String>> + Send + 'static,
{
    fn access_token(&self, refused: bool) -> TokenFuture<'_> {
        Box::pin(self(refused))
    }
}

/// One token and no way to a newer one: when the server refuses it, there is none.
pub struct StaticToken(Zeroizing<String>);

impl StaticToken {
    /// A source that gives this token until it is refused.
    pub fn new(token: impl Into<String>) -> StaticToken {
        StaticToken(Zeroizing::new(token.into()))
    }
}

impl TokenSource for StaticToken {
    fn access_token(&self, refused: bool) -> TokenFuture<'_> {
        let token = (!refused).then(|| self.0.to_string());
        Box::pin(std::future::ready(token))
    }
}

impl fmt::Debug for StaticToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("StaticToken(redacted)")
    }
}
