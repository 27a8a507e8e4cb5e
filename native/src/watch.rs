//! [`Watch`]: a value that is told whenever it changes.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use tokio_stream::wrappers::WatchStream;

/// The latest value of something, again whenever it changes; the first one is what it is now.
///
/// There is one place for the latest value: a slow reader misses those in between, never the last one, and delays nobody. It ends
/// when the client is closed. Dropping it ends the watching.
///
/// Works with any executor, as a [`Stream`] or with [`Watch::next`].
pub struct Watch<T> {
    latest: WatchStream<Option<T>>,
}

impl<T: Clone + Send + Sync + 'static> Watch<T> {
    pub(crate) fn new(latest: tokio::sync::watch::Receiver<Option<T>>) -> Watch<T> {
        Watch { latest: WatchStream::new(latest) }
    }

    /// Waits for the next value; `None` when the client is closed.
    pub async fn next(&mut self) -> Option<T> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl<T: Clone + Send + Sync + 'static> Stream for Watch<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        loop {
            match ready!(Pin::new(&mut self.latest).poll_next(context)) {
                Some(Some(value)) => return Poll::Ready(Some(value)),
                // Before the first value was read.
                Some(None) => {}
                None => return Poll::Ready(None),
            }
        }
    }
}

impl<T> fmt::Debug for Watch<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Watch").finish_non_exhaustive()
    }
}
