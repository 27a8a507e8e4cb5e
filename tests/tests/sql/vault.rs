//! What Postgres lets into the columns of sealed keys: envelopes, and nothing that only looks like one; and who may touch them.

use marea_core::Provider;
use marea_tests::cluster::{Cluster, root};
use marea_tests::vault;

const LEARNER: &str = "00000000-0000-4000-8000-000000000001";

#[tokio::test(flavor = "multi_thread")]
async fn only_envelopes_come_in() {
    let cluster = Cluster::start().await;
    let database = cluster.database("envelopes", u32::MAX).await;
    database.execute(&format!("INSERT INTO public.users (id) VALUES ('{LEARNER}')")).await;
    database
        .execute(&format!(
            "INSERT INTO public.user_api_keys (user_id) VALUES ('{LEARNER}') ON CONFLICT DO NOTHING"
        ))
        .await;
    let user = LEARNER.parse().expect("a user");
    let plain = vault::make(user, Provider::Openai, "sk-0123456789", "a passphrase", false).envelope;
    let longest = vault::make(user, Provider::Openai, &"k".repeat(1024), "a passphrase", true).envelope;
    let part = |at: usize, text: &str| {
        let mut parts: Vec<&str> = plain.split('.').collect();
        parts[at] = text;
        parts.join(".")
    };
    let cut = plain.rsplit_once('.').expect("parts").0.to_owned();
    let mut rows = vec![
        (plain.clone(), true),
        (longest, true),
        (part(2, "pbkdf2-sha256-9999999"), true),
        (part(2, "pbkdf2-sha256-99999"), false),
        (part(2, "pbkdf2-sha256-10000000"), false),
        (part(2, "pbkdf2-sha256-099999"), false),
        (part(2, "argon2id-19-3-64"), false),
        (part(0, "marea2"), false),
        (part(3, "1763899200"), false),
        (part(7, "1"), false),
        (part(8, "sk-0123456789"), false),
        (part(8, &"B".repeat(1800)), false),
        (cut, false),
        (format!("{plain}.AAAA"), false),
        (format!("{plain}\n"), false),
        (format!(" {plain}"), false),
        ("sk-proj-0123456789abcdefghijklmnop".to_owned(), false),
        ("marea1.aaaa.bbbb".to_owned(), false),
        (String::new(), false),
    ];
    // Every part one letter longer or shorter.
    for at in [1, 4, 5, 6, 9] {
        let own = plain.split('.').nth(at).expect("a part").to_owned();
        rows.extend([(part(at, &format!("{own}A")), false), (part(at, &own[1..]), false)]);
    }
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

#[tokio::test(flavor = "multi_thread")]
async fn the_file_says_what_it_needs_and_can_be_taken_back() {
    let cluster = Cluster::start().await;
    let early = cluster.database("early", 0).await;
    early
        .migration("006_sealed_keys.sql")
        .await
        .fails_with("Missing: table public.user_api_keys (migration 001)");

    let database = cluster.database("back", 5).await;
    let stands = "SELECT string_agg(pg_get_constraintdef(oid), ',' ORDER BY conname) FROM pg_constraint
        WHERE conrelid = 'public.user_api_keys'::regclass";
    let before = database.text(stands).await;
    database.execute(&format!("INSERT INTO public.users (id) VALUES ('{LEARNER}')")).await;
    database
        .execute(&format!(
            "INSERT INTO public.user_api_keys (user_id, openai_api_key) VALUES ('{LEARNER}', 'marea1.a.b')"
        ))
        .await;
    database
        .migration("006_sealed_keys.sql")
        .await
        .fails_with("1 stored values of user_api_keys are no envelopes");
    assert_eq!(database.text(stands).await, before, "nothing was changed");
    database.execute("UPDATE public.user_api_keys SET openai_api_key = NULL").await;
    database.execute("GRANT SELECT ON public.user_api_keys TO service_role").await;
    database.migration("006_sealed_keys.sql").await.succeeds();
    database.migration("validate_006.sql").await.succeeds();
    let twice = database.migration("006_sealed_keys.sql").await.succeeds();
    assert!(twice.stderr.contains("006 stands already: this run changes nothing"), "{twice:#?}");

    let script = std::fs::read_to_string(root().join("migrations/validate_006.sql")).expect("the validation");
    for breakage in [
        "ALTER TABLE public.user_api_keys DROP CONSTRAINT user_api_keys_openai_envelope",
        "ALTER TABLE public.user_api_keys DROP CONSTRAINT user_api_keys_unsplash_sealed",
        "GRANT SELECT ON public.user_api_keys TO service_role",
        "CREATE POLICY jobs ON public.user_api_keys FOR SELECT TO service_role USING (true)",
    ] {
        let broken = script.replacen("BEGIN;", &format!("BEGIN; {breakage};"), 1);
        database.sql(&[&broken]).await.fails_with("Marea 006: ");
    }
    database.migration("006_sealed_keys_rollback.sql").await.succeeds();
    assert_eq!(database.text(stands).await, before);
    database.migration("006_sealed_keys_rollback.sql").await.succeeds();
    cluster.stop().await;
}
