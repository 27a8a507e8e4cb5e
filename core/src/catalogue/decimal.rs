//! Decimal numbers as Postgres prints them, exact and of any length: read, compared and added as text. A double would round what a
//! `numeric` holds, and 10 would sort before 9.

use std::cmp::Ordering;

/// A number's parts: its sign, its digits before and behind the point.
struct Decimal<'t> {
    is_negative: bool,
    whole: &'t str,
    fraction: &'t str,
}

impl<'t> Decimal<'t> {
    fn read(text: &'t str) -> Option<Decimal<'t>> {
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let is_number = digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty());
        let whole = whole.trim_start_matches('0');
        is_number.then_some(Decimal { is_negative: unsigned.len() < text.len(), whole, fraction })
    }

    fn is_zero(&self) -> bool {
        self.whole.is_empty() && self.fraction.bytes().all(|byte| byte == b'0')
    }

    /// Compares without the signs.
    fn magnitude(&self, other: &Decimal<'_>) -> Ordering {
        let fractions = || {
            let [one, two] = [self.fraction, other.fraction].map(|digits| digits.trim_end_matches('0'));
            one.cmp(two)
        };
        let by_length = self.whole.len().cmp(&other.whole.len());
        by_length.then_with(|| self.whole.cmp(other.whole)).then_with(fractions)
    }

    /// The digits with so many behind the point, last one first.
    fn digits(&self, scale: usize) -> impl Iterator<Item = u8> + '_ {
        let missing = std::iter::repeat_n(b'0', scale - self.fraction.len());
        let written = self.fraction.bytes().rev().chain(self.whole.bytes().rev());
        missing.chain(written).map(|digit| digit - b'0')
    }
}

/// As Postgres orders them: `NaN` is equal to itself and comes last. What is no number comes first, by its letters.
pub(crate) fn compare_decimals(one: &str, two: &str) -> Ordering {
    let rank = |text: &str| match text {
        "NaN" => 4,
        "Infinity" => 3,
        "-Infinity" => 1,
        text if Decimal::read(text).is_some() => 2,
        _ => 0,
    };
    let by_rank = rank(one).cmp(&rank(two));
    let (Some(first), Some(second)) = (Decimal::read(one), Decimal::read(two)) else {
        return by_rank.then_with(|| if rank(one) == 0 { one.cmp(two) } else { Ordering::Equal });
    };
    let sign = |decimal: &Decimal<'_>| match (decimal.is_zero(), decimal.is_negative) {
        (true, _) => 0,
        (false, true) => -1,
        (false, false) => 1,
    };
    let (first_sign, second_sign) = (sign(&first), sign(&second));
    by_rank.then(first_sign.cmp(&second_sign)).then_with(|| match first_sign {
        0 => Ordering::Equal,
        1 => first.magnitude(&second),
        _ => second.magnitude(&first),
    })
}

/// The sum, with as many digits behind the point as the longer of the two has. `None` where one is no number.
pub(crate) fn add_decimals(one: &str, two: &str) -> Option<String> {
    match (one, two) {
        ("NaN", _) | (_, "NaN") | ("Infinity", "-Infinity") | ("-Infinity", "Infinity") => {
            return Some("NaN".to_owned());
        }
        ("Infinity" | "-Infinity", _) => return Some(one.to_owned()),
        (_, "Infinity" | "-Infinity") => return Some(two.to_owned()),
        _ => {}
    }
    let (first, second) = (Decimal::read(one)?, Decimal::read(two)?);
    let scale = first.fraction.len().max(second.fraction.len());
    let (larger, smaller) =
        if first.magnitude(&second) == Ordering::Less { (&second, &first) } else { (&first, &second) };
    let subtracts = first.is_negative != second.is_negative;
    let length = larger.whole.len().max(smaller.whole.len()) + scale + 1;
    let padded = |decimal: &Decimal<'_>| -> Vec<u8> {
        decimal.digits(scale).chain(std::iter::repeat(0)).take(length).collect()
    };
    let mut digits = Vec::with_capacity(length);
    let mut carry = 0i8;
    for (upper, lower) in padded(larger).into_iter().zip(padded(smaller)) {
        let (upper, lower) = (upper as i8, lower as i8);
        let sum = if subtracts { upper - lower + carry } else { upper + lower + carry };
        carry = sum.div_euclid(10);
        digits.push(b'0' + sum.rem_euclid(10).unsigned_abs());
    }
    while digits.len() > scale + 1 && digits.last() == Some(&b'0') {
        digits.pop();
    }
    if digits.len() <= scale {
        digits.resize(scale + 1, b'0');
    }
    let is_zero = digits.iter().all(|digit| *digit == b'0');
    if scale > 0 {
        digits.insert(scale, b'.');
    }
    if larger.is_negative && !is_zero {
        digits.push(b'-');
    }
    digits.reverse();
    String::from_utf8(digits).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_ordered_as_postgres_orders_them() {
        let ascending = [
            "",
            "x",
            "-Infinity",
            "-10",
            "-9.5",
            "-9.25",
            "0",
            "0.001",
            "1",
            "9",
            "10",
            "10.5",
            "123456789012345678901234567890",
            "Infinity",
            "NaN",
        ];
        for (place, one) in ascending.iter().enumerate() {
            for (other_place, two) in ascending.iter().enumerate() {
                assert_eq!(compare_decimals(one, two), place.cmp(&other_place), "{one} {two}");
            }
        }
        for (one, two) in [("1", "1.00"), ("-0.0", "0"), ("007", "7"), (".5", "0.50")] {
            assert_eq!(compare_decimals(one, two), Ordering::Equal, "{one} {two}");
        }
    }

    #[test]
    fn sums_are_exact() {
        for (one, two, sum) in [
            ("0", "0", "0"),
            ("1.50", "-1.5", "0.00"),
            ("99.99", "0.01", "100.00"),
            ("-0.5", "0.25", "-0.25"),
            ("0.1", "0.2", "0.3"),
            ("9", "-10", "-1"),
            ("1", "-0.001", "0.999"),
            ("99999999999999999999", "1", "100000000000000000000"),
            ("NaN", "1", "NaN"),
            ("Infinity", "-Infinity", "NaN"),
            ("1", "-Infinity", "-Infinity"),
        ] {
            assert_eq!(add_decimals(one, two).as_deref(), Some(sum), "{one} + {two}");
            assert_eq!(add_decimals(two, one).as_deref(), Some(sum), "{two} + {one}");
        }
        assert_eq!(add_decimals("1", "many"), None);
    }

    proptest! {
        #[test]
        fn sums_and_order_are_those_of_whole_numbers(one in any::<i64>(), two in any::<i64>()) {
            let sum = i128::from(one) + i128::from(two);
            let [first, second] = [one, two].map(|number| number.to_string());
            prop_assert_eq!(add_decimals(&first, &second), Some(sum.to_string()));
            prop_assert_eq!(compare_decimals(&first, &second), one.cmp(&two));
        }
    }
}
