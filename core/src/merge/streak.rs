//! Runs of consecutive days.

use crate::model::LocalDate;

/// The runs in a set of active days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Streaks {
    /// Length of the run that ends at `last`.
    pub current: i64,
    /// Length of the longest run.
    pub longest: i64,
    /// The last day of the runs, active or frozen.
    pub last: Option<LocalDate>,
}

impl Streaks {
    /// The runs of a sequence of days, ascending; repeated days are harmless.
    pub fn of(days: impl IntoIterator<Item = LocalDate>) -> Streaks {
        Streaks::of_days(days.into_iter().map(|day| (day, true)))
    }

    /// The same of days some of which are frozen: they join the days around them, and are counted in no run.
    pub fn of_days(days: impl IntoIterator<Item = (LocalDate, bool)>) -> Streaks {
        let mut streaks = Streaks::default();
        for (day, is_active) in days {
            debug_assert!(streaks.last.is_none_or(|last| last <= day), "days must ascend");
            let next = streaks.extended_by(day).unwrap_or(streaks);
            streaks = if is_active || streaks.last == Some(day) {
                next
            } else {
                let current = next.current - 1;
                Streaks { current, longest: streaks.longest.max(current), last: next.last }
            };
        }
        streaks
    }

    /// The runs after one more active day that is not before the last one; `None` for an earlier day, which may join
    /// two runs: then only the whole set of days can tell.
    pub fn extended_by(self, day: LocalDate) -> Option<Streaks> {
        let current = match self.last {
            Some(last) if day < last => return None,
            Some(last) if day == last => self.current,
            Some(last) if day == last.next() => self.current.saturating_add(1),
            _ => 1,
        };
        Some(Streaks { current, longest: self.longest.max(current), last: Some(day) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> LocalDate {
        text.parse().unwrap()
    }

    #[test]
    fn runs_are_counted_over_months_and_gaps() {
        let days = ["2026-01-30", "2026-01-31", "2026-02-01", "2026-02-03"].map(day);
        let expected = Streaks { current: 1, longest: 3, last: Some(days[3]) };
        assert_eq!(Streaks::of(days), expected);
        assert_eq!(Streaks::of([]), Streaks::default());
    }

    #[test]
    fn an_earlier_day_needs_the_whole_set() {
        let streaks = Streaks::of([day("2026-02-03")]);
        assert_eq!(streaks.extended_by(day("2026-02-02")), None);
        assert_eq!(streaks.extended_by(day("2026-02-03")), Some(streaks));
    }

    #[test]
    fn frozen_days_join_runs_and_are_no_part_of_them() {
        let of =
            |days: &[(&str, bool)]| Streaks::of_days(days.iter().map(|(text, active)| (day(text), *active)));
        let [first, second, third, fifth] = ["2026-02-01", "2026-02-02", "2026-02-03", "2026-02-05"];
        for (days, current, longest, last) in [
            (vec![(first, true), (second, false), (third, true)], 2, 2, third),
            (vec![(first, true), (second, false)], 1, 1, second),
            (vec![(second, false), (third, true)], 1, 1, third),
            (vec![(second, false)], 0, 0, second),
            (vec![(first, true), (second, false), (third, false), (fifth, true)], 1, 1, fifth),
        ] {
            assert_eq!(of(&days), Streaks { current, longest, last: Some(day(last)) }, "{days:?}");
        }
    }
}
