//! Texts, codes and the version: what needs no client.

use std::ffi::{CStr, c_char};

use super::edge;
use crate::code::MareaCode;

/// Takes a text back that this library gave, wiping it first. NULL is as good.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_string_free(text: *mut c_char) {
    // SAFETY: the header's rules.
    unsafe { edge::free_text(text) }
}

/// The library's version, "0.1.0" for example. Never to be freed.
#[unsafe(no_mangle)]
pub extern "C" fn marea_version() -> *const c_char {
    const VERSION: &CStr =
        match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
            Ok(version) => version,
            Err(_) => panic!("a version has no NUL"),
        };
    VERSION.as_ptr()
}

/// The stable name of a code, "storage_full" for example; "unknown" for one that this library does not have. Never to be freed.
#[unsafe(no_mangle)]
pub extern "C" fn marea_code_name(code: i32) -> *const c_char {
    MareaCode::name_of(code).as_ptr().cast()
}
