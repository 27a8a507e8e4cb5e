//! Hostile input that was once kept, and a little that is new: no panic, and no more memory than an honest input needs.

use marea_tests::fuzz::{self, TARGETS, memory::Counting};
use marea_tests::random::Random;

#[global_allocator]
static COUNTING: Counting = Counting;

/// New inputs of each kind, of every test run: a few seconds. `cargo xtask fuzz` tries more.
const NEW: usize = 300;

#[test]
fn the_corpus_and_some_new_input_do_no_harm() {
    let mut random = Random::of_this_run("fuzz_corpus");
    for target in TARGETS {
        let corpus = target.corpus();
        let grown = (0..NEW).map(|_| target.grow(&corpus, &mut random)).collect::<Vec<_>>();
        for input in corpus.iter().map(|(_, input)| input).chain(&grown) {
            if let Err(what) = fuzz::feed(target, input) {
                panic!("{what}; the input in hexadecimal: {}", hexadecimal(input));
            }
        }
    }
}

fn hexadecimal(input: &[u8]) -> String {
    input.iter().map(|byte| format!("{byte:02x}")).collect()
}
