//! A source file taken apart into code and string literals, with comments gone, so that a rule about code does
//! not trip over a comment that explains it.
//!
//! Knows as much of the lexical grammar of Rust and TypeScript as telling these three apart needs, and no more.

/// A source file without comments.
pub(crate) struct Source {
    /// The code, line by line, with the contents of string literals left out.
    pub(crate) code: Vec<String>,
    /// The contents of the string literals, each with the line that it begins on.
    pub(crate) strings: Vec<(usize, String)>,
}

/// The language, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    Rust,
    /// And JavaScript: also quotes with `'` and `` ` ``.
    TypeScript,
}

impl Source {
    pub(crate) fn rust(text: &str) -> Self {
        Reader::new(text, Language::Rust).read()
    }

    pub(crate) fn typescript(text: &str) -> Self {
        Reader::new(text, Language::TypeScript).read()
    }
}

struct Reader<'a> {
    rest: &'a str,
    language: Language,
    line: String,
    source: Source,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str, language: Language) -> Self {
        Self {
            rest: text,
            language,
            line: String::new(),
            source: Source { code: Vec::new(), strings: Vec::new() },
        }
    }

    fn read(mut self) -> Source {
        while let Some(next) = self.rest.chars().next() {
            if self.rest.starts_with("//") {
                let end = self.rest.find('\n').unwrap_or(self.rest.len());
                self.rest = &self.rest[end..];
            } else if self.rest.starts_with("/*") {
                self.skip_block_comment();
            } else if let Some(hashes) = self.raw_string() {
                let closing = format!("\"{}", "#".repeat(hashes));
                self.take_string(hashes + 2, &closing, false);
            } else if next == '"' || (self.language == Language::TypeScript && matches!(next, '\'' | '`')) {
                self.take_string(1, &next.to_string(), true);
            } else if let Some(length) = self.char_literal() {
                self.rest = &self.rest[length..];
                self.line.push_str("' '");
            } else {
                self.rest = &self.rest[next.len_utf8()..];
                self.push(next);
            }
        }
        self.end_line();
        self.source
    }

    fn push(&mut self, next: char) {
        if next == '\n' {
            self.end_line();
        } else {
            self.line.push(next);
        }
    }

    fn end_line(&mut self) {
        self.source.code.push(std::mem::take(&mut self.line));
    }

    fn skip_block_comment(&mut self) {
        let mut depth = 0;
        while let Some(next) = self.rest.chars().next() {
            let pair = self.rest.get(..2);
            // Rust's block comments nest.
            let (step, change) = match pair {
                Some("/*") if depth == 0 || self.language == Language::Rust => (2, 1),
                Some("*/") => (2, -1),
                _ => (next.len_utf8(), 0),
            };
            self.rest = &self.rest[step..];
            depth += change;
            if next == '\n' {
                self.end_line();
            }
            if depth == 0 {
                return;
            }
        }
    }

    /// The number of `#` of a raw string that begins here.
    fn raw_string(&self) -> Option<usize> {
        let in_word = self.line.ends_with(|last: char| last.is_alphanumeric() || last == '_');
        let after = self.rest.strip_prefix('r').filter(|_| self.language == Language::Rust)?;
        // `br"..."` is a raw string too, `for"..."` is none.
        if in_word && !(self.line.ends_with('b') || self.line.ends_with('c')) {
            return None;
        }
        let hashes = after.len() - after.trim_start_matches('#').len();
        after[hashes..].starts_with('"').then_some(hashes)
    }

    fn take_string(&mut self, opening: usize, closing: &str, escapes: bool) {
        let begins_on = self.source.code.len();
        self.rest = &self.rest[opening..];
        let mut content = String::new();
        self.line.push('"');
        while let Some(next) = self.rest.chars().next() {
            if self.rest.starts_with(closing) {
                self.rest = &self.rest[closing.len()..];
                break;
            }
            let length = match (next, self.rest.chars().nth(1)) {
                ('\\', Some(escaped)) if escapes => 1 + escaped.len_utf8(),
                _ => next.len_utf8(),
            };
            for taken in self.rest[..length].chars() {
                content.push(taken);
                if taken == '\n' {
                    self.end_line();
                }
            }
            self.rest = &self.rest[length..];
        }
        self.line.push('"');
        self.source.strings.push((begins_on, content));
    }

    /// The length of a character literal that begins here; a lifetime is none.
    fn char_literal(&self) -> Option<usize> {
        let after = self.rest.strip_prefix('\'').filter(|_| self.language == Language::Rust)?;
        let first = after.chars().next()?;
        if first != '\\' {
            return after[first.len_utf8()..].starts_with('\'').then_some(first.len_utf8() + 2);
        }
        let escaped = after.chars().nth(1)?;
        let close = after[1 + escaped.len_utf8()..].find('\'')?;
        Some(1 + 1 + escaped.len_utf8() + close + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: Source, code: &[&str], strings: &[(usize, &str)]) {
        assert_eq!(source.code, code);
        let found: Vec<(usize, &str)> =
            source.strings.iter().map(|(line, text)| (*line, text.as_str())).collect();
        assert_eq!(found, strings);
    }

    #[test]
    fn comments_go_and_lines_stay() {
        check(Source::rust("a // b \"c\"\nd"), &["a ", "d"], &[]);
        check(Source::rust("a /* b /* c\n */ d */ e"), &["a ", " e"], &[]);
        check(Source::typescript("a /* /* */ b"), &["a  b"], &[]);
    }

    #[test]
    fn strings_are_set_apart() {
        check(Source::rust(r#"f("a\"b", c)"#), &["f(\"\", c)"], &[(0, r#"a\"b"#)]);
        check(Source::rust("r#\"a \"b\" // c\"# d"), &["\"\" d"], &[(0, "a \"b\" // c")]);
        check(Source::rust("x\n\"a\nb\" y"), &["x", "\"", "\" y"], &[(1, "a\nb")]);
        check(Source::typescript("f('a', `b`)"), &["f(\"\", \"\")"], &[(0, "a"), (0, "b")]);
    }

    #[test]
    fn quotes_of_characters_and_lifetimes_open_nothing() {
        check(Source::rust("'\"' 'a' '\\'' '\\u{22}' &'a str"), &["' ' ' ' ' ' ' ' &'a str"], &[]);
    }
}
