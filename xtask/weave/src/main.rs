//! `marea-weave SOURCES FOLDER MUTANTS.json`: writes into a folder the sources with all mutants in them, each behind a switch.
//!
//! A mutant is then tried by starting the same program with another number in its environment, in place of a build. An expression
//! `a < b` becomes `(if is(7) {a <= b} else {a < b})`, an arm gets a guard that can fail, a function an early `return`. What is not
//! switched on costs one comparison. Prints the lines on which each mutant stands; one that is not named cannot be woven.
//!
//! Deliberately absent: choosing mutants (cargo-mutants lists them), building and running (`cargo xtask mutants`).

mod places;

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::places::{Place, Places};

/// As cargo-mutants calls the kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
pub(crate) enum Genre {
    FnValue,
    BinaryOperator,
    UnaryOperator,
    MatchArm,
    MatchArmGuard,
    StructField,
}

#[derive(Clone, Deserialize)]
struct Mutant {
    id: u32,
    file: String,
    genre: Genre,
    replacement: String,
    span: Area,
}

#[derive(Clone, Copy, Deserialize)]
struct Area {
    start: Position,
    end: Position,
}

#[derive(Clone, Copy, Deserialize)]
struct Position {
    line: usize,
    column: usize,
}

/// Where a mutant stands in the woven file: lines from 1, both inclusive.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Lines {
    id: u32,
    file: String,
    first: usize,
    last: usize,
}

const LIB: &str = "core/src/lib.rs";
/// What the switches read, put at the end of the crate's `lib.rs`. Names a mutant's number, or a file into which each test writes
/// which mutants it reaches.
const SWITCH: &str = include_str!("switch.rs.txt");

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let mut next = |what: &str| arguments.next().with_context(|| format!("which {what}?"));
    let (from, to, mutants) = (next("sources")?, next("folder")?, next("mutants")?);
    let mutants: Vec<Mutant> = serde_json::from_slice(&std::fs::read(mutants)?)?;
    let mut files: BTreeMap<String, Vec<Mutant>> = BTreeMap::from([(LIB.to_owned(), Vec::new())]);
    mutants.into_iter().for_each(|mutant| files.entry(mutant.file.clone()).or_default().push(mutant));
    let mut lines = Vec::new();
    for (file, mutants) in &files {
        let source =
            std::fs::read_to_string(from.join(file)).with_context(|| format!("cannot read {file}"))?;
        let (mut woven, found) = weave(&source, mutants).with_context(|| format!("cannot weave {file}"))?;
        if file == LIB {
            woven.push_str(&format!("\n{SWITCH}"));
        }
        // What is the same keeps its time, and cargo builds nothing again.
        std::fs::create_dir_all(to.join(file).parent().context("a file is in a folder")?)?;
        if std::fs::read_to_string(to.join(file)).ok().as_ref() != Some(&woven) {
            std::fs::write(to.join(file), woven).with_context(|| format!("cannot write {file}"))?;
        }
        lines.extend(found);
    }
    serde_json::to_writer(std::io::stdout().lock(), &lines)?;
    Ok(())
}

/// A text to put in, of one mutant or of none.
struct Piece {
    at: usize,
    /// What order pieces at one place come in: ends of inner expressions first, beginnings of outer ones before those of inner.
    order: (u8, i64),
    texts: Vec<(Option<u32>, String)>,
}

fn weave(source: &str, mutants: &[Mutant]) -> Result<(String, Vec<Lines>)> {
    let places = Places::of(source)?;
    let starts = line_starts(source);
    let offset = |at: Position| {
        let line = starts[at.line - 1];
        let tail = &source[line..];
        line + tail.char_indices().nth(at.column - 1).map_or(tail.len(), |(offset, _)| offset)
    };
    let mut choices: BTreeMap<(usize, usize), Vec<(u32, String)>> = BTreeMap::new();
    let mut pieces = Vec::new();
    for Mutant { id, genre, replacement, span, .. } in mutants {
        match places.find(*genre, span.start.line, span.start.column) {
            None => {}
            Some(Place::Expression(range)) => {
                let (from, to) = (offset(span.start), offset(span.end));
                let changed = [&source[range.start..from], replacement, &source[to..range.end]].concat();
                if syn::parse_str::<syn::Expr>(&changed).is_ok() {
                    choices.entry((range.start, range.end)).or_default().push((*id, changed));
                }
            }
            Some(Place::Pattern(at)) => {
                let text = format!(" if !crate::mutant_switch::is({id}) ");
                pieces.push(Piece { at: *at, order: (1, 0), texts: vec![(Some(*id), text)] });
            }
            Some(Place::Body(at)) => {
                let text = format!("if crate::mutant_switch::is({id}) {{ return {replacement}; }}\n");
                pieces.push(Piece { at: *at, order: (1, 0), texts: vec![(Some(*id), text)] });
            }
        }
    }
    for ((start, end), choices) in choices {
        let mut texts = vec![(None, "(".to_owned())];
        for (id, changed) in choices {
            texts.push((Some(id), format!("if crate::mutant_switch::is({id}) {{\n{changed}\n}} else ")));
        }
        texts.push((None, "{".to_owned()));
        pieces.push(Piece { at: start, order: (2, -(end as i64)), texts });
        pieces.push(Piece { at: end, order: (0, -(start as i64)), texts: vec![(None, "})".to_owned())] });
    }
    pieces.sort_by_key(|piece| (piece.at, piece.order));
    Ok(assemble(source, &pieces, mutants.first().map_or("", |mutant| &mutant.file)))
}

fn assemble(source: &str, pieces: &[Piece], file: &str) -> (String, Vec<Lines>) {
    let (mut woven, mut lines, mut done) = (String::new(), Vec::new(), 0);
    for piece in pieces {
        woven.push_str(&source[done..piece.at]);
        done = piece.at;
        for (id, text) in &piece.texts {
            let first = line_of(&woven);
            // A mutant on lines of its own: the compiler's errors are told apart by line.
            let text = if id.is_some() { format!("\n{text}\n") } else { text.clone() };
            woven.push_str(&text);
            if let Some(id) = *id {
                lines.push(Lines { id, file: file.to_owned(), first: first + 1, last: line_of(&woven) - 1 });
            }
        }
    }
    woven.push_str(&source[done..]);
    (woven, lines)
}

fn line_of(text: &str) -> usize {
    text.matches('\n').count() + 1
}

fn line_starts(source: &str) -> Vec<usize> {
    std::iter::once(0).chain(source.match_indices('\n').map(|(offset, _)| offset + 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A mutant of the first place where `changed` stands in a source of one line.
    fn mutant(id: u32, genre: Genre, source: &str, changed: &str, replacement: &str) -> Mutant {
        let start = source.find(changed).unwrap() + 1;
        let span = |column| Position { line: 1, column };
        let span = Area { start: span(start), end: span(start + changed.len()) };
        Mutant { id, file: "a.rs".to_owned(), genre, replacement: replacement.to_owned(), span }
    }

    #[test]
    fn each_kind_of_mutant_is_put_behind_a_switch() {
        for (genre, source, changed, replacement, expected) in [
            (
                Genre::BinaryOperator,
                "fn f(a: u8) -> bool { a + 1 < 2 }",
                "<",
                "<=",
                "fn f(a: u8) -> bool { ( if IS(7) { a + 1 <= 2 } else {a + 1 < 2}) }",
            ),
            (
                Genre::UnaryOperator,
                "fn f(a: bool) -> bool { !a }",
                "!",
                "",
                "fn f(a: bool) -> bool { ( if IS(7) { a } else {!a}) }",
            ),
            (
                Genre::FnValue,
                "fn f() -> u8 { g(); 3 }",
                "g(); 3",
                "0",
                "fn f() -> u8 { if IS(7) { return 0; } g(); 3 }",
            ),
            (
                Genre::MatchArm,
                "fn f(a: u8) -> u8 { match a { 1 => 2, _ => 3 } }",
                "1 => 2",
                "",
                "fn f(a: u8) -> u8 { match a { 1 if !IS(7) => 2, _ => 3 } }",
            ),
            (
                Genre::MatchArmGuard,
                "fn f(a: u8) -> u8 { match a { b if b > 1 => 2, _ => 3 } }",
                "b > 1",
                "true",
                "fn f(a: u8) -> u8 { match a { b if ( if IS(7) { true } else {b > 1}) => 2, _ => 3 } }",
            ),
            (
                Genre::StructField,
                "fn f(s: S) -> S { S { a: 1, ..s } }",
                "a: 1,",
                "",
                "fn f(s: S) -> S { ( if IS(7) { S { ..s } } else {S { a: 1, ..s }}) }",
            ),
        ] {
            let (woven, lines) = weave(source, &[mutant(7, genre, source, changed, replacement)]).unwrap();
            let woven = woven.replace("crate::mutant_switch::is", "IS");
            assert_eq!(woven.split_whitespace().collect::<Vec<_>>().join(" "), expected);
            assert_eq!(lines.len(), 1);
            let mine: Vec<&str> =
                woven.lines().skip(lines[0].first - 1).take(lines[0].last - lines[0].first + 1).collect();
            assert!(mine.join(" ").contains("IS(7)"), "{mine:?} of {woven}");
        }
    }

    #[test]
    fn what_the_compiler_evaluates_or_could_not_take_is_left_alone() {
        for (genre, source, changed, replacement) in [
            (Genre::BinaryOperator, "const A: u8 = 1 + 2;", "+", "-"),
            (Genre::BinaryOperator, "const fn f() -> u8 { 1 + 2 }", "+", "-"),
            (Genre::BinaryOperator, "fn f(a: u8) { if let 1 = a && g() {} }", "&&", "||"),
            (Genre::BinaryOperator, "fn f(a: u8) -> bool { a as u16 == 3 }", "==", "<"),
            (Genre::FnValue, "fn f() -> impl Iterator<Item = u8> { g() }", "g()", "std::iter::empty()"),
            (
                Genre::MatchArm,
                "fn f(a: u8) { match a { 1 => (), _ if g() => (), _b => () } }",
                "1 => (),",
                "",
            ),
        ] {
            let (woven, lines) = weave(source, &[mutant(7, genre, source, changed, replacement)]).unwrap();
            assert_eq!((woven.as_str(), lines), (source, Vec::new()));
        }
    }

    #[test]
    fn mutants_within_mutants_are_all_switched() {
        let source = "fn f(a: u8) -> bool { a + 1 < 2 }";
        let plus = mutant(1, Genre::BinaryOperator, source, "+", "-");
        let less = mutant(2, Genre::BinaryOperator, source, "<", ">");
        let also = Mutant { id: 3, replacement: "==".to_owned(), ..less.clone() };
        let (woven, lines) = weave(source, &[plus, less, also]).unwrap();
        assert!(syn::parse_file(&woven).is_ok(), "{woven}");
        assert_eq!(
            lines.iter().map(|line| line.id).collect::<std::collections::BTreeSet<_>>(),
            [1, 2, 3].into()
        );
        // A mutant's line names only itself: so it is told apart when it does not compile.
        for line in &lines {
            let own = woven.lines().nth(line.first - 1).unwrap();
            assert!(own.contains(&format!("is({})", line.id)), "{own}");
        }
    }
}
