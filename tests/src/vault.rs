//! Envelopes made and opened by the product's own engine, each in a mirror of its own in memory: what the openers in other
//! languages are compared with, and where the frozen vectors come from.

use marea_core::{
    ApiKey, Change, DataKey, Engine, Error, KeyEnvelope, Location, Now, Passphrase, Provider, RecoveryCode,
    SystemEntropy, UnixMillis, UserId, VaultRequest,
};
use serde::{Deserialize, Serialize};

pub use marea_worlds::envelope::of_shape;

/// An envelope and everything that opens it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Vector {
    /// What is special about it.
    pub name: String,
    /// Whose it is.
    pub user: UserId,
    /// Whose API the key is for.
    pub provider: Provider,
    /// What opens it.
    pub passphrase: String,
    /// What opens it too.
    pub code: Option<String>,
    /// What is in it.
    pub key: String,
    /// The sealed key.
    pub envelope: String,
}

fn now() -> Now {
    Now { unix_ms: UnixMillis(1_763_899_200_000), utc_offset_minutes: 0 }
}

fn engine(user: UserId) -> Engine {
    Engine::open(&Location::Memory, user, Box::new(SystemEntropy::new()), now()).expect("a mirror in memory")
}

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(text.to_owned()).expect("a passphrase")
}

fn work(engine: &mut Engine, request: VaultRequest, current: &str, new: &str) -> Result<(), Error> {
    let mut work = engine.begin_vault_work(request, now())?;
    let given = |text: &str| (!text.is_empty()).then(|| passphrase(text));
    work.run(given(current).as_ref(), given(new).as_ref())?;
    engine.finish_vault_work(work, now()).map(drop)
}

/// A device with this one envelope.
fn holding(user: UserId, provider: Provider, envelope: &str) -> Result<Engine, Error> {
    let mut engine = engine(user);
    engine.mutate(Change::PutKey { provider, envelope: envelope.parse()? }, now())?;
    Ok(engine)
}

fn said<T>(result: Result<T, Error>) -> Result<T, String> {
    result.map_err(|error| error.code().to_owned())
}

/// What is in an envelope.
///
/// # Errors
/// The engine's error code.
pub fn open(user: UserId, provider: Provider, envelope: &str, current: &str) -> Result<String, String> {
    said(holding(user, provider, envelope).and_then(|mut engine| {
        work(&mut engine, VaultRequest::Unlock, current, "")?;
        Ok(engine.open_key(provider, now())?.expose().to_owned())
    }))
}

/// The same by the recovery code.
///
/// # Errors
/// The engine's error code.
pub fn open_by_code(user: UserId, provider: Provider, envelope: &str, code: &str) -> Result<String, String> {
    said(holding(user, provider, envelope).and_then(|mut engine| {
        let request = VaultRequest::Recover(RecoveryCode::parse(code)?);
        work(&mut engine, request, "", "chosen after recovery")?;
        Ok(engine.open_key(provider, now())?.expose().to_owned())
    }))
}

/// Seals a key in a new vault.
pub fn make(user: UserId, provider: Provider, key: &str, chosen: &str, with_code: bool) -> Vector {
    let mut engine = engine(user);
    work(&mut engine, VaultRequest::SetUp, "", chosen).expect("set up");
    let code = with_code.then(|| {
        let code = engine.make_recovery_code(now()).expect("an open vault");
        code.expose().to_string()
    });
    let clear = ApiKey::new(key.to_owned()).expect("a key");
    engine.put_key(provider, &clear, now()).expect("sealed");
    vector("made anew", engine, provider, key, chosen, code)
}

fn vector(
    name: &str,
    engine: Engine,
    provider: Provider,
    key: &str,
    chosen: &str,
    code: Option<String>,
) -> Vector {
    let keys = engine.api_keys().expect("a mirror");
    Vector {
        name: name.to_owned(),
        user: engine.user_id(),
        provider,
        passphrase: chosen.to_owned(),
        code,
        key: key.to_owned(),
        envelope: keys.get(provider).expect("a sealed key").as_str().to_owned(),
    }
}

/// New vectors of the format that the program writes. Once released, a file of them is never made again.
pub fn vectors() -> Vec<Vector> {
    let user: UserId = "7d0c7d5e-0d0e-4c0f-9b3a-2f8f5a1b6c3d".parse().expect("a user");
    let other: UserId = "00000000-0000-4000-8000-000000000001".parse().expect("a user");
    let usual = "sk-proj-frozen-0123456789abcdefghijklmnopqrstuvwa1B2";
    let named = |name: &str, vector: Vector| Vector { name: name.to_owned(), ..vector };
    vec![
        named("a usual key", make(user, Provider::Openai, usual, "orbit velvet canoe drum", false)),
        named("with a recovery code", make(other, Provider::Anthropic, usual, "lantern pebble fjord", true)),
        named(
            "a passphrase that NFKC changes",
            make(user, Provider::Unsplash, usual, "mare\u{301}e ﬁne ４２ pour tous", false),
        ),
        named("the shortest key", make(user, Provider::Openai, "x", "fifteen lettres", false)),
        named("the longest key", make(user, Provider::Openai, &"k".repeat(1024), "fifteen lettres", true)),
        named(
            "a key in the next room",
            make(user, Provider::Openai, &"k".repeat(257), "fifteen lettres", false),
        ),
        changed(user, usual, VaultRequest::ChangePassphrase),
        changed(user, usual, VaultRequest::RewrapPassphrase),
        changed(user, usual, VaultRequest::Rotate),
    ]
}

/// What a changed passphrase and a rotated data key leave.
fn changed(user: UserId, key: &str, request: VaultRequest) -> Vector {
    let mut engine = engine(user);
    work(&mut engine, VaultRequest::SetUp, "", "the first passphrase").expect("set up");
    let clear = ApiKey::new(key.to_owned()).expect("a key");
    engine.put_key(Provider::Openai, &clear, now()).expect("sealed");
    let (name, chosen) = match request {
        VaultRequest::Rotate => ("after a rotation", "the first passphrase"),
        VaultRequest::RewrapPassphrase => ("wrapped by another passphrase", "the second passphrase"),
        _ => ("after a change of passphrase", "the second passphrase"),
    };
    work(&mut engine, request, "the first passphrase", "the second passphrase").expect("changed");
    vector(name, engine, Provider::Openai, key, chosen, None)
}

/// An envelope before a change of passphrase, and what became of it.
pub fn before_and_after(user: UserId, key: &str, first: &str, second: &str) -> (String, String) {
    let mut engine = engine(user);
    work(&mut engine, VaultRequest::SetUp, "", first).expect("set up");
    let clear = ApiKey::new(key.to_owned()).expect("a key");
    engine.put_key(Provider::Openai, &clear, now()).expect("sealed");
    let text = |engine: &Engine| {
        let keys = engine.api_keys().expect("a mirror");
        keys.openai_api_key.expect("a sealed key").as_str().to_owned()
    };
    let before = text(&engine);
    work(&mut engine, VaultRequest::ChangePassphrase, first, second).expect("changed");
    (before, text(&engine))
}

/// What a passphrase makes for an envelope.
pub fn derived(envelope: &KeyEnvelope, current: &str) -> DataKey {
    let user = "7d0c7d5e-0d0e-4c0f-9b3a-2f8f5a1b6c3d".parse().expect("a user");
    let mut holding = holding(user, Provider::Openai, envelope.as_str()).expect("an envelope");
    let work = holding.begin_vault_work(VaultRequest::Unlock, now()).expect("a vault");
    passphrase(current).derive(&work.next_step().expect("one derivation"))
}
