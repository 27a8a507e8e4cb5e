//! Keys and tokens as Supabase gives them since 2025, and those from before, which go on working.

use marea_backend::LEARNER1;
use marea_tests::backend::{SYNC, TestBackend, send};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

fn request() -> Value {
    json!({ "request": { "protocol": 1, "client_id": Uuid::from_u128(9), "schema": 1, "cursor": null, "mutations": [] } })
}

#[tokio::test]
async fn keys_of_both_forms_are_taken_with_tokens_of_both_algorithms() {
    let backend = TestBackend::shared().await;
    let ready = backend.ready();
    assert!(
        ready.publishable_key.starts_with("sb_publishable_") && ready.secret_key.starts_with("sb_secret_")
    );
    let http = Client::builder().no_proxy().build().expect("a client");
    let signed_in = backend.sign_in(LEARNER1.email, LEARNER1.password).await.body["access_token"].clone();
    let of_the_jwks = signed_in.as_str().expect("a token").to_owned();
    let by_secret = backend.token(LEARNER1.id, 60);
    let url = format!("{}{SYNC}", ready.url);
    for key in [&ready.anon_key, &ready.publishable_key] {
        for token in [&of_the_jwks, &by_secret] {
            let answer =
                send(http.post(&url).header("apikey", key).bearer_auth(token).json(&request())).await;
            assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        }
        // supabase-js sends the key in both places while nobody is signed in.
        for call in [http.post(&url), http.post(&url).bearer_auth(key)] {
            let answer = send(call.header("apikey", key).json(&request())).await;
            assert_eq!(
                (answer.status, &answer.body["code"]),
                (StatusCode::UNAUTHORIZED, &json!("42501")),
                "{answer:?}"
            );
        }
    }
    for key in [&ready.service_key, &ready.secret_key] {
        let users = format!("{}/rest/v1/users?select=id&limit=1", ready.url);
        let answer = send(http.get(&users).header("apikey", key)).await;
        assert_eq!(answer.body.as_array().map(Vec::len), Some(1), "{answer:?}");
        let faults = http.get(format!("{}/_marea/faults", ready.url)).bearer_auth(key);
        assert_eq!(send(faults).await.status, StatusCode::OK);
    }
    // A key is no token.
    let answer = send(
        http.post(&url)
            .header("apikey", &ready.anon_key)
            .bearer_auth(&ready.publishable_key)
            .json(&request()),
    )
    .await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{answer:?}");
}

#[tokio::test]
async fn the_public_half_of_the_key_is_in_the_jwks() {
    let backend = TestBackend::shared().await;
    let http = Client::builder().no_proxy().build().expect("a client");
    // Without a key, as whoever checks tokens asks for it.
    let jwks = send(http.request(Method::GET, &backend.ready().jwks_url)).await;
    let keys = jwks.body["keys"].as_array().expect("keys");
    assert_eq!(keys.len(), 1, "the shared secret is nobody's to see: {jwks:?}");
    assert_eq!(
        (&keys[0]["kty"], &keys[0]["crv"], &keys[0]["alg"]),
        (&json!("EC"), &json!("P-256"), &json!("ES256"))
    );
    assert!(keys[0].get("d").is_none() && keys[0].get("k").is_none(), "{jwks:?}");
}
