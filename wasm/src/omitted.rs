//! What SQLite's parser could call of the parts that `.cargo/config.toml` leaves out. The parser comes ready-made and
//! still names them; no statement of ours reaches them (`cargo xtask tidy` looks), and one that did would stop the engine
//! at once: nothing is silently left undone.

/// Defines functions that C calls, and that must not be called. What they are given does not matter; how much of it there
/// is does: WebAssembly checks signatures.
macro_rules! left_out {
    ($($name:ident($($argument:ident),*) $(-> $answer:ty)?;)*) => {$(
        // The name is SQLite's or the C library's own, and nothing else defines it: the linker would say so.
        #[allow(unsafe_code, non_snake_case)]
        #[unsafe(no_mangle)]
        extern "C" fn $name($($argument: i32),*) $(-> $answer)? {
            $(let _ = $argument;)*
            std::process::abort()
        }
    )*};
}

left_out! {
    // ANALYZE
    sqlite3Analyze(parse, name, schema);
    // CURRENT_TIMESTAMP and its like
    gmtime(time) -> i32;
    strftime(text, length, format, time) -> i32;
}
