//! Sealed API keys: opaque envelopes, one per provider. How one is sealed and opened is the vault's affair.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::model::Timestamp;

/// Whose API a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "tsify", derive(tsify::Tsify))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Provider {
    /// OpenAI.
    Openai,
    /// Unsplash.
    Unsplash,
    /// Anthropic.
    Anthropic,
}

impl Provider {
    /// All providers.
    pub const ALL: [Provider; 3] = [Provider::Openai, Provider::Unsplash, Provider::Anthropic];

    /// The name in commands and in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Provider::Openai => "openai",
            Provider::Unsplash => "unsplash",
            Provider::Anthropic => "anthropic",
        }
    }

    /// The column that holds its envelope.
    pub(crate) fn column(self) -> &'static str {
        match self {
            Provider::Openai => "openai_api_key",
            Provider::Unsplash => "unsplash_api_key",
            Provider::Anthropic => "anthropic_api_key",
        }
    }
}

impl FromStr for Provider {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let known = Provider::ALL.into_iter().find(|provider| provider.name() == name);
        known.ok_or_else(|| Error::invalid("provider", "expected openai, unsplash or anthropic"))
    }
}

/// One sealed value: a line of text that begins with `marea` and the format's version. Never a plain key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "tsify", derive(tsify::Tsify))]
#[serde(try_from = "String", into = "String")]
pub struct KeyEnvelope(#[cfg_attr(feature = "tsify", tsify(type = "string"))] String);

/// The same bound as the CHECK constraint in Postgres.
const MAX_ENVELOPE_CHARS: usize = 4096;
const PARTS: std::ops::RangeInclusive<usize> = 2..=12;

impl KeyEnvelope {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyEnvelope {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut parts = text.split('.');
        let version = parts.next().and_then(|first| first.strip_prefix("marea")).unwrap_or_default();
        let versioned = !version.starts_with('0') && version.parse::<u32>().is_ok();
        let symbols = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        };
        let rest: Vec<&str> = parts.collect();
        let shaped = PARTS.contains(&rest.len()) && rest.iter().all(|part| symbols(part));
        if text.len() <= MAX_ENVELOPE_CHARS && versioned && shaped {
            return Ok(KeyEnvelope(text.to_owned()));
        }
        Err(Error::invalid("envelope", "is not a sealed key; seal it first, plain keys are never stored"))
    }
}

impl TryFrom<String> for KeyEnvelope {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<KeyEnvelope> for String {
    fn from(envelope: KeyEnvelope) -> String {
        envelope.0
    }
}

impl fmt::Debug for KeyEnvelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyEnvelope(..)")
    }
}

/// The envelopes of one user.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "tsify", derive(tsify::Tsify))]
pub struct ApiKeys {
    /// The OpenAI key's envelope.
    pub openai_api_key: Option<KeyEnvelope>,
    /// The Unsplash key's envelope.
    pub unsplash_api_key: Option<KeyEnvelope>,
    /// The Anthropic key's envelope.
    pub anthropic_api_key: Option<KeyEnvelope>,
    /// When a device last saw the providers accept the keys.
    pub last_validated_at: Option<Timestamp>,
}

impl ApiKeys {
    /// The envelope of a provider.
    pub fn get(&self, provider: Provider) -> Option<&KeyEnvelope> {
        match provider {
            Provider::Openai => self.openai_api_key.as_ref(),
            Provider::Unsplash => self.unsplash_api_key.as_ref(),
            Provider::Anthropic => self.anthropic_api_key.as_ref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_keys_are_no_envelopes() {
        for good in ["marea1.a.b", "marea12.aB_-9.c.d.e.f.g"] {
            assert_eq!(good.parse::<KeyEnvelope>().unwrap().as_str(), good);
        }
        let long = format!("marea1.a.{}", "x".repeat(4096));
        for wrong in [
            "sk-proj-abc.def.ghi",
            "marea",
            "marea1",
            "marea1.a",
            "marea0.a.b",
            "marea01.a.b",
            "marea1..b",
            "marea1.a.b\n",
            &long,
        ] {
            assert!(wrong.parse::<KeyEnvelope>().is_err(), "{wrong}");
        }
        assert_eq!(format!("{:?}", "marea1.a.b".parse::<KeyEnvelope>().unwrap()), "KeyEnvelope(..)");
    }
}
