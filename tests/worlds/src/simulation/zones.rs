//! Places in which devices are: forty time zones, with the days on which their clocks change.

use marea_core::{Timestamp, Zone};

use crate::random::Random;

/// Around the world, both hemispheres, with and without summer time, and with offsets that are no whole hours.
const NAMES: [&str; 40] = [
    "Pacific/Kiritimati",
    "Pacific/Apia",
    "Pacific/Chatham",
    "Pacific/Auckland",
    "Pacific/Norfolk",
    "Australia/Lord_Howe",
    "Australia/Sydney",
    "Australia/Adelaide",
    "Australia/Darwin",
    "Asia/Tokyo",
    "Australia/Eucla",
    "Asia/Shanghai",
    "Asia/Jakarta",
    "Asia/Yangon",
    "Asia/Dhaka",
    "Asia/Kathmandu",
    "Asia/Kolkata",
    "Asia/Tashkent",
    "Asia/Kabul",
    "Asia/Dubai",
    "Asia/Tehran",
    "Europe/Moscow",
    "Asia/Gaza",
    "Africa/Cairo",
    "Europe/Madrid",
    "Africa/Casablanca",
    "Europe/Dublin",
    "UTC",
    "Atlantic/Azores",
    "America/Nuuk",
    "America/St_Johns",
    "America/Sao_Paulo",
    "America/Santiago",
    "America/Havana",
    "America/New_York",
    "America/Chicago",
    "America/Los_Angeles",
    "Pacific/Marquesas",
    "Pacific/Honolulu",
    "Pacific/Pago_Pago",
];

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct Place(jiff::tz::TimeZone);

impl Place {
    pub(super) fn some(random: &mut Random) -> Place {
        let name = *random.one_of(&NAMES);
        Place(jiff::tz::TimeZone::get(name).unwrap_or_else(|error| panic!("{name}: {error}")))
    }
}

impl Zone for Place {
    fn utc_offset_minutes(&self, at: Timestamp) -> i32 {
        let instant = jiff::Timestamp::from_millisecond(at.as_millis().0).expect("a time of the worlds");
        self.0.to_offset(instant).seconds().div_euclid(60)
    }
}
