//! Counting tests: what Rust's and Node's test programs say at the end of their output.

use std::{iter::Sum, ops::Add};

/// How many tests, or checks that are no tests, went well and how many did not.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Tally {
    pub(crate) passed: u32,
    pub(crate) failed: u32,
}

impl Tally {
    /// One check went well.
    pub(crate) fn passed() -> Self {
        Self { passed: 1, failed: 0 }
    }

    /// One check did not.
    pub(crate) fn failed() -> Self {
        Self { passed: 0, failed: 1 }
    }

    /// What a program's tests came to. A program that failed without a failing test, by crashing or by having
    /// nothing to run, counts as one failure.
    pub(crate) fn of_program(success: bool, counted: Option<Self>) -> Self {
        match counted {
            Some(counted) if success || counted.failed > 0 => counted,
            Some(counted) => Self { failed: 1, ..counted },
            None => Self::failed(),
        }
    }

    /// Adds up the `test result:` lines of Rust's test programs.
    pub(crate) fn of_rust(output: &str) -> Option<Self> {
        let results = output.lines().filter_map(|line| line.strip_prefix("test result: "));
        results.filter_map(rust_result).reduce(Add::add)
    }

    /// Reads the closing counts of Node's test runner (`ℹ pass 3`). A cancelled test is one that failed, and so is
    /// one that was skipped or left to do: nothing here may be switched off.
    pub(crate) fn of_node(output: &str) -> Option<Self> {
        let count = |name: &str| {
            let start = format!("ℹ {name} ");
            output.lines().rev().find_map(|line| line.strip_prefix(&start)?.trim().parse::<u32>().ok())
        };
        let failed = ["fail", "cancelled", "skipped", "todo"].into_iter().filter_map(count).sum();
        Some(Self { passed: count("pass")?, failed })
    }
}

/// `ok. 12 passed; 0 failed; 0 ignored; ...`
fn rust_result(line: &str) -> Option<Tally> {
    let count = |name: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let at = words.iter().position(|word| word.trim_end_matches(';') == name)?;
        words.get(at.checked_sub(1)?)?.parse::<u32>().ok()
    };
    Some(Tally { passed: count("passed")?, failed: count("failed")? })
}

impl Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { passed: self.passed + other.passed, failed: self.failed + other.failed }
    }
}

impl Sum for Tally {
    fn sum<I: Iterator<Item = Self>>(tallies: I) -> Self {
        tallies.fold(Self::default(), Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(passed: u32, failed: u32) -> Tally {
        Tally { passed, failed }
    }

    #[test]
    fn rusts_results_are_added_up() {
        let output = "running 3 tests\ntest a ... ok\n\n\
            test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.05s\n\n\
            test result: FAILED. 38 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.05s\n";
        assert_eq!(Tally::of_rust(output), Some(tally(41, 2)));
        assert_eq!(Tally::of_rust("Segmentation fault"), None);
    }

    #[test]
    fn nodes_counts_are_read() {
        let output = "✔ a (3ms)\nℹ tests 6\nℹ pass 2\nℹ fail 1\nℹ cancelled 1\nℹ skipped 2\nℹ todo 0\n";
        assert_eq!(Tally::of_node(output), Some(tally(2, 4)));
        assert_eq!(Tally::of_node("Error: no such file"), None);
    }

    #[test]
    fn a_program_that_fails_in_any_way_counts() {
        let check = |success, counted, expected| assert_eq!(Tally::of_program(success, counted), expected);
        check(true, Some(tally(3, 0)), tally(3, 0));
        check(false, Some(tally(3, 1)), tally(3, 1));
        check(false, Some(tally(3, 0)), tally(3, 1));
        check(false, None, tally(0, 1));
        check(true, None, tally(0, 1));
        // Node succeeds although a test was skipped.
        check(true, Some(tally(3, 2)), tally(3, 2));
    }
}
