//! The rule by which a lost history is noticed, in a model that plays thousands of histories: nothing is lost under it, and something is
//! under each weaker one.

use marea_tests::lost_history::{RUNS, Rule, play};

const PLAYS: u64 = 3_000;

#[test]
fn nothing_is_lost_under_the_rule_and_no_reset_is_needless() {
    let tally = play(RUNS, PLAYS);
    assert_eq!(tally.with_a_loss, 0, "{tally:?}");
    assert!(tally.resets > 1_000, "histories were lost: {tally:?}");
    assert_eq!(tally.needless, 0, "{tally:?}");
}

#[test]
fn each_weaker_rule_loses_something() {
    let weaker = [
        ("a silent push does not move the clock", Rule { silent_push_moves: false, ..RUNS }),
        (
            "a push that finds a silent one does not move the clock",
            Rule { silent_duplicate_moves: false, ..RUNS },
        ),
        ("a run goes on in the next process", Rule { tied_to_start: false, ..RUNS }),
        ("a run is named by its timeline", Rule { drawn: false, ..RUNS }),
        ("a cursor is judged by its version", Rule { by_clock: false, ..RUNS }),
        ("pruning notes nothing", Rule { pruning_notes: false, ..RUNS }),
        ("timelines and checkpoints of each hour", Rule { by_checkpoints: true, ..RUNS }),
    ];
    for (name, rule) in weaker {
        let tally = play(rule, PLAYS);
        eprintln!("{name}: {tally:?}");
        assert!(tally.with_a_loss > 0, "{name} lost nothing in {PLAYS} plays: {tally:?}");
    }
}
