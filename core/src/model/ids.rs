//! Identifiers: UUIDs that cannot be confused with one another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::{Builder, Uuid};

use crate::entropy::Entropy;
use crate::error::Error;
use crate::model::UnixMillis;

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident, $field:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "tsify", derive(tsify::Tsify))]
        #[serde(transparent)]
        pub struct $name(#[cfg_attr(feature = "tsify", tsify(type = "string"))] Uuid);

        impl $name {
            /// The UUID itself.
            pub fn as_uuid(&self) -> &Uuid {
                &self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                Uuid::parse_str(text)
                    .map(Self)
                    .map_err(|_| Error::invalid($field, "not a UUID; expected xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }
    };
}

id_type!(
    /// A learner: the `sub` of the access token, `users.id` in Postgres.
    UserId,
    "user_id"
);
id_type!(
    /// One mutation: a UUIDv7 made on the device. For an event it is also the row's id.
    MutationId,
    "id"
);
id_type!(
    /// One installation of Marea on one device; orders equal hybrid logical clocks.
    ClientId,
    "client_id"
);

impl MutationId {
    /// Makes a UUIDv7 (RFC 9562, 5.7) from the host's time and randomness.
    pub(crate) fn make(now: UnixMillis, entropy: &mut dyn Entropy) -> Result<Self, Error> {
        let mut random = [0u8; 10];
        entropy.fill(&mut random)?;
        let millis = u64::try_from(now.0).unwrap_or(0);
        Ok(Self(Builder::from_unix_timestamp_millis(millis, &random).into_uuid()))
    }
}

impl ClientId {
    /// Makes a random UUIDv4.
    pub(crate) fn make(entropy: &mut dyn Entropy) -> Result<Self, Error> {
        let mut random = [0u8; 16];
        entropy.fill(&mut random)?;
        Ok(Self(Builder::from_random_bytes(random).into_uuid()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_parse_and_print_as_lower_case_text() {
        let text = "018f9d3e-7a00-7000-8000-0123456789ab";
        let id: MutationId = text.to_uppercase().parse().unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!("nonsense".parse::<UserId>().unwrap_err().code(), "invalid_input");
    }
}
