//! Watching: a function of the app's that is called with the latest value, now and whenever it changes.
//!
//! Each watch has a thread of its own, so that a slow callback delays nobody else.

use std::ffi::{c_char, c_void};
use std::thread::{self, JoinHandle};

use marea_native::{Client, Error, Watch, block_on};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::oneshot;

use super::client::{MareaClient, client_of};
use super::edge::{
    clear, free_text, give_handle, give_text, guard, handle, parsed, take_handle, text, to_json,
};
use super::exports::query;
use super::tables::{list_query, params};
use crate::code::MareaCode;
use crate::problem::Problem;

/// Called with a value as JSON, which belongs to the library and is good until the function returns; with NULL, once and last, when
/// the client was closed.
///
/// It is called on a thread of the library, one for each watch: for one watch never twice at the same time, for two watches
/// perhaps. It may call any function of the library, also `marea_watch_stop` for its own watch. It must not throw or longjmp. A slow
/// one misses values in between, never the last.
pub type MareaCallback = Option<unsafe extern "C" fn(context: *mut c_void, value: *const c_char)>;

/// A value that is being watched.
pub struct MareaWatch {
    /// Dropped, it ends the thread's waiting.
    stop: Option<oneshot::Sender<()>>,
    thread: JoinHandle<()>,
}

/// The app's function and what it wants to be called with.
struct Listener {
    callback: unsafe extern "C" fn(*mut c_void, *const c_char),
    context: *mut c_void,
}

// SAFETY: the header says that the function is called on a thread of the library, with this context.
unsafe impl Send for Listener {}

impl Listener {
    fn tell(&self, value: Option<&str>) {
        let mut text = std::ptr::null_mut();
        // SAFETY: the function is the app's, which has promised to stand being called; the text is freed once, here.
        unsafe {
            if let Some(value) = value {
                give_text(&mut text, value);
            }
            (self.callback)(self.context, text);
            free_text(text);
        }
    }
}

/// Calls the listener for each value, until it is told to stop or the client is closed.
async fn listen<T: Serialize + Clone + Send + Sync + 'static>(
    mut watch: Watch<T>,
    mut stopped: oneshot::Receiver<()>,
    listener: Listener,
) {
    loop {
        tokio::select! {
            biased;
            _ = &mut stopped => return,
            value = watch.next() => match value {
                // All that can be watched is JSON.
                Some(value) => if let Ok(text) = to_json(&value) { listener.tell(Some(&text)) },
                None => return listener.tell(None),
            },
        }
    }
}

unsafe fn start<T>(
    client: *const MareaClient,
    callback: MareaCallback,
    context: *mut c_void,
    watch: *mut *mut MareaWatch,
    begin: impl AsyncFnOnce(&Client) -> Result<Watch<T>, Error>,
) -> Result<(), Problem>
where
    T: Serialize + Clone + Send + Sync + 'static,
{
    let client = unsafe { client_of(client)? };
    let callback = callback.ok_or(Problem::Null("callback"))?;
    unsafe { handle(watch, "watch")? };
    let listener = Listener { callback, context };
    let values = block_on(begin(client))?;
    let (stop, stopped) = oneshot::channel();
    let run = move || block_on(listen(values, stopped, listener));
    let thread =
        thread::Builder::new().name("marea-watch".to_owned()).spawn(run).map_err(Problem::NoResources)?;
    unsafe { give_handle(watch, MareaWatch { stop: Some(stop), thread }) };
    Ok(())
}

/// Ends a watch and frees its handle. When this returns, the callback is not running and is not called again; called from inside
/// of the callback, that is so as soon as the callback returns. To be called once for each watch, also after the client was
/// closed. Holding a lock here that the callback waits for would wait for ever. NULL is as good.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_watch_stop(watch: *mut MareaWatch) {
    // SAFETY: the header's rules, here and in all entries below.
    unsafe {
        guard(std::ptr::null_mut(), || {
            if let Some(mut watch) = take_handle(watch) {
                drop(watch.stop.take());
                if watch.thread.thread().id() != thread::current().id() {
                    // Its panics have been told by the thread itself.
                    let _ = watch.thread.join();
                }
            }
            Ok(())
        });
    }
}

/// Watches what `marea_progress` gives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_watch_progress(
    client: *const MareaClient,
    callback: MareaCallback,
    context: *mut c_void,
    watch: *mut *mut MareaWatch,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        clear(watch);
        guard(error, || start(client, callback, context, watch, async |client| client.watch_progress().await))
    }
}

/// Watches what `marea_activity` gives for these days.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_watch_activity(
    client: *const MareaClient,
    from: *const c_char,
    to: *const c_char,
    callback: MareaCallback,
    context: *mut c_void,
    watch: *mut *mut MareaWatch,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        clear(watch);
        guard(error, || {
            let (from, to) = (parsed(from, "from")?, parsed(to, "to")?);
            start(client, callback, context, watch, async |client| client.watch_activity(from, to).await)
        })
    }
}

/// Watches what `marea_exports` gives for this query, which may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_watch_exports(
    client: *const MareaClient,
    query: *const c_char,
    callback: MareaCallback,
    context: *mut c_void,
    watch: *mut *mut MareaWatch,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        clear(watch);
        guard(error, || {
            let query = self::query(query)?;
            start(client, callback, context, watch, async |client| client.watch_exports(query).await)
        })
    }
}

/// Watches what `marea_table_list` gives for this query, which may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_watch_table(
    client: *const MareaClient,
    table: *const c_char,
    query: *const c_char,
    callback: MareaCallback,
    context: *mut c_void,
    watch: *mut *mut MareaWatch,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        clear(watch);
        guard(error, || {
            let (table, query) = (text(table, "table")?, list_query(query)?);
            let begin = async |client: &Client| client.table(table).watch::<Value>(query).await;
            start(client, callback, context, watch, begin)
        })
    }
}

/// Watches what `marea_query` gives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_watch_query(
    client: *const MareaClient,
    sql: *const c_char,
    params: *const c_char,
    callback: MareaCallback,
    context: *mut c_void,
    watch: *mut *mut MareaWatch,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        clear(watch);
        guard(error, || {
            let (sql, params) = (text(sql, "sql")?, self::params(params)?);
            start(client, callback, context, watch, async |client| client.watch_query(sql, params).await)
        })
    }
}

/// Watches what `marea_status` gives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_watch_status(
    client: *const MareaClient,
    callback: MareaCallback,
    context: *mut c_void,
    watch: *mut *mut MareaWatch,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        clear(watch);
        guard(error, || start(client, callback, context, watch, async |client| client.watch_status().await))
    }
}

/// Watches what `marea_rejected` gives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_watch_rejected(
    client: *const MareaClient,
    callback: MareaCallback,
    context: *mut c_void,
    watch: *mut *mut MareaWatch,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        clear(watch);
        guard(error, || start(client, callback, context, watch, async |client| client.watch_rejected().await))
    }
}
