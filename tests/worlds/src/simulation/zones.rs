//! Where a device is: its local day, in all of the world's offsets, and what becomes of it when somebody travels or clocks are changed.

use crate::random::Random;

/// The offsets from UTC that clocks on Earth show, in minutes, those of summer among them.
const OFFSETS: [i32; 40] = [
    -720, -660, -600, -570, -540, -480, -420, -360, -300, -240, -210, -180, -150, -120, -60, 0, 60, 120, 180,
    210, 240, 270, 300, 330, 345, 360, 390, 420, 480, 525, 540, 570, 600, 630, 660, 720, 765, 780, 825, 840,
];

/// Anywhere.
pub(super) fn some_offset(random: &mut Random) -> i32 {
    *random.one_of(&OFFSETS)
}

/// After a journey, or in the night in which clocks are changed.
pub(super) fn another_offset(from: i32, random: &mut Random) -> i32 {
    match random.within(0..=3) {
        0 => (from + 60).min(840),
        1 => (from - 60).max(-720),
        _ => some_offset(random),
    }
}
