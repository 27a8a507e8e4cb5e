//! Access tokens that the app hands in. C calls no function back for them: it hands a new one in when it has one.

use std::sync::{Mutex, PoisonError};

use marea_native::auth::Secret;
use marea_native::{TokenFuture, TokenSource};

/// The latest token of the app.
#[derive(Default)]
pub(crate) struct Handed {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    token: Option<Secret>,
    /// It has been tried.
    handed_out: bool,
}

impl Handed {
    pub(crate) fn new(token: Option<Secret>) -> Handed {
        Handed { state: Mutex::new(State { token, handed_out: false }) }
    }

    /// Takes a newer token in the place of the last one.
    pub(crate) fn replace(&self, token: Option<Secret>) {
        *self.lock() = State { token, handed_out: false };
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // Replaced whole, so that a panic elsewhere cannot have left it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One handle for the client, one for the entry that hands tokens in.
pub(crate) struct Source(pub(crate) std::sync::Arc<Handed>);

impl TokenSource for Source {
    fn access_token(&self, refused: bool) -> TokenFuture<'_> {
        let mut state = self.0.lock();
        // Refused is what was handed out last; a token that came since has had no try.
        if refused && state.handed_out {
            state.token = None;
        }
        state.handed_out = state.token.is_some();
        let token = state.token.as_ref().map(|token| token.expose().to_owned());
        Box::pin(std::future::ready(token))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn ask(source: &Source, refused: bool) -> Option<String> {
        marea_native::block_on(source.access_token(refused))
    }

    #[test]
    fn a_refused_token_is_not_handed_out_again_and_a_new_one_is() {
        let handed = Arc::new(Handed::new(Some(Secret::new("first"))));
        let source = Source(Arc::clone(&handed));
        assert_eq!(ask(&source, false).as_deref(), Some("first"));
        assert_eq!(ask(&source, true), None);
        assert_eq!(ask(&source, false), None);
        handed.replace(Some(Secret::new("second")));
        assert_eq!(ask(&source, false).as_deref(), Some("second"));
        // Handed in while a request with the second was under way.
        handed.replace(Some(Secret::new("third")));
        assert_eq!(ask(&source, true).as_deref(), Some("third"));
        handed.replace(None);
        assert_eq!(ask(&source, false), None);
    }
}
