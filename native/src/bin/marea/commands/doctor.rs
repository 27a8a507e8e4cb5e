//! `marea doctor`: looks at mirror, queue, last sync, sign-in, server, user, clock and versions, and says of each how to mend
//! it. Asks the server what the next sync would ask. Changes nothing.

use jiff::Timestamp;
use marea_core::{Failure as Trouble, PROTOCOL, SyncAnswer, SyncRequest};
use marea_native::{Client, Status, block_on};
use serde::Serialize;

use super::doctor_mirror::mirror_in_order;
use crate::cli::Globals;
use crate::escape::inline;
use crate::failure::Failure;
use crate::identity::{self, Identity, Opened, identify_account};
use crate::output::{Output, count, local};
use crate::style::{Ink, Style};

/// As long as a full page may take.
const TIMEOUT_MS: u64 = 60_000;
/// A clock further off than this is pulled back by the server: the learner's days may then be other days.
const CLOCK_SECONDS_MAX: i64 = 300;

/// What mends a refused key.
const API_KEY: &str =
    "Give the project's current publishable (or anon) key in MAREA_KEY (or --key). The sign-in is kept.";
const KEYCHAIN: &str = "Unlock the keychain, or have its service run; `marea keychain leave` then moves the tokens into the file.";
/// Mutations of a request where nothing has made them smaller.
const FULL_BATCH: u32 = 500;
const DELETED: &str =
    "`marea queue export` saves what was not sent; `marea account erase` removes the mirror.";
const MOVED: &str =
    "Give MAREA_URL (or --url) the address above, with the key of that server. What waits is sent there.";
const NO_USER: &str = "Sign in to the app once so that it makes the row, or have the app make it at sign-up. What waits is sent as soon as it is there.";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    Ok,
    Warning,
    Failed,
    /// It could not be looked at, because of another.
    Skipped,
}

#[derive(Serialize)]
pub(super) struct Check {
    name: &'static str,
    verdict: Verdict,
    found: String,
    /// How to mend it; nothing when it is in order.
    mend: Option<String>,
    #[serde(skip)]
    offline: bool,
}

#[derive(Serialize)]
struct Report {
    ok: bool,
    checks: Vec<Check>,
}

impl Check {
    pub(super) fn new(name: &'static str, verdict: Verdict, found: impl Into<String>) -> Check {
        Check { name, verdict, found: found.into(), mend: None, offline: false }
    }

    pub(super) fn mend(self, mend: impl Into<String>) -> Check {
        Check { mend: Some(mend.into()), ..self }
    }
}

pub(crate) fn run(globals: &Globals, output: &Output) -> Result<(), Failure> {
    let mut checks = Vec::new();
    match identify_account(globals) {
        Err(failure) => {
            let mend = match failure.code.as_str() {
                "storage_failed" => {
                    "Look at the folder: whose it is, and whether you may read and write in it."
                }
                "sign_in_unreadable" => "Move session.json away and sign in again. Mirror and queue stay.",
                "api_key_refused" => API_KEY,
                "offline" => "Look at the network and at the spelling of MAREA_URL, then sign in once.",
                "unauthorized" => {
                    "Look at MAREA_EMAIL and MAREA_PASSWORD, then sign in: marea account sign-in"
                }
                _ => {
                    "Sign in once with a network: marea account sign-in --email EMAIL, with MAREA_URL and MAREA_KEY set."
                }
            };
            let offline = failure.code == "offline";
            let found = Check { offline, ..Check::new("sign-in", Verdict::Failed, failure.message) };
            checks.push(found.mend(mend));
            for name in ["mirror", "queue", "sync", "server", "user", "clock", "versions"] {
                checks.push(Check::new(name, Verdict::Skipped, "it is not known who is asking"));
            }
        }
        Ok(identity) => {
            let (found, client) = check_mirror(&identity);
            checks.extend(found);
            checks.extend(check_server(&identity, client.as_deref())?);
        }
    }
    let failed: Vec<&Check> = checks.iter().filter(|check| check.verdict == Verdict::Failed).collect();
    let only_offline = !failed.is_empty() && failed.iter().all(|check| check.offline);
    let problem = (!failed.is_empty()).then(|| {
        let names: Vec<&str> = failed.iter().map(|check| check.name).collect();
        let code = if only_offline { "offline" } else { "unwell" };
        Failure::new(code, format!("not in order: {}; standard output says how to mend it", names.join(", ")))
    });
    let style = output.style();
    output.result(&Report { ok: problem.is_none(), checks }, |report| for_people(report, style))?;
    problem.map_or(Ok(()), Err)
}

fn check_mirror(identity: &Identity) -> ([Check; 3], Option<Opened>) {
    let looked = identity.open_to_report().and_then(|client| {
        block_on(client.check())?;
        let status = block_on(client.status())?;
        let mirror = mirror_in_order(&client, &status)?;
        Ok((client, status, mirror))
    });
    match looked {
        Ok((client, status, mirror)) => ([mirror, queue(&status), last_sync(&status)], Some(client)),
        Err(failure) => {
            let mend = match failure.code.as_str() {
                "mirror_corrupt" => {
                    "The next command sets it aside, keeps it, and restores what can be read of its queue. Close other programs that use it."
                }
                "mirror_newer" => "Update marea: a newer version has written this mirror.",
                "mirror_locked" => "Another program holds the mirror for long; end it, or wait.",
                "storage_full" => "Free some space; what was recorded before is safe.",
                _ => "Look at the folder's permissions and whether the disk can be written.",
            };
            let skipped = |name| Check::new(name, Verdict::Skipped, "the mirror cannot be read");
            let failed = Check::new("mirror", Verdict::Failed, failure.message).mend(mend);
            ([failed, skipped("queue"), skipped("sync")], None)
        }
    }
}

fn queue(status: &Status) -> Check {
    let waiting = match status.pending {
        0 => "nothing waits".to_owned(),
        number => count(number.into(), "mutation waits", "mutations wait"),
    };
    match status.rejected {
        0 => Check::new("queue", Verdict::Ok, waiting),
        number => Check::new("queue", Verdict::Warning, format!("{waiting}, {number} refused by the server"))
            .mend("`marea queue rejected` says why; then `marea queue retry` or `marea queue discard`."),
    }
}

/// How the last sync went, by whichever program. What it met may be over by now: then trying again is the way.
fn last_sync(status: &Status) -> Check {
    let when = status.last_synced_at.map_or("never in step with the server yet".into(), |at| {
        format!("last in step with the server {}", local(at))
    });
    let limits = &status.limits;
    let small = match limits.mutations < FULL_BATCH {
        true => format!("; larger requests failed, so they carry {} mutations at most", limits.mutations),
        false => String::new(),
    };
    let Some(error) = &status.last_error else {
        return Check::new("sync", Verdict::Ok, format!("{when}{small}"));
    };
    let found = format!("{when}; the last attempt failed: {} ({}){small}", error.message, error.code);
    let (verdict, mend) = match error.code.as_str() {
        "refused" => {
            (Verdict::Failed, "Look at `server` below and at the server's log, then run `marea sync`.")
        }
        "user_missing" => (Verdict::Failed, NO_USER),
        "user_moved" => (Verdict::Failed, MOVED),
        "account_deleted" => (Verdict::Failed, DELETED),
        "upgrade_required" => (Verdict::Failed, "Update marea, then run `marea sync`."),
        "storage_full" => (Verdict::Failed, "Free some space, then run `marea sync`."),
        "proxy_too_large" => (
            Verdict::Warning,
            "Raise the limit of whatever stands in front of the server, or run `marea sync` again.",
        ),
        _ => (Verdict::Warning, "Run `marea sync`: if it fails again, what is below says why."),
    };
    Check::new("sync", verdict, found).mend(mend)
}

fn check_server(identity: &Identity, client: Option<&Client>) -> Result<Vec<Check>, Failure> {
    let Some((url, anon_key)) = identity.server() else {
        let missing = Check::new("server", Verdict::Failed, "no server is known")
            .mend("Give --url and --key, or MAREA_URL and MAREA_KEY.");
        return Ok(vec![missing]);
    };
    let request = match client {
        Some(client) => SyncRequest { client_id: uuid::Uuid::nil().into(), ..block_on(client.probe())? },
        None => of_a_new_device(),
    };
    let since = request.cursor.as_ref().map_or(0, |cursor| cursor.version);
    let asked = identity::runtime()?.block_on(ask(identity, url, anon_key, &request));
    let Asked { token_problem, outcome, took_ms } = match asked {
        Err(problem) => {
            let found = Check::new("server", Verdict::Failed, problem.message);
            return Ok(vec![found.mend("Mend the address or the key.")]);
        }
        Ok(asked) => asked,
    };
    if let Some(problem) = token_problem {
        let (name, mend) = match problem.code.as_str() {
            "api_key_refused" => ("server", API_KEY),
            "account_deleted" => ("sign-in", DELETED),
            "keychain_unavailable" => ("sign-in", KEYCHAIN),
            "server_failed" => ("sign-in", "Wait; if it stays so, look at the log of the sign-in service."),
            "offline" => ("sign-in", "Look at the network; nothing that was recorded is lost."),
            _ => ("sign-in", "Sign in again: marea account sign-in. The queue is kept."),
        };
        let offline = problem.code == "offline";
        let found = Check { offline, ..Check::new(name, Verdict::Failed, problem.message) };
        return Ok(vec![found.mend(mend)]);
    }
    let answer = match outcome {
        Err(trouble) => return Ok(troubles(&trouble)),
        Ok(answer) => answer,
    };
    let readable = match client {
        Some(client) => block_on(client.can_read(answer.clone()))?,
        None => true,
    };
    let server = match readable {
        true => Check::new("server", Verdict::Ok, format!("{url} answered in {took_ms} ms")),
        false => {
            let found = format!("{url} answered with a page that this version of marea cannot read");
            let mend = format!(
                "Update marea. If it is the newest, a row that changed after version {since} holds what no mirror can keep: marea.rows names it."
            );
            Check::new("server", Verdict::Failed, found).mend(mend)
        }
    };
    Ok(in_order(&answer, server))
}

/// What is asked where there is no mirror to ask for.
fn of_a_new_device() -> SyncRequest {
    SyncRequest {
        protocol: PROTOCOL,
        client_id: uuid::Uuid::nil().into(),
        schema: marea_core::MIRROR_VERSION,
        cursor: None,
        limit: 1,
        limit_bytes: None,
        packed: true,
        catalogue: None,
        mutations: Vec::new(),
    }
}

struct Asked {
    token_problem: Option<Failure>,
    outcome: Result<SyncAnswer, Trouble>,
    took_ms: u128,
}

/// Asks for a page, and sends nothing.
async fn ask(
    identity: &Identity,
    url: &str,
    anon_key: &str,
    request: &SyncRequest,
) -> Result<Asked, Failure> {
    let transport = identity.transport(url, anon_key)?;
    let Some(token) = identity.access_token().await else {
        let problem = identity.token_problem().map(Failure::from);
        let problem = problem.unwrap_or_else(|| Failure::new("unauthorized", "there is no access token"));
        return Ok(Asked { token_problem: Some(problem), outcome: Err(Trouble::no_token()), took_ms: 0 });
    };
    let begun = tokio::time::Instant::now();
    let outcome = transport.post(request, identity.user_id(), &token, TIMEOUT_MS).await.outcome;
    Ok(Asked { token_problem: None, outcome, took_ms: begun.elapsed().as_millis() })
}

fn in_order(answer: &SyncAnswer, server: Check) -> Vec<Check> {
    let versions = format!("marea {}, protocol {}", env!("CARGO_PKG_VERSION"), answer.protocol);
    let user = match answer.user_missing {
        false => Check::new("user", Verdict::Ok, "the app's database does not miss this user's row"),
        true => Check::new("user", Verdict::Failed, "the app's users table has no row for this user")
            .mend(NO_USER),
    };
    vec![
        Check::new("sign-in", Verdict::Ok, "the server accepts the access token"),
        server,
        user,
        clock(answer),
        Check::new("versions", Verdict::Ok, versions),
    ]
}

fn clock(answer: &SyncAnswer) -> Check {
    let here = Timestamp::now().as_millisecond();
    let ahead = (here - answer.server_time.as_millis().0) / 1000;
    let found = match ahead {
        0 => "the same as the server's".to_owned(),
        1.. => format!("{ahead} s ahead of the server's"),
        _ => format!("{} s behind the server's", -ahead),
    };
    if ahead.abs() <= CLOCK_SECONDS_MAX {
        return Check::new("clock", Verdict::Ok, found);
    }
    Check::new("clock", Verdict::Warning, found).mend(
        "Set this machine's clock (on Linux: timedatectl set-ntp true). Nothing is lost, but sessions may count for another day.",
    )
}

fn troubles(trouble: &Trouble) -> Vec<Check> {
    let mend = match trouble {
        Trouble::NameNotFound => {
            "Look at the network (does a browser work?) and at the spelling of MAREA_URL."
        }
        Trouble::ConnectionRefused => "Start the server, or mend the port in MAREA_URL.",
        Trouble::Tls { .. } => {
            "Look at this machine's clock, and whether MAREA_URL names the right server and port."
        }
        Trouble::CaptivePortal => "Open any page in a browser and sign in to this network.",
        Trouble::Unauthorized { .. } => "Sign in again: marea account sign-in, or give a new --token.",
        Trouble::OtherUser => "Give the token of this mirror's user, or leave --token away.",
        Trouble::ApiKeyRefused => API_KEY,
        Trouble::UpgradeRequired => "Update marea.",
        Trouble::Refused { status: 404, .. } => {
            "The database has no marea_sync, or MAREA_URL is not the address before /rest/v1: apply migrations/001 and 002."
        }
        Trouble::UserMissing => NO_USER,
        Trouble::UserMoved { .. } => MOVED,
        Trouble::AccountDeleted => DELETED,
        Trouble::Refused { .. } => "Look at the publishable key and at the server's log.",
        Trouble::ProxyTooLarge => "Raise the size that whatever stands in front of the server lets through.",
        Trouble::AnswerTooLarge => {
            "Run `marea sync`: it asks for less. If it stays so, look for a row of many megabytes."
        }
        Trouble::ServerTimeout => {
            "Run `marea sync`: it asks for less. If it stays so, look at the server's statement_timeout."
        }
        Trouble::Server { .. } => "Wait; if it stays so, look at the server's log.",
        _ => "Look at the network; nothing that was recorded is lost.",
    };
    let name = match trouble {
        Trouble::Unauthorized { .. } | Trouble::OtherUser => "sign-in",
        Trouble::UpgradeRequired => "versions",
        _ => "server",
    };
    let found =
        Check { offline: trouble.is_offline(), ..Check::new(name, Verdict::Failed, trouble.to_string()) };
    let mut checks = vec![found.mend(mend)];
    checks.extend(
        ["user", "clock", "versions"]
            .into_iter()
            .filter(|other| *other != name)
            .map(|name| Check::new(name, Verdict::Skipped, "the server has not answered")),
    );
    checks
}

fn for_people(report: &Report, style: Style) -> String {
    let line = |check: &Check| {
        let (mark, ink) = match check.verdict {
            Verdict::Ok => ("ok     ", Ink::Good),
            Verdict::Warning => ("warning", Ink::Warning),
            Verdict::Failed => ("failed ", Ink::Bad),
            Verdict::Skipped => ("skipped", Ink::Dim),
        };
        let mend = check.mend.as_ref().map(|mend| format!("{:19}{}\n", "", inline(mend))).unwrap_or_default();
        format!("{}  {:<8}  {}\n{mend}", style.paint(ink, mark), check.name, inline(&check.found))
    };
    report.checks.iter().map(line).collect()
}
