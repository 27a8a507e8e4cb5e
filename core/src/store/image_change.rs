//! What has changed between two images of one mirror, in few bytes: for keepers that would otherwise write the whole image for
//! every session. Knows nothing of pages: it compares bytes.
//!
//! A change is the new image's length, then runs, each as offset, length and bytes; all numbers are little-endian `u32`.

use crate::error::Error;

/// Fewer equal bytes than this between two runs are cheaper written than left out: a run's head is 8 bytes.
const GAP: usize = 8;
/// Compared at once, as long as all is equal.
const BLOCK: usize = 4096;

/// What has to be done to `before` for it to become `after`. Images are of less than 4 GiB.
pub fn image_change(before: &[u8], after: &[u8]) -> Vec<u8> {
    let mut change = number(after.len()).to_vec();
    let mut at = 0;
    while at < after.len() {
        let end = (at + BLOCK).min(after.len());
        if before.get(at..end) == Some(&after[at..end]) {
            at = end;
            continue;
        }
        let differs = |index: usize| before.get(index) != Some(&after[index]);
        let Some(from) = (at..after.len()).find(|index| differs(*index)) else { break };
        let mut to = from + 1;
        // Up to the last byte that differs with no longer gap before it.
        while let Some(next) = (to..after.len().min(to + GAP)).find(|index| differs(*index)) {
            to = next + 1;
        }
        change.extend(number(from));
        change.extend(number(to - from));
        change.extend(&after[from..to]);
        at = to;
    }
    change
}

/// Makes of an image the one that a change leads to.
///
/// # Errors
/// [`Error::MirrorCorrupt`] for what no [`image_change`] has written; the image is as it was.
pub fn apply_image_change(image: &mut Vec<u8>, change: &[u8]) -> Result<(), Error> {
    let (length, runs) = read_number(change)?;
    // What is longer has all of the rest in its runs.
    if length > image.len() + change.len() {
        return Err(Error::MirrorCorrupt);
    }
    let mut rest = runs;
    while !rest.is_empty() {
        let (from, run, others) = read_run(rest)?;
        if from.checked_add(run.len()).is_none_or(|to| to > length) {
            return Err(Error::MirrorCorrupt);
        }
        rest = others;
    }
    image.resize(length, 0);
    rest = runs;
    while !rest.is_empty() {
        let (from, run, others) = read_run(rest)?;
        image[from..from + run.len()].copy_from_slice(run);
        rest = others;
    }
    Ok(())
}

fn read_run(bytes: &[u8]) -> Result<(usize, &[u8], &[u8]), Error> {
    let (from, rest) = read_number(bytes)?;
    let (count, rest) = read_number(rest)?;
    let (run, others) = rest.split_at_checked(count).ok_or(Error::MirrorCorrupt)?;
    Ok((from, run, others))
}

fn number(value: usize) -> [u8; 4] {
    (value as u32).to_le_bytes()
}

fn read_number(bytes: &[u8]) -> Result<(usize, &[u8]), Error> {
    let (head, rest) = bytes.split_first_chunk::<4>().ok_or(Error::MirrorCorrupt)?;
    Ok((u32::from_le_bytes(*head) as usize, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(before: &[u8], after: &[u8], most: usize) {
        let change = image_change(before, after);
        assert!(change.len() <= most, "{} bytes", change.len());
        let mut image = before.to_vec();
        apply_image_change(&mut image, &change).unwrap();
        assert!(image == after);
    }

    #[test]
    fn a_change_weighs_what_has_changed() {
        let before = vec![7u8; 3 * 4096];
        check(&before, &before, 4);
        let mut after = before.clone();
        after[5000..5010].fill(1);
        check(&before, &after, 4 + 8 + 10);
        after[5014] = 1;
        check(&before, &after, 4 + 8 + 15);
        after[12287] = 1;
        check(&before, &after, 4 + 8 + 15 + 8 + 1);
        after.extend([9; 100]);
        check(&before, &after, 4 + 8 + 15 + 8 + 101);
        check(&before, &before[..4096], 4);
        check(&[], &after, 4 + 8 + after.len());
        check(&after, &[], 4);
    }

    #[test]
    fn what_nobody_has_written_is_refused() {
        let whole = image_change(&[1; 64], &[2; 64]);
        let of = |numbers: &[u32]| numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<u8>>();
        let wrong: [&[u8]; 6] = [
            &[],
            &whole[..3],
            &whole[..20],
            &of(&[64, 60, 8, 0, 0]),
            &of(&[u32::MAX]),
            &of(&[64, u32::MAX, u32::MAX]),
        ];
        for change in wrong {
            let mut image = vec![1; 64];
            let refused = apply_image_change(&mut image, change).unwrap_err();
            assert_eq!((refused.code(), image), ("mirror_corrupt", vec![1; 64]), "{change:?}");
        }
    }

    proptest! {
        #[test]
        fn any_image_becomes_any_other(
            before in prop::collection::vec(0u8..3, 0..9000),
            after in prop::collection::vec(0u8..3, 0..9000),
        ) {
            check(&before, &after, 4 + after.len() + 8 * (after.len() / (GAP + 1) + 1));
        }
    }
}
