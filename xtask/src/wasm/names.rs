//! Short names for what the module and its JavaScript call of each other. The generator's are made of a hash each, which stands in
//! both files and does not compress. What the module exports and its JavaScript never calls is not exported any more, so that it goes
//! unless the module needs it: docs/adr/0160-short-names-between-the-module-and-its-javascript.md.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::{Context, Result, ensure};

use super::binary::{EXPORTS, HEADER, IMPORTS, Reader, put_number, put_text};

/// What the generated JavaScript hands all imports in as.
const IMPORTED_FROM: &str = "./marea_wasm_bg.js";
/// The same, short.
const FROM: &str = "m";
/// How the generated JavaScript names the instance.
const INSTANCE: &str = "wasm.";

/// A module and its JavaScript with short names, and what became of the exports' names.
pub(super) struct Shortened {
    pub(super) module: Vec<u8>,
    pub(super) script: String,
    pub(super) exports: BTreeMap<String, String>,
}

pub(super) fn shorten(module: &[u8], script: &str) -> Result<Shortened> {
    let called: HashSet<&str> = words(script).filter(|word| word.is_called()).map(|word| word.text).collect();
    let (mut imports, mut exports) = (HashMap::new(), BTreeMap::new());
    let mut input = Reader { bytes: module, at: HEADER };
    let mut out = module.get(..HEADER).context("no module")?.to_vec();
    while input.at < module.len() {
        let start = input.at;
        let (kind, length) = (input.byte()?, input.number()?);
        let mut section = Reader { bytes: input.take(length)?, at: 0 };
        let mut entries = Vec::new();
        match kind {
            IMPORTS => {
                let all = section.imports()?;
                put_number(&mut entries, all.len());
                for (name, rest) in all {
                    let short = short_name(imports.len());
                    put_text(&mut entries, FROM);
                    put_text(&mut entries, &short);
                    entries.extend(rest);
                    imports.insert(name, short);
                }
            }
            EXPORTS => {
                let mut used = section.exports()?;
                used.retain(|(name, _)| called.contains(name));
                put_number(&mut entries, used.len());
                for (name, rest) in used {
                    let short = short_name(exports.len());
                    put_text(&mut entries, &short);
                    entries.extend(rest);
                    exports.insert(name.to_owned(), short);
                }
            }
            _ => {
                out.extend(&module[start..input.at]);
                continue;
            }
        }
        out.push(kind);
        put_number(&mut out, entries.len());
        out.extend(entries);
    }
    let script = rename(script, &imports, &exports)?;
    Ok(Shortened { module: out, script, exports })
}

/// The script with the new names. Each import must be found where it is handed in, or the module could not be instantiated.
fn rename(
    script: &str,
    imports: &HashMap<&str, String>,
    exports: &BTreeMap<String, String>,
) -> Result<String> {
    let mut out = String::with_capacity(script.len());
    let (mut written, mut handed_in) = (0, HashSet::new());
    for word in words(script) {
        let new = match word.is_called() {
            true => exports.get(word.text),
            false if word.after.starts_with(':') => {
                let new = imports.get(word.text);
                ensure!(new.is_none() || handed_in.insert(word.text), "{} is handed in twice", word.text);
                new
            }
            false => None,
        };
        if let Some(new) = new {
            out.push_str(&script[written..word.at]);
            out.push_str(new);
            written = word.at + word.text.len();
        }
    }
    out.push_str(&script[written..]);
    ensure!(handed_in.len() == imports.len(), "the JavaScript does not hand in all that the module imports");
    let (from, short) = (format!("\"{IMPORTED_FROM}\": "), format!("{FROM}: "));
    ensure!(out.matches(&from).count() == 1, "the JavaScript has no {from}");
    Ok(out.replace(&from, &short))
}

/// A word of JavaScript, and what stands around it.
#[derive(Clone, Copy)]
struct Word<'a> {
    before: &'a str,
    text: &'a str,
    after: &'a str,
    at: usize,
}

impl Word<'_> {
    fn is_called(self) -> bool {
        let Some(before) = self.before.strip_suffix(INSTANCE) else { return false };
        !before.ends_with(is_of_word)
    }
}

fn is_of_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || "_$".contains(character)
}

fn words(script: &str) -> impl Iterator<Item = Word<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + script[at..].find(is_of_word)?;
        let rest = &script[start..];
        let text = &rest[..rest.find(|character| !is_of_word(character)).unwrap_or(rest.len())];
        at = start + text.len();
        Some(Word { before: &script[..start], text, after: &script[at..], at: start })
    })
}

/// a, b, ..., z, aa, ab, ...: names that begin with letters, and are no words of JavaScript before there are hundreds.
fn short_name(number: usize) -> String {
    let letter = |number: usize| char::from(b'a' + u8::try_from(number % 26).unwrap_or_default());
    match number / 26 {
        0 => letter(number).to_string(),
        more => short_name(more - 1) + &letter(number).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Imports `m`.`f`, and exports `g` and `h`, which are that function.
    const MODULE: &[u8] = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x02\x07\x01\x01m\x01f\x00\x00\x07\x09\x02\x01g\x00\x00\x01h\x00\x00\x00\x05\x04name";
    const SCRIPT: &str =
        "const x = { f: function() { hwasm.g; fun.f(wasm.h) } }; return { \"./marea_wasm_bg.js\": x }";

    #[test]
    fn both_files_get_the_same_names_and_what_nobody_calls_is_not_exported() {
        let Shortened { module, script, exports } = shorten(MODULE, SCRIPT).unwrap();
        assert_eq!(script, "const x = { a: function() { hwasm.g; fun.f(wasm.a) } }; return { m: x }");
        assert_eq!(exports.into_iter().collect::<Vec<_>>(), [("h".to_owned(), "a".to_owned())]);
        let expected = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x02\x07\x01\x01m\x01a\x00\x00\x07\x05\x01\x01a\x00\x00\x00\x05\x04name";
        assert_eq!(module, expected);
    }

    #[test]
    fn an_import_that_is_not_handed_in_is_refused() {
        assert!(shorten(MODULE, &SCRIPT.replace("f:", "e:")).is_err());
        assert!(shorten(MODULE, &SCRIPT.replace("./marea", "./other")).is_err());
    }

    #[test]
    fn names_are_short_and_each_is_another() {
        let names: Vec<String> = (0..800).map(short_name).collect();
        assert_eq!((&*names[0], &*names[25], &*names[26], &*names[702]), ("a", "z", "aa", "aaa"));
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
    }
}
