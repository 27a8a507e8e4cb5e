//! What the tests and benches share, where it could be wrong itself.

use std::time::Duration;

use marea_tests::bench::{Rounds, Spread, table};
use marea_tests::catalogue::fields_of;
use serde::Deserialize;

#[derive(Deserialize)]
#[allow(dead_code, reason = "it is only looked at")]
struct Row {
    first: i32,
    #[serde(rename = "2nd")]
    second: Option<String>,
}

#[test]
fn the_fields_are_those_on_the_wire() {
    assert_eq!(fields_of::<Row>(), ["first", "2nd"]);
}

#[test]
fn a_spread_has_the_middle_and_the_ends() {
    let spread = Spread::of("x", [3.0, 1.0, 2.0]);
    assert_eq!((spread.median, spread.min, spread.max, spread.rounds), (2.0, 1.0, 3.0, 3));
}

#[test]
fn a_missed_bar_shows() {
    let mut rounds = Rounds::new();
    rounds.add(Duration::from_millis(1), Duration::from_millis(2));
    let figures = [rounds.figure("a", "b", 1.5, "how"), rounds.figure("a", "b", 2.0, "how")];
    assert_eq!(figures.each_ref().map(|figure| figure.passed), [false, true]);
    assert!(table(&figures).contains("MISSED"));
}
