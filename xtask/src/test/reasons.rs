//! Why tests failed, said once more at the end: whoever reads only the end of a long output has the reason there.

use std::{mem, sync::Mutex};

/// How much of one program's reasons is repeated, in lines.
const LINES: usize = 80;

static REASONS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Keeps what a program said about its failing tests.
pub(super) fn keep(program: &str, text: &str) {
    let shown: Vec<&str> = text.trim().lines().take(LINES).collect();
    let reason = format!("── why {program} failed ──\n{}", shown.join("\n"));
    REASONS.lock().expect("nobody panics while a reason is kept").push(reason);
}

/// All that has been kept, which is nothing afterwards.
pub(super) fn take() -> Vec<String> {
    mem::take(&mut REASONS.lock().expect("nobody panics while a reason is kept"))
}

/// The part of a Node test run's output that repeats its failing tests, with their errors.
pub(super) fn of_node(output: &str) -> &str {
    output.split_once("failing tests:").map_or("", |(_, reasons)| reasons)
}

/// The part of a Rust test program's output in which its failing tests speak.
pub(super) fn of_rust(output: &str) -> &str {
    output.split_once("\nfailures:\n").map_or("", |(_, reasons)| reasons)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_reasons_are_its_errors() {
        let output = "✖ adds (3ms)\nℹ fail 1\n\n✖ failing tests:\n\n✖ adds (3ms)\n  1 !== 2\n";
        assert_eq!(of_node(output).trim(), "✖ adds (3ms)\n  1 !== 2");
        assert_eq!(of_node("✔ adds (3ms)\n"), "");
    }

    #[test]
    fn rusts_reasons_are_its_panics() {
        let output = "test a ... FAILED\n\nfailures:\n\n---- a stdout ----\npanicked\n\nfailures:\n    a\n";
        assert!(of_rust(output).trim().starts_with("---- a stdout ----\npanicked"));
        assert_eq!(of_rust("test a ... ok\n"), "");
    }

    #[test]
    fn the_beginning_of_a_long_reason_is_kept() {
        let long: String = (0..500).map(|line| format!("line {line}\n")).collect();
        keep("one", &long);
        let kept = take();
        assert_eq!(kept[0].lines().count(), LINES + 1);
        assert!(kept[0].starts_with("── why one failed ──\nline 0\n"));
    }
}
