//! What others wrote (the server, another device, a file, the environment), made safe to show: a character that steers a terminal,
//! or shows letters in another order than they have, is written out (`\u{1b}`). Knows nothing of where a text came from.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};

use crate::style;

/// Whether a terminal would do something else with it than show it in its place: the control characters (C0, DEL, C1), line
/// separators, and what changes the direction of a text (UAX 9; CVE-2021-42574) or is invisible by design.
fn steers(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// A foreign text as part of a line: its own line breaks are written out too.
pub(crate) fn inline(text: &str) -> Cow<'_, str> {
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    text.chars().for_each(|letter| push(&mut safe, letter));
    Cow::Owned(safe)
}

/// A whole output as it goes out: its lines stay, and where colours are on, the colours that [`style`] gives.
pub(crate) fn page(text: &str, colours: bool) -> Cow<'_, str> {
    if !text.contains(|letter| letter != '\n' && steers(letter)) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let colour = if colours && letter == '\x1b' { style::colour_at_start(rest) } else { None };
        let taken = colour.map_or(letter.len_utf8(), str::len);
        match colour {
            Some(colour) => safe += colour,
            None if letter == '\n' => safe.push('\n'),
            None => push(&mut safe, letter),
        }
        rest = &rest[taken..];
    }
    Cow::Owned(safe)
}

/// A JSON document, with the same characters as JSON escapes them. Outside of its strings it has none of them, and inside they
/// mean what they meant.
pub(crate) fn json(document: &str) -> Cow<'_, str> {
    if !document.contains(|letter| letter != '\n' && steers(letter)) {
        return Cow::Borrowed(document);
    }
    let mut safe = String::with_capacity(document.len() + 16);
    for letter in document.chars() {
        if letter == '\n' || !steers(letter) {
            safe.push(letter);
            continue;
        }
        for unit in letter.encode_utf16(&mut [0; 2]) {
            let _ = write!(safe, "\\u{unit:04x}");
        }
    }
    Cow::Owned(safe)
}

/// What JSON documents are written through, each piece of them whole.
pub(crate) struct JsonWriter<W>(pub(crate) W);

impl<W: Write> Write for JsonWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.0.write_all(json(text).as_bytes())?,
            Err(_) => self.0.write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn push(safe: &mut String, letter: char) {
    match steers(letter) {
        true => safe.extend(letter.escape_default()),
        false => safe.push(letter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_written_out() {
        for (text, shown) in [
            ("plain, ñandú, 日本, 👩‍🚀, שלום", "plain, ñandú, 日本, 👩‍🚀, שלום"),
            ("\x1b]0;owned\x07", "\\u{1b}]0;owned\\u{7}"),
            ("a\x1b[2Jb", "a\\u{1b}[2Jb"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("one\ntwo\r\tthree\x7f\0", "one\\ntwo\\r\\tthree\\u{7f}\\u{0}"),
            ("ada\u{202e}gpj.exe\u{2066}", "ada\\u{202e}gpj.exe\\u{2066}"),
            ("\u{2028}\u{2029}\u{feff}\u{200b}\u{e0041}", "\\u{2028}\\u{2029}\\u{feff}\\u{200b}\\u{e0041}"),
        ] {
            assert_eq!(inline(text), shown);
            let same: String =
                serde_json::from_str(&json(&serde_json::to_string(text).expect("JSON"))).expect("JSON");
            assert_eq!(same, text);
            assert!(!json(&serde_json::to_string(text).expect("JSON")).contains(steers));
        }
    }

    #[test]
    fn of_a_page_lines_and_its_own_colours_stay() {
        let painted = "\x1b[32mok\x1b[0m\n\x1b[2J\x1b[38;5;245m.\x1b[0m\x1b[32";
        assert_eq!(page(painted, true), "\x1b[32mok\x1b[0m\n\\u{1b}[2J\x1b[38;5;245m.\x1b[0m\\u{1b}[32");
        assert_eq!(page("\x1b[32mok\r\n", false), "\\u{1b}[32mok\\r\n");
        assert!(matches!(page("as it is\n", false), Cow::Borrowed(_)));
    }
}
