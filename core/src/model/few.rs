//! Sorting a handful of things. The standard library's sort is fast for many, and comes once more with each type that is
//! sorted: 3 kB of code for each, which a browser would download (docs/adr/0050-what-the-browser-downloads.md).

/// Sorts in place, by insertion: a square of steps, so for a few. What is equal keeps its order.
pub(crate) fn sort_few<T>(items: &mut [T], is_before: impl Fn(&T, &T) -> bool) {
    for end in 1..items.len() {
        let mut at = end;
        while at > 0 && is_before(&items[at], &items[at - 1]) {
            items.swap(at, at - 1);
            at -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sorts_as_the_standard_library_does(mut items in prop::collection::vec((0..5_u8, 0..100_u8), 0..20)) {
            let mut expected = items.clone();
            expected.sort_by_key(|item| item.0);
            sort_few(&mut items, |a, b| a.0 < b.0);
            prop_assert_eq!(items, expected);
        }
    }
}
