//! The oldest prefix of the queue that one request may carry.

use crate::model::Mutation;
use crate::planted::{self, Fault};

/// What the JSON around a mutation's values weighs at most: id, clock, table, op, key, punctuation.
const ENVELOPE_BYTES: usize = 400;

/// Bounds of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchLimits {
    /// Mutations at most, at least 1.
    pub(crate) mutations: usize,
    /// Bytes of mutations at most.
    pub(crate) bytes: usize,
}

/// The mutations of one request.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) mutations: Vec<Mutation>,
    /// What they weigh.
    pub(crate) bytes: usize,
}

/// What a mutation weighs in a request at most.
pub(crate) fn weight(values: &str) -> usize {
    values.len() + ENVELOPE_BYTES
}

/// Takes mutations from the front while they fit; those of one batch together or not at all. What comes first is always taken:
/// alone it is below the bound, and if a server disagrees it has to say so.
pub(crate) fn take_prefix(queue: impl IntoIterator<Item = Mutation>, limits: BatchLimits) -> Batch {
    debug_assert!(limits.mutations >= 1);
    let mut queue = queue.into_iter().peekable();
    let mut taken = Batch { mutations: Vec::new(), bytes: 0 };
    while let Some(first) = queue.next() {
        let batch = first.batch.filter(|_| !planted::is(Fault::BatchSplit));
        let mut together = vec![first];
        while let Some(next) = queue.next_if(|next| batch.is_some() && next.batch == batch) {
            together.push(next);
        }
        let bytes =
            taken.bytes + together.iter().map(|mutation| weight(mutation.values.get())).sum::<usize>();
        let fits = taken.mutations.len() + together.len() <= limits.mutations && bytes <= limits.bytes;
        if !fits && !taken.mutations.is_empty() {
            break;
        }
        taken.bytes = bytes;
        taken.mutations.extend(together);
        if !fits {
            break;
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;
    use crate::model::{Hlc, MutationId, Op, Table};

    fn mutation(value_bytes: usize) -> Mutation {
        let text = format!("\"{}\"", "x".repeat(value_bytes - 2));
        Mutation {
            id: MutationId::from(uuid::Uuid::nil()),
            hlc: Hlc::ZERO,
            table: Table::Sessions,
            op: Op::Insert,
            key: String::new(),
            values: RawValue::from_string(text).unwrap(),
            batch: None,
        }
    }

    #[test]
    fn a_batch_of_an_app_is_taken_whole_or_not_at_all() {
        let of = |batch: u128| Mutation {
            batch: Some(MutationId::from(uuid::Uuid::from_u128(batch))),
            ..mutation(100)
        };
        let taken = |queue: Vec<Mutation>, mutations, bytes| {
            take_prefix(queue, BatchLimits { mutations, bytes }).mutations.len()
        };
        let queue = || vec![mutation(100), of(1), of(1), of(1), of(2), of(2), mutation(100)];
        assert_eq!(taken(queue(), 10, 100_000), 7);
        assert_eq!(taken(queue(), 6, 100_000), 6);
        assert_eq!(taken(queue(), 5, 100_000), 4);
        assert_eq!(taken(queue(), 3, 100_000), 1);
        assert_eq!(taken(queue(), 10, 3 * (100 + ENVELOPE_BYTES)), 1);
        let behind = || queue().split_off(1);
        assert_eq!(taken(behind(), 1, 100_000), 3, "what comes first is taken whole");
        assert_eq!(taken(behind(), 2, 100), 3);
    }

    #[test]
    fn a_batch_is_bounded_in_number_and_in_bytes() {
        let sizes = |sizes: &[usize]| sizes.iter().map(|s| mutation(*s)).collect::<Vec<_>>();
        for (queue, mutations, bytes, taken) in [
            (sizes(&[100, 100, 100]), 2, 10_000, 2),
            (sizes(&[100, 100, 100]), 10, 2 * (100 + ENVELOPE_BYTES), 2),
            (sizes(&[9_000, 100]), 10, 1_000, 1),
            (sizes(&[]), 10, 1_000, 0),
        ] {
            let batch = take_prefix(queue, BatchLimits { mutations, bytes });
            assert_eq!(batch.mutations.len(), taken);
        }
    }
}
