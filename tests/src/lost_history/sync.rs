//! One sync of a device with the server that it believes in: what is pushed, what comes back, and whether it starts again.

use std::collections::BTreeSet;

use super::{Cursor, World};

impl World {
    pub(super) fn sync(&mut self, device: usize, limit: usize) {
        let mut next = self.state().clone();
        let run = if self.rule.by_checkpoints { next.timeline } else { self.run(&mut next) };
        let cursor = self.devices[device].cursor;
        let lost = cursor.is_some_and(|cursor| self.is_lost(&mut next, cursor));
        let known =
            cursor.filter(|cursor| !lost && cursor.version >= next.pruned).map_or(0, |cursor| cursor.version);
        let reset = cursor.is_some() && known == 0 && cursor.is_some_and(|cursor| cursor.version > 0 || lost);

        let pushed = self.devices[device].queue.clone();
        let new: Vec<_> = pushed.iter().filter(|(fact, _)| !next.facts.contains_key(fact)).copied().collect();
        next.facts.extend(new.iter().copied());
        if new.iter().any(|(_, counts)| *counts) {
            let total = next.facts.values().filter(|counts| **counts).count() as u64;
            self.change(&mut next, &[(0, total)]);
        } else if (!new.is_empty() && self.rule.silent_push_moves)
            || (self.rule.silent_duplicate_moves && pushed.iter().any(|fact| !fact.1 && !new.contains(fact)))
        {
            self.change(&mut next, &[]);
            next.clock += 1;
        }

        let mut page: Vec<_> =
            next.rows.iter().map(|(key, (version, value))| (*version, *key, *value)).collect();
        page.retain(|(version, ..)| *version > known);
        page.sort_unstable();
        let more = page.len() > limit;
        page.truncate(limit);
        let upto = if more { page.last().map_or(known, |(version, ..)| *version) } else { next.clock };
        let clock = next.clock;
        if lost {
            let there =
                cursor.is_some_and(|cursor| self.server.log.iter().any(|state| state.id == cursor.state));
            self.tally.resets += 1;
            self.tally.needless += u32::from(there);
        }
        self.commit(next);

        let state = self.last_id;
        let device = &mut self.devices[device];
        if reset {
            device.rows.clear();
            let sent: BTreeSet<u32> = pushed.iter().map(|(fact, _)| *fact).collect();
            device.queue = device.kept.iter().map(|(fact, counts)| (*fact, *counts)).collect();
            device.queue.retain(|(fact, _)| !sent.contains(fact));
        } else {
            device.queue.clear();
        }
        device.rows.extend(page.iter().map(|(_, key, value)| (*key, *value)));
        device.kept.extend(pushed.iter().copied());
        device.cursor = Some(Cursor { version: upto, clock, at: self.hours, history: run, state });
        self.acknowledged.extend(pushed.iter().map(|(fact, _)| *fact));
    }
}
