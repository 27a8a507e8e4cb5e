//! The oldest prefix of the queue that one request may carry.

use crate::model::Mutation;

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

/// Takes mutations from the front while they fit. The first one is always taken: alone it is below the bound, and if
/// a server disagrees it has to say so.
pub(crate) fn take_prefix(queue: impl IntoIterator<Item = Mutation>, limits: BatchLimits) -> Batch {
    debug_assert!(limits.mutations >= 1);
    let mut mutations = Vec::new();
    let mut bytes = 0;
    for mutation in queue {
        let with_it = bytes + mutation.values.get().len() + ENVELOPE_BYTES;
        let full = mutations.len() >= limits.mutations || (with_it > limits.bytes && !mutations.is_empty());
        if full {
            break;
        }
        bytes = with_it;
        mutations.push(mutation);
    }
    Batch { mutations, bytes }
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
        }
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
