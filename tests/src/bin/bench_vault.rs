//! What the vault costs natively: unlocking, sealing, opening, and how long an envelope is. The baseline of unlocking is OpenSSL's
//! PBKDF2 at the same rounds, by Python's `hashlib`, in the same run.

use std::process::Command;
use std::time::Duration;

use marea_core::{
    ApiKey, Engine, Location, Now, Passphrase, Provider, SystemEntropy, UnixMillis, VaultRequest,
};
use serde_json::json;

const RUNS: usize = 9;
const KEY: &str = "sk-proj-0123456789abcdefghijklmnopqrstuvwxyz0123a1B2";

/// The one place of this program that reads a clock: it measures.
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    #[expect(clippy::disallowed_methods, reason = "a measurement")]
    let start = std::time::Instant::now();
    let value = work();
    (value, start.elapsed())
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e3
}

fn at(seconds: i64) -> Now {
    Now { unix_ms: UnixMillis(1_763_899_200_000 + seconds * 1000), utc_offset_minutes: 0 }
}

fn work(engine: &mut Engine, request: VaultRequest, passphrase: &Passphrase, now: Now) {
    let mut work = engine.begin_vault_work(request, now).expect("begun");
    work.run(Some(passphrase), Some(passphrase)).expect("derived");
    engine.finish_vault_work(work, now).expect("finished");
}

/// OpenSSL's time for one derivation, in milliseconds.
fn openssl() -> f64 {
    let script = "import hashlib, time\nt = []\nfor _ in range(9):\n s = time.perf_counter()\n \
                  hashlib.pbkdf2_hmac('sha256', b'correct horse battery staple', b's' * 16, 600000)\n \
                  t.append(time.perf_counter() - s)\nprint(sorted(t)[4] * 1e3)";
    let output = Command::new("python3").args(["-c", script]).output().expect("python3 is on PATH");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number")
}

fn main() {
    let passphrase = Passphrase::new("orbit velvet canoe drum".to_owned()).expect("a passphrase");
    let key = ApiKey::new(KEY.to_owned()).expect("a key");
    let user = "7d0c7d5e-0d0e-4c0f-9b3a-2f8f5a1b6c3d".parse().expect("a user");
    let mut engine =
        Engine::open(&Location::Memory, user, Box::new(SystemEntropy::new()), at(0)).expect("a mirror");
    work(&mut engine, VaultRequest::SetUp, &passphrase, at(0));
    let mut times = (Vec::new(), Vec::new(), Vec::new());
    for run in 0..RUNS {
        let now = at(i64::try_from(run).unwrap_or(0));
        times.0.push(timed(|| engine.put_key(Provider::Openai, &key, now).expect("sealed")).1);
        times.1.push(timed(|| engine.open_key(Provider::Openai, now).expect("open")).1);
        engine.lock_vault();
        times.2.push(timed(|| work(&mut engine, VaultRequest::Unlock, &passphrase, now)).1);
    }
    let length =
        |engine: &Engine| engine.api_keys().expect("a mirror").openai_api_key.map_or(0, |e| e.as_str().len());
    let plain = length(&engine);
    engine.make_recovery_code(at(20)).expect("a code");
    let with_code = length(&engine);
    let (unlock, base) = (median(times.2), openssl());
    let (seal, open) = (median(times.0), median(times.1));
    let figures = json!({
        "unlock_ms": unlock, "openssl_pbkdf2_ms": base, "unlock_ratio": unlock / base,
        "put_ms": seal, "open_ms": open, "key_bytes": KEY.len(), "envelope_chars": plain, "with_recovery_code_chars": with_code,
    });
    let text = match std::env::args().any(|word| word == "--json") {
        true => format!("{figures}\n"),
        false => format!(
            "unlock (600,000 rounds)        {unlock:8.1} ms\nOpenSSL's PBKDF2, same rounds  {base:8.1} ms   ({:.2} x)\n\
             put: seal and write (memory)   {seal:8.3} ms\nopen one key                   {open:8.3} ms\n\
             envelope of a key of {} bytes   {plain} characters, {with_code} with a recovery code\n\
             median of {RUNS}\n",
            unlock / base,
            KEY.len(),
        ),
    };
    let _ = std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes());
}
