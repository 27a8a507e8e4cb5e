//! Randomness that can be had again: every test that rolls dice prints its seed, and takes it from `MAREA_SEED`.

use std::hash::{BuildHasher as _, RandomState};
use std::ops::RangeInclusive;

use marea_core::{Entropy, Error};

/// SplitMix64 (Steele, Lea and Flood, 2014): small, fast, and the same everywhere.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Seeded by `MAREA_SEED`, else anew for each run; prints the seed, which the test runner shows when the test fails.
    pub fn of_this_run(test: &str) -> Random {
        let given = std::env::var("MAREA_SEED").ok();
        let seed = match given {
            Some(text) => text.parse().expect("MAREA_SEED is a whole number"),
            None => RandomState::new().hash_one(test),
        };
        eprintln!("{test}: run it again with MAREA_SEED={seed}");
        Random(seed)
    }

    /// From a seed that the caller knows.
    pub fn of_seed(seed: u64) -> Random {
        Random(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A whole number of a range. The range must be far smaller than 2^63.
    pub fn within(&mut self, range: RangeInclusive<i64>) -> i64 {
        let width = range.end().abs_diff(*range.start()) + 1;
        range.start() + i64::try_from(self.bits() % width).expect("a narrow range")
    }

    /// True about `percent` times in a hundred.
    pub fn chance(&mut self, percent: i64) -> bool {
        self.within(0..=99) < percent
    }

    /// One of several.
    pub fn one_of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        let last = i64::try_from(choices.len()).expect("a short list") - 1;
        &choices[usize::try_from(self.within(0..=last)).expect("at least one choice")]
    }

    /// A UUID that no other call gives.
    pub fn uuid(&mut self) -> uuid::Uuid {
        let (high, low) = (self.bits(), self.bits());
        uuid::Builder::from_random_bytes(((u128::from(high) << 64) | u128::from(low)).to_be_bytes())
            .into_uuid()
    }
}

/// Randomness of a seed, for an engine.
#[derive(Debug)]
pub struct Seeded(pub Random);

impl Entropy for Seeded {
    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), Error> {
        for chunk in buffer.chunks_mut(8) {
            chunk.copy_from_slice(&self.0.bits().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}
