//! What Postgres lets into the columns of sealed keys: envelopes, and nothing that only looks like one; and who may touch them.

use marea_core::Provider;
use marea_tests::cluster::{Cluster, root};
use marea_tests::vault;

const LEARNER: &str = "00000000-0000-4000-8000-000000000001";

/// The text with one part in the place of another.
fn with_part(envelope: &str, at: usize, text: &str) -> String {
    let mut parts: Vec<&str> = envelope.split('.').collect();
    parts[at] = text;
    parts.join(".")
}

/// What both formats have, right and wrong.
fn rows_of(plain: &str, longest: String) -> Vec<(String, bool)> {
    let part = |at: usize, text: &str| with_part(plain, at, text);
    let cut = plain.rsplit_once('.').expect("parts").0.to_owned();
    let body = plain.split('.').count() - 2;
    let mut rows = vec![
        (plain.to_owned(), true),
        (longest, true),
        (part(2, "pbkdf2-sha256-9999999"), true),
        (part(2, "pbkdf2-sha256-99999"), false),
        (part(2, "pbkdf2-sha256-10000000"), false),
        (part(2, "pbkdf2-sha256-099999"), false),
        (part(2, "argon2id-19-3-64"), false),
        (part(0, "marea3"), false),
        (part(0, if plain.starts_with("marea1") { "marea2" } else { "marea1" }), false),
        (part(3, "1763899200"), false),
        (part(7, "1"), false),
        (part(body, "sk-0123456789"), false),
        (part(body, &"B".repeat(1800)), false),
        (cut, false),
        (format!("{plain}.AAAA"), false),
        (format!("{plain}\n"), false),
        (format!(" {plain}"), false),
        ("sk-proj-0123456789abcdefghijklmnop".to_owned(), false),
        ("marea1.aaaa.bbbb".to_owned(), false),
        (String::new(), false),
    ];
    // Every part one letter longer or shorter.
    for at in [1, 4, 5, 6, body + 1] {
        let own = plain.split('.').nth(at).expect("a part").to_owned();
        rows.extend([(part(at, &format!("{own}A")), false), (part(at, &own[1..]), false)]);
    }
    rows
}

fn first_format() -> String {
    let text = std::fs::read_to_string(root().join("core/src/vault/vectors/v1.json")).expect("vectors");
    let vectors: Vec<vault::Vector> = serde_json::from_str(&text).expect("vectors");
    vectors.into_iter().next().expect("a vector").envelope
}

#[tokio::test(flavor = "multi_thread")]
async fn only_envelopes_come_in() {
    let cluster = Cluster::start().await;
    let user = LEARNER.parse().expect("a user");
    let words = "some sentence of words";
    let first = first_format();
    let longest_first = with_part(&first, 8, &"B".repeat(1403));
    let second = vault::make(user, Provider::Openai, "sk-0123456789", words, false).envelope;
    let longest = vault::make(user, Provider::Openai, &"k".repeat(1024), words, true).envelope;
    let entry = |count: usize| {
        format!("{}{}", format!("1763899200000{}", "A".repeat(116)).repeat(count), "C".repeat(20))
    };
    let mut of_second = rows_of(&second, with_part(&longest, 8, &entry(8)));
    of_second.extend([
        (with_part(&second, 8, &entry(1)), true),
        (with_part(&second, 8, &entry(9)), false),
        (with_part(&second, 8, &"A".repeat(21)), false),
        (with_part(&second, 8, "0"), false),
        (with_part(&second, 9, "1763899200000-000G"), false),
        (with_part(&second, 9, "1763899200000"), false),
        (with_part(&second, 10, &"B".repeat(723)), true),
        // The length of a key shows in nothing else.
        (with_part(&second, 10, &"B".repeat(383)), false),
    ]);
    let rows: Vec<_> = rows_of(&first, longest_first).into_iter().chain(of_second).collect();
    let database = cluster.database("envelopes", u32::MAX).await;
    database.execute(&format!("INSERT INTO public.users (id) VALUES ('{LEARNER}')")).await;
    database
        .execute(&format!(
            "INSERT INTO public.user_api_keys (user_id) VALUES ('{LEARNER}') ON CONFLICT DO NOTHING"
        ))
        .await;
    for column in ["openai_api_key", "unsplash_api_key", "anthropic_api_key"] {
        for (text, good) in &rows {
            let update = format!("UPDATE public.user_api_keys SET {column} = $1");
            let outcome = database.client.execute(&update, &[text]).await;
            match outcome {
                Ok(_) => assert!(*good, "{column} took {text}"),
                Err(error) => {
                    assert!(!good, "{column} refused {text}");
                    assert_eq!(error.code().expect("a code").code(), "23514");
                }
            }
        }
    }
    cluster.stop().await;
}
