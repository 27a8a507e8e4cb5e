//! Texts that look like sealed keys, for tests that open none.

/// A text of an envelope's shape for tests that do not open it: what the constraints in Postgres let in.
pub fn of_shape(name: impl std::fmt::Display) -> String {
    let letters: String =
        name.to_string().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let (salt, wrapped, check, sum) = ("S".repeat(22), "W".repeat(80), "C".repeat(20), "M".repeat(12));
    format!(
        "marea1.AAECAwQFBgcICQoL.pbkdf2-sha256-600000.1763899200000.{salt}.{wrapped}.{check}.0.{letters:B>40}.{sum}"
    )
}
