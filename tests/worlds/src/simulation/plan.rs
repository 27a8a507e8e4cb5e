//! What kind of world a seed makes: each has a few troubles, none has all of them all the time.

use crate::random::Random;

/// The shape of one world.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Devices of the first user, and of a second one.
    pub(super) devices: [usize; 2],
    pub(super) steps: u32,
    /// Rows of one page at most.
    pub(super) page_rows: usize,
    /// Mutations that some proxy lets through at most.
    pub(super) most_mutations: usize,
    /// Mutations that the server gets done before it gives up, and rows of which it can make an answer.
    pub(super) slow_mutations: usize,
    /// Bytes of mutations that a slow line carries before the device's patience ends; one mutation always comes through.
    pub(super) line_bytes: usize,
    pub(super) answer_rows: u32,
    /// Changes that are made in one go at most.
    pub(super) burst: i64,
    /// Clocks may be ahead by years.
    pub(super) fast_clocks: bool,
    /// In percent of messages: lost, sent twice, answered with trouble.
    pub(super) lost: i64,
    pub(super) doubled: i64,
    pub(super) troubled: i64,
    /// In percent of answers: they say that there is more, and do not move on.
    pub(super) stalled: i64,
    /// In percent of crashes: the power is gone too, and with it what was not synced.
    pub(super) power_cuts: i64,
    /// In percent of mutations: refused for good.
    pub(super) poison: i64,
    /// In per mille of steps.
    pub(super) crashes: i64,
    pub(super) upgrades: i64,
    pub(super) copies: i64,
    pub(super) set_backs: i64,
    /// In percent of answers that leave pages to come: the server is set back behind them.
    pub(super) set_backs_between_pages: i64,
    pub(super) clock_steps: i64,
    /// Somebody travels, or clocks are changed.
    pub(super) journeys: i64,
    /// No token is to be had for an hour.
    pub(super) tokens_away: i64,
    pub(super) server_writes: i64,
    pub(super) long_pauses: i64,
}

impl Plan {
    /// The same without what only a made-up server can do, and without clocks that depend on when the test runs.
    pub(super) fn beside_a_real_server(self) -> Plan {
        Plan {
            page_rows: 500,
            most_mutations: 500,
            slow_mutations: 500,
            line_bytes: usize::MAX,
            answer_rows: 2_000,
            fast_clocks: false,
            set_backs: 0,
            set_backs_between_pages: 0,
            server_writes: 0,
            ..self
        }
    }

    pub(super) fn of(random: &mut Random) -> Plan {
        let mut sometimes =
            |percent: i64, most: i64| if random.chance(percent) { random.within(1..=most) } else { 0 };
        let (lost, doubled, troubled) = (sometimes(70, 40), sometimes(50, 30), sometimes(50, 20));
        let (power_cuts, upgrades) = (sometimes(60, 60), sometimes(40, 30));
        let (poison, crashes, copies) = (sometimes(30, 15), sometimes(60, 60), sometimes(25, 20));
        let (mut set_backs, mut clock_steps) = (sometimes(40, 30), sometimes(40, 60));
        let (server_writes, long_pauses) = (sometimes(40, 60), sometimes(50, 20));
        let set_backs_between_pages = if random.chance(60) { random.within(10..=50) } else { 0 };
        let journeys = if random.chance(50) { random.within(1..=40) } else { 0 };
        let tokens_away = if random.chance(30) { random.within(1..=20) } else { 0 };
        let fast_clocks = random.chance(25);
        if fast_clocks {
            // Wrong clocks are dangerous where time decides what is kept for a server that loses its past.
            (set_backs, clock_steps) = (set_backs + 20, clock_steps + 40);
        }
        let devices = usize::try_from(random.within(2..=5)).expect("few");
        let plan = Plan {
            devices: [devices, usize::from(random.chance(25))],
            steps: u32::try_from(random.within(20..=60)).expect("few"),
            page_rows: *random.one_of(&[1, 2, 3, 5, 8, 500, 500, 500]),
            most_mutations: *random.one_of(&[1, 2, 3, 5, 500, 500, 500, 500]),
            slow_mutations: 500,
            line_bytes: usize::MAX,
            answer_rows: 2_000,
            burst: *random.one_of(&[1, 1, 2, 4, 8]),
            fast_clocks,
            lost,
            doubled,
            troubled,
            stalled: 0,
            power_cuts,
            poison,
            crashes,
            upgrades,
            copies,
            set_backs,
            set_backs_between_pages,
            clock_steps,
            journeys,
            tokens_away,
            server_writes,
            long_pauses,
        };
        Plan {
            slow_mutations: *random.one_of(&[1, 2, 4, 500, 500, 500]),
            answer_rows: *random.one_of(&[1, 4, 100, 2_000, 2_000, 2_000]),
            // In one world of six, and not drawn: another draw would make other worlds of all seeds.
            line_bytes: if plan.steps % 6 == 2 {
                [600, 2_000, 8_000][plan.steps as usize / 6 % 3]
            } else {
                usize::MAX
            },
            stalled: if random.chance(20) { random.within(1..=20) } else { 0 },
            ..plan
        }
    }
}
