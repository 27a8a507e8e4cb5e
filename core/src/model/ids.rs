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

/// How the id of an imported item begins, as long as it is no account's.
const ITEM: &[u8; 4] = b"item";

impl UserId {
    /// Whose work it is before anybody has signed in: no account's, because it is no UUID that a sign-in service makes (it says
    /// "marea", "guest" and that it is of version 8: RFC 9562, 5.8).
    pub const GUEST: UserId = UserId(Uuid::from_u128(0x6d61_7265_6100_8067_8075_6573_7400_0000));

    /// Whether nobody has signed in.
    pub fn is_guest(self) -> bool {
        self == UserId::GUEST
    }
}

impl MutationId {
    /// The id that what an app kept before has as long as it is no account's: made of its name alone, so that it is the same one
    /// on every device (a UUIDv8, RFC 9562, 5.8). `digest` is of the name; the first four bytes say whose kind of id it is.
    pub(crate) fn of_item(mut digest: [u8; 16]) -> MutationId {
        digest[..4].copy_from_slice(ITEM);
        MutationId(Builder::from_custom_bytes(digest).into_uuid())
    }

    /// Whether it is one of those.
    pub(crate) fn is_of_item(self) -> bool {
        self.0.get_version_num() == 8 && self.0.as_bytes().starts_with(ITEM)
    }

    /// And the one that it has as an account's: the UUIDv5 (RFC 9562, 5.5) of the item's id in the name space of the user. So two
    /// people who share a device do not share ids. `digest` is of both.
    pub(crate) fn of_users_item(digest: [u8; 16]) -> MutationId {
        MutationId(Builder::from_sha1_bytes(digest).into_uuid())
    }

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
