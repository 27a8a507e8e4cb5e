//! The format under attack: every bit, every length, every place; and inputs from nowhere.

use std::sync::LazyLock;

use super::crypt;
use super::envelope::Envelope;
use super::header::{Header, Kdf, PassphraseWrap, ROUNDS, RecoveryWrap};
use super::known::Known;
use super::open::Open;
use super::past::{MAX_KEYS, Past};
use super::sealed::{Sealed, SealedKey};
use super::secret::{ApiKey, DataKey, RecoveryCode};
use super::work::{VaultRequest, VaultWork};
use crate::entropy::{Entropy, SystemEntropy};
use crate::error::Error;
use crate::model::{Hlc, KeyEnvelope, Provider, UnixMillis, UserId};

const KEY_ID: &str = "AAECAwQFBgcICQoL";

static WRAPPING: LazyLock<DataKey> = LazyLock::new(|| crypt::derive(b"a passphrase", &[7; 16], ROUNDS));

fn user() -> UserId {
    "7d0c7d5e-0d0e-4c0f-9b3a-2f8f5a1b6c3d".parse().unwrap()
}

fn place() -> (UserId, Provider) {
    (user(), Provider::Openai)
}

fn put_at() -> Hlc {
    "1763899200000-0100".parse().unwrap()
}

fn data_key() -> DataKey {
    DataKey::take(&mut [0x42; 32])
}

fn code() -> RecoveryCode {
    RecoveryCode::parse(&super::code::encode(&[5; 16])).unwrap()
}

fn sealed(with_code: bool) -> KeyEnvelope {
    let mut entropy = SystemEntropy::new();
    let kdf = Kdf { rounds: ROUNDS, salt: [7; 16] };
    let wrap =
        PassphraseWrap::make(user(), KEY_ID, &data_key(), (&WRAPPING, kdf), 1_763_899_200_000, &mut entropy);
    let recovery = RecoveryWrap::make(user(), KEY_ID, &data_key(), &code(), 1_763_899_200_001, &mut entropy);
    let header = Header {
        key_id: KEY_ID.to_owned(),
        passphrase: wrap.unwrap(),
        recovery: with_code.then(|| recovery.unwrap()),
        past: Some(Past::joined(None, None, user(), (KEY_ID, &data_key()))),
    };
    let key = ApiKey::new("sk-proj-0123456789abca1B2".to_owned()).unwrap();
    let sealed = Envelope::seal(place(), header, &data_key(), (&key, put_at()), &mut entropy);
    sealed.unwrap().text(place()).unwrap()
}

/// What opening comes to, from the text and the passphrase's key.
fn open(place: (UserId, Provider), text: &str) -> Result<String, &'static str> {
    let read = |text| -> Result<String, Error> {
        let envelope = Envelope::read(place, text)?;
        let wrap = &envelope.header.passphrase;
        let data_key = wrap.open(place.0, &envelope.header.key_id, &WRAPPING);
        let data_key = data_key.ok_or(crate::error::VaultError::WrongPassphrase)?;
        Ok(envelope.open(place, &data_key)?.expose().to_owned())
    };
    read(text).map_err(|error| error.code())
}

#[test]
fn what_was_sealed_opens() {
    for with_code in [false, true] {
        let text = sealed(with_code);
        assert_eq!(open(place(), text.as_str()).as_deref(), Ok("sk-proj-0123456789abca1B2"));
        let envelope = Envelope::read(place(), text.as_str()).unwrap();
        assert!(envelope.text(place()).unwrap() == text);
        let recovered = envelope.header.recovery.map(|wrap| wrap.open(user(), KEY_ID, &code()).unwrap());
        assert_eq!(recovered.map(|key| *key.expose()), with_code.then_some([0x42; 32]));
    }
}

#[test]
fn a_data_key_is_as_new_as_the_wrap_that_opened_it() {
    let keys = vec![SealedKey { provider: Provider::Openai, text: sealed(true), hlc: Hlc::ZERO }];
    let sealed = Sealed::new(user(), keys, None, Known::default());
    for (request, made_ms) in [
        (VaultRequest::Unlock, 1_763_899_200_000),
        (VaultRequest::Recover(code()), 1_763_899_200_001),
        (VaultRequest::RecoverRewrap(code()), 1_763_899_200_001),
    ] {
        let mut work = VaultWork::new(request, user(), sealed.headers(), [0; 16]);
        while work.next_step().is_some() {
            work.supply(WRAPPING.clone());
        }
        let mut open = Open::new(UnixMillis(0));
        open.take(&work, &sealed);
        let opened: Vec<u64> = open.keys.iter().map(|key| key.made_ms).collect();
        assert_eq!(opened, [made_ms], "{:?}", work.request);
    }
}

/// A derivation takes a fifth of a second and more.
#[test]
fn nothing_is_derived_for_a_data_key_that_is_open_already() {
    let mut entropy = SystemEntropy::new();
    let (old_id, old, by) = ("BBECAwQFBgcICQoL", DataKey::take(&mut [9; 32]), data_key());
    let mut header = |id: &str, key: &DataKey, salt: u8, past: Option<Past>| {
        let wrapping = (&*WRAPPING, Kdf { rounds: ROUNDS, salt: [salt; 16] });
        let made_ms = u64::from(100 - salt);
        let passphrase = PassphraseWrap::make(user(), id, key, wrapping, made_ms, &mut entropy).unwrap();
        Header { key_id: id.to_owned(), passphrase, recovery: None, past }
    };
    let past = Past::joined(None, None, user(), (KEY_ID, &by));
    let past = past.with((old_id, &old), 1, user(), (KEY_ID, &by), &mut SystemEntropy::new()).unwrap();
    let newest = header(KEY_ID, &by, 7, Some(past));
    // An older wrap of the same data key, and a data key that it has superseded.
    for other in [header(KEY_ID, &by, 8, None), header(old_id, &old, 8, None)] {
        let mut work = VaultWork::new(VaultRequest::Unlock, user(), vec![other, newest.clone()], [0; 16]);
        assert_eq!(work.next_step().map(|step| step.salt), Some([7; 16]), "the newest first");
        work.supply(WRAPPING.clone());
        assert!(work.opened.len() == 1 && work.next_step().is_none());
    }
}

#[test]
fn of_two_lists_of_superseded_keys_the_longer_one_stays_and_of_too_many_keys_the_newest() {
    let (mut entropy, by) = (SystemEntropy::new(), data_key());
    let ids: Vec<String> = (0..=MAX_KEYS).map(|n| format!("{n:016}")).collect();
    let mut lists = vec![Past::joined(None, None, user(), (KEY_ID, &by))];
    for (since_ms, id) in (1..).zip(&ids) {
        let old = (id.as_str(), &DataKey::take(&mut [7; 32]));
        let list = lists[lists.len() - 1].clone();
        lists.push(list.with(old, since_ms, user(), (KEY_ID, &by), &mut entropy).unwrap());
    }
    let lengths: Vec<usize> = lists.iter().map(Past::len).collect();
    assert_eq!(lengths[..3], [0, 1, 2]);
    let last = lists.last().unwrap();
    assert_eq!((last.len(), last.has(&ids[0]), last.has(&ids[MAX_KEYS])), (MAX_KEYS, false, true));
    let with = |list: &Past| {
        let header = Envelope::read(place(), sealed(false).as_str()).unwrap().header;
        Header { past: Some(list.clone()), ..header }
    };
    for (own, good) in [(0, 2), (2, 0), (1, 2), (2, 1)] {
        let mut header = with(&lists[own]);
        header.catch_up(&with(&lists[good]));
        assert_eq!(header.past.unwrap().len(), 2, "{own} beside {good}");
    }
}

#[test]
fn every_bit_counts_and_all_damage_is_the_same_error() {
    let text = sealed(true);
    let bytes = text.as_str().as_bytes();
    let mut tried = 0;
    for place_of in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.to_vec();
            flipped[place_of] ^= 1 << bit;
            let Ok(flipped) = String::from_utf8(flipped) else { continue };
            assert_eq!(open(place(), &flipped), Err("key_damaged"), "byte {place_of}, bit {bit}");
            tried += 1;
        }
    }
    assert_eq!(tried, bytes.len() * 7, "all but the highest bits, which are no text");
    for length in 0..bytes.len() {
        assert_eq!(open(place(), &text.as_str()[..length]), Err("key_damaged"));
    }
    for more in ["A", ".A", ".", "=", "\n", " ", "\0"] {
        assert_eq!(open(place(), &format!("{}{more}", text.as_str())), Err("key_damaged"));
        assert_eq!(open(place(), &format!("{more}{}", text.as_str())), Err("key_damaged"));
    }
}

#[test]
fn an_envelope_opens_in_its_place_only() {
    let text = sealed(false);
    let stranger = "7d0c7d5e-0d0e-4c0f-9b3a-2f8f5a1b6c3e".parse().unwrap();
    let version = text.as_str().replace("marea2", "marea3");
    for (place, text) in [
        ((stranger, Provider::Openai), text.as_str()),
        ((user(), Provider::Anthropic), text.as_str()),
        (place(), version.as_str()),
    ] {
        assert_eq!(open(place, text), Err("key_damaged"));
    }
}

#[test]
fn who_makes_the_checksum_right_gains_nothing() {
    let text = sealed(true);
    let (summed, _) = text.as_str().rsplit_once('.').unwrap();
    let mut opened_anyway = Vec::new();
    for (place_of, byte) in summed.bytes().enumerate() {
        for other in [b'A', b'9', b'_', b'1'].into_iter().filter(|other| *other != byte) {
            let mut forged = summed.as_bytes().to_vec();
            forged[place_of] = other;
            let forged = super::with_sum(place(), &String::from_utf8(forged).unwrap());
            match open(place(), &forged) {
                Ok(_) => opened_anyway.push((place_of, forged)),
                Err(code) => assert!(["key_damaged", "wrong_passphrase"].contains(&code)),
            }
        }
    }
    // The recovery wrap and the list of superseded keys are not what the passphrase opens; but then they open nothing
    // themselves, and are carried nowhere.
    let dots = summed.match_indices('.').map(|(at, _)| at).collect::<Vec<_>>();
    for (place_of, forged) in opened_anyway {
        assert!(dots[6] < place_of && place_of < dots[8], "byte {place_of}");
        let header = Envelope::read(place(), &forged).unwrap().header;
        let checked = header.checked(user(), &data_key()).unwrap();
        if place_of < dots[7] {
            assert!(header.recovery.as_ref().unwrap().open(user(), KEY_ID, &code()).is_none());
            assert!(checked.recovery.is_none());
        } else {
            assert!(checked.past.is_none());
        }
    }
    // Moved to another user or provider, with the sum of that place.
    let stranger = "7d0c7d5e-0d0e-4c0f-9b3a-2f8f5a1b6c3e".parse().unwrap();
    let moved = |place| open(place, &super::with_sum(place, summed));
    assert_eq!(moved((stranger, Provider::Openai)), Err("wrong_passphrase"));
    assert_eq!(moved((user(), Provider::Unsplash)), Err("key_damaged"));
}

#[test]
fn parameters_from_an_envelope_are_bounded() {
    let text = sealed(false);
    let (summed, _) = text.as_str().rsplit_once('.').unwrap();
    let own = format!("pbkdf2-sha256-{ROUNDS}");
    for (kdf, good) in [
        ("pbkdf2-sha256-9999999", true),
        ("pbkdf2-sha256-10000000", false),
        ("pbkdf2-sha256-4294967296", false),
        ("pbkdf2-sha256-0", false),
        ("pbkdf2-sha256-02", false),
        ("pbkdf2-sha256-", false),
        ("pbkdf2-sha512-600000", false),
        ("argon2id-19-3-64", false),
    ] {
        let text = super::with_sum(place(), &summed.replace(&own, kdf));
        assert_eq!(Envelope::read(place(), &text).is_ok(), good, "{kdf}");
    }
}

/// A million inputs: random text, and envelopes with pieces changed, some with the right checksum.
#[test]
fn no_input_makes_the_parser_panic() {
    let text = sealed(true);
    let (summed, _) = text.as_str().rsplit_once('.').unwrap();
    let mut random = Random(0x006d_6172_6561);
    let (mut refused, mut read) = (0_u32, 0_u32);
    for round in 0..1_000_000_u32 {
        let mut bytes = summed.as_bytes().to_vec();
        let letters = b"AZaz09-_.marea1pbkdf2sh =\x00\xc3\xa9";
        if round % 4 == 0 {
            bytes.clear();
            for _ in 0..random.below(64) {
                bytes.push(letters[random.below(letters.len())]);
            }
        }
        for _ in 0..=random.below(3) {
            let place = random.below(bytes.len().max(1));
            let letter = letters[random.below(letters.len())];
            match random.below(4) {
                0 if place < bytes.len() => bytes[place] = letter,
                1 => bytes.insert(place.min(bytes.len()), letter),
                2 => bytes.truncate(place),
                _ if place < bytes.len() => drop(bytes.remove(place)),
                _ => {}
            }
        }
        let input = String::from_utf8_lossy(&bytes);
        // Three in four have the right sum, so that they get further than that.
        let input = if round % 4 == 3 { input.into_owned() } else { super::with_sum(place(), &input) };
        match Envelope::read(place(), &input) {
            Err(error) => {
                assert_eq!(error.code(), "key_damaged");
                refused += 1;
            }
            Ok(envelope) => {
                assert_eq!(envelope.text(place()).unwrap().as_str(), input, "one text for one envelope");
                read += 1;
            }
        }
    }
    assert!(refused > 500_000 && read > 1_000, "{refused} refused, {read} read");
}

/// Splitmix64, to be the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap_or(0)
    }
}

#[test]
fn a_failing_source_of_randomness_seals_nothing() {
    struct Broken;
    impl Entropy for Broken {
        fn fill(&mut self, _: &mut [u8]) -> Result<(), Error> {
            Err(Error::NoEntropy)
        }
    }
    assert_eq!(crypt::seal(&data_key(), "x", b"y", &mut Broken).unwrap_err().code(), "no_entropy");
}
