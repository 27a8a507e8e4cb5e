//! The one place where xtask reads the clock: to tell a person how long something took.

use std::time::{Duration, Instant};

/// A started stopwatch.
#[derive(Clone, Copy)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[allow(
        clippy::disallowed_methods,
        reason = "measuring how long a build step takes is reading the clock"
    )]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// `0.4 s`, `12 s`, `3 min 05 s`.
pub(crate) fn spoken(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", duration.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        _ => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        let check = |milliseconds, expected: &str| {
            assert_eq!(spoken(Duration::from_millis(milliseconds)), expected);
        };
        check(0, "0.0 s");
        check(430, "0.4 s");
        check(12_900, "12 s");
        check(185_000, "3 min 05 s");
    }
}
