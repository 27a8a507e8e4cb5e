//! A few letters by which a learner knows a key again: `sk-...a1B2`. Made while the vault is open, never stored.

use zeroize::Zeroizing;

use crate::vault::secret::ApiKey;

/// A shorter key would show too much of itself.
const MIN_CHARS_FOR_END: usize = 20;
const MIN_CHARS_FOR_BEGINNING: usize = 12;

pub(crate) fn hint(key: &ApiKey) -> String {
    // With room for all of them from the start: a list that grew would leave its old self behind.
    let mut letters = Zeroizing::new(Vec::with_capacity(key.expose().len()));
    letters.extend(key.expose().chars());
    // `sk-` and the like say whose key it is; without such a beginning three letters do.
    let end_of_name = letters.iter().take(4).position(|c| matches!(c, '-' | '_'));
    let beginning =
        if letters.len() < MIN_CHARS_FOR_BEGINNING { 0 } else { end_of_name.map_or(3, |at| at + 1) };
    let end = if letters.len() < MIN_CHARS_FOR_END { letters.len() } else { letters.len() - 4 };
    letters[..beginning].iter().chain(&['.', '.', '.']).chain(&letters[end..]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_shows_little() {
        let of = |text: &str| hint(&ApiKey::new(text.to_owned()).unwrap());
        assert_eq!(of("sk-proj-0123456789abca1B2"), "sk-...a1B2");
        assert_eq!(of("Zx81kLmNopQ0123456789a1B2"), "Zx8...a1B2");
        assert_eq!(of("sk-0123456789"), "sk-...");
        assert_eq!(of("short"), "...");
    }
}
