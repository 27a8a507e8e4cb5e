//! The boundary itself: reading what C hands in, giving away what C gets, and letting no panic through.
//!
//! Every function here that takes a pointer relies on the header's rules: a text is NUL-terminated and stays as it is during the
//! call; an output points to a place of its type; a handle came from this library and was not freed.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ffi::{CStr, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;

use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::{Zeroize as _, Zeroizing};

use crate::code::MareaCode;
use crate::problem::{Problem, read_json};

/// Before each text that is given away lies its length, so that freeing does not depend on what became of the text.
const HEADER: usize = size_of::<usize>();

/// Runs an entry: a failure becomes a code and, where C wants it, a JSON object; a panic becomes `internal`.
pub(super) unsafe fn guard(
    error: *mut *mut c_char,
    entry: impl FnOnce() -> Result<(), Problem>,
) -> MareaCode {
    unsafe { clear(error) };
    let result =
        catch_unwind(AssertUnwindSafe(entry)).unwrap_or(Err(Problem::Internal("a panic was caught")));
    match result {
        Ok(()) => MareaCode::Ok,
        Err(problem) => {
            unsafe { give_text(error, &problem.to_json()) };
            problem.code()
        }
    }
}

/// Makes an output empty, so that it is so when the call fails.
pub(super) unsafe fn clear<T>(out: *mut *mut T) {
    unsafe { give(out, std::ptr::null_mut()) };
}

/// Writes an output, if C wants it.
pub(super) unsafe fn give<T>(out: *mut T, value: T) {
    if !out.is_null() {
        unsafe { out.write(value) };
    }
}

/// Refuses to begin what gives the only copy of something, where there is no place for it.
pub(super) fn needed<T>(out: *mut T, argument: &'static str) -> Result<(), Problem> {
    if out.is_null() { Err(Problem::Null(argument)) } else { Ok(()) }
}

/// Gives a text away, if C wants it: `marea_string_free` takes it back.
pub(super) unsafe fn give_text(out: *mut *mut c_char, text: &str) {
    if !out.is_null() {
        unsafe { out.write(into_c(text)) };
    }
}

/// Gives a value away as JSON, if C wants it. The JSON itself is wiped: a few of these values hold secrets.
pub(super) unsafe fn give_json(out: *mut *mut c_char, value: &impl Serialize) -> Result<(), Problem> {
    if !out.is_null() {
        let text = to_json(value)?;
        unsafe { give_text(out, &text) };
    }
    Ok(())
}

/// A value as JSON, with room enough that what holds secrets is not moved while it grows.
pub(super) fn to_json(value: &impl Serialize) -> Result<Zeroizing<String>, Problem> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
    serde_json::to_writer(&mut *bytes, value).map_err(|_| Problem::Internal("a value is no JSON"))?;
    let text =
        String::from_utf8(std::mem::take(&mut *bytes)).map_err(|_| Problem::Internal("JSON is UTF-8"))?;
    Ok(Zeroizing::new(text))
}

fn layout(text_bytes: usize) -> Layout {
    let size = text_bytes.checked_add(HEADER + 1).expect("a text is shorter than the address space");
    Layout::from_size_align(size, align_of::<usize>()).expect("a text is shorter than the address space")
}

/// Copies a text to where C may keep it. A NUL inside, which JSON never has, would end it early.
fn into_c(text: &str) -> *mut c_char {
    let layout = layout(text.len());
    // SAFETY: the layout is not empty; all that is written lies inside of it.
    unsafe {
        let start = alloc(layout);
        if start.is_null() {
            handle_alloc_error(layout);
        }
        start.cast::<usize>().write(text.len());
        let first = start.add(HEADER);
        first.copy_from_nonoverlapping(text.as_ptr(), text.len());
        first.add(text.len()).write(0);
        first.cast()
    }
}

/// Wipes and frees a text that was given away.
pub(super) unsafe fn free_text(text: *mut c_char) {
    if text.is_null() {
        return;
    }
    unsafe {
        let start = text.cast::<u8>().sub(HEADER);
        let length = start.cast::<usize>().read();
        std::slice::from_raw_parts_mut(text.cast::<u8>(), length).zeroize();
        dealloc(start, layout(length));
    }
}

/// A text that must be there.
pub(super) unsafe fn text<'a>(pointer: *const c_char, argument: &'static str) -> Result<&'a str, Problem> {
    unsafe { text_or_none(pointer, argument)? }.ok_or(Problem::Null(argument))
}

/// A text that may be NULL.
pub(super) unsafe fn text_or_none<'a>(
    pointer: *const c_char,
    argument: &'static str,
) -> Result<Option<&'a str>, Problem> {
    if pointer.is_null() {
        return Ok(None);
    }
    unsafe { CStr::from_ptr(pointer) }.to_str().map(Some).map_err(|_| Problem::Utf8(argument))
}

/// A value that is written as text: an id, a day, a provider.
pub(super) unsafe fn parsed<T>(pointer: *const c_char, argument: &'static str) -> Result<T, Problem>
where
    T: FromStr,
    Problem: From<T::Err>,
{
    Ok(unsafe { text(pointer, argument)? }.parse()?)
}

/// A value that is written as JSON.
pub(super) unsafe fn json<T: DeserializeOwned>(
    pointer: *const c_char,
    argument: &'static str,
) -> Result<T, Problem> {
    read_json(unsafe { text(pointer, argument)? }, argument)
}

/// What a handle stands for.
pub(super) unsafe fn handle<'a, T>(pointer: *const T, argument: &'static str) -> Result<&'a T, Problem> {
    unsafe { pointer.as_ref() }.ok_or(Problem::Null(argument))
}

/// Gives a new handle away. C must want it: nobody could free it otherwise.
pub(super) unsafe fn give_handle<T>(out: *mut *mut T, value: T) {
    unsafe { out.write(Box::into_raw(Box::new(value))) };
}

/// Takes a handle back.
pub(super) unsafe fn take_handle<T>(pointer: *mut T) -> Option<Box<T>> {
    (!pointer.is_null()).then(|| unsafe { Box::from_raw(pointer) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(text: *mut c_char) -> String {
        let copy = unsafe { CStr::from_ptr(text) }.to_str().unwrap().to_owned();
        unsafe { free_text(text) };
        copy
    }

    #[test]
    fn a_panic_becomes_a_code_and_a_message() {
        let mut error = std::ptr::null_mut();
        let code = unsafe { guard(&mut error, || panic!("with a secret inside")) };
        assert_eq!(code, MareaCode::Internal);
        let said = taken(error);
        assert!(said.contains("a panic was caught") && !said.contains("secret"), "{said}");
        assert_eq!(unsafe { guard(std::ptr::null_mut(), || panic!("unheard")) }, MareaCode::Internal);
    }

    #[test]
    fn a_text_is_freed_whatever_became_of_it() {
        let given = into_c("a text that C cuts short");
        unsafe { given.add(3).write(0) };
        assert_eq!(taken(given), "a t");
        unsafe { free_text(std::ptr::null_mut()) };
        assert_eq!(taken(into_c("")), "");
    }

    #[test]
    fn null_and_other_encodings_are_told_apart() {
        let latin1 = c"caf\xe9".as_ptr();
        assert_eq!(unsafe { text(latin1, "id") }.unwrap_err().code(), MareaCode::InvalidUtf8);
        assert_eq!(unsafe { text(std::ptr::null(), "id") }.unwrap_err().code(), MareaCode::NullArgument);
        assert_eq!(unsafe { text_or_none(std::ptr::null(), "id") }.unwrap(), None);
    }

    #[test]
    fn every_entry_is_guarded() {
        let sources = [
            include_str!("client.rs"),
            include_str!("exports.rs"),
            include_str!("queue.rs"),
            include_str!("sign_in.rs"),
            include_str!("vault.rs"),
            include_str!("watch.rs"),
        ];
        let entries = sources.iter().flat_map(|source| source.split("#[unsafe(no_mangle)]").skip(1));
        let unguarded: Vec<_> = entries
            .filter(|entry| !entry.split("\n}").next().is_some_and(|body| body.contains("guard(")))
            .map(|entry| entry.lines().nth(1).unwrap_or(""))
            .collect();
        assert!(unguarded.is_empty(), "{unguarded:?}");
    }
}
