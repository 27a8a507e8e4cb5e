//! What SQLite's parser could call of the parts that `.cargo/config.toml` leaves out. The parser comes ready-made and
//! still names them; no statement of ours reaches them (`cargo xtask tidy` looks), and one that did would stop the engine
//! at once: nothing is silently left undone. An app's own SQL does not reach them either: the parser is only given statements
//! that begin with SELECT, WITH or VALUES (`core/src/store/statement.rs`).

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
    // ALTER TABLE
    sqlite3AlterRenameTable(parse, table, name);
    sqlite3AlterRenameColumn(parse, table, old, new);
    sqlite3AlterBeginAddColumn(parse, table);
    sqlite3AlterFinishAddColumn(parse, column);
    sqlite3AlterDropColumn(parse, table, name);
    sqlite3AlterDropConstraint(parse, table, name, column);
    sqlite3AlterSetNotNull(parse, table, column, first_token);
    sqlite3AlterAddConstraint(parse, table, first, name, text, length, expression);
    // CREATE VIEW
    sqlite3CreateView(parse, begin, name, second_name, columns, select, is_temporary, unless_there);
    // REINDEX
    sqlite3Reindex(parse, name, second_name);
    // ANALYZE
    sqlite3Analyze(parse, name, schema);
}
