//! The gateway's accounts behave as Supabase's do: sign-up, password, rotating refresh tokens, log-out.

use marea_backend::{LEARNER1, LEARNER2};
use marea_tests::backend::{Answer, TestBackend, send};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

async fn post(backend: &TestBackend, path: &str, body: &Value) -> Answer {
    send(backend.call(Method::POST, path).json(body)).await
}

async fn refresh(backend: &TestBackend, token: &Value) -> Answer {
    post(backend, "/auth/v1/token?grant_type=refresh_token", &json!({ "refresh_token": token })).await
}

async fn user(backend: &TestBackend, token: &Value) -> Answer {
    let token = token.as_str().expect("a token");
    send(backend.call(Method::GET, "/auth/v1/user").bearer_auth(token)).await
}

fn assert_error(answer: &Answer, status: StatusCode, error_code: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.body["code"], status.as_u16(), "{answer:?}");
    assert_eq!(answer.body["error_code"], error_code, "{answer:?}");
    assert!(answer.body["msg"].as_str().is_some_and(|it| !it.is_empty()), "{answer:?}");
}

/// The claims of a token, without checking it: PostgREST does that.
fn claims(token: &Value) -> Value {
    let part = token.as_str().and_then(|it| it.split('.').nth(1)).expect("a JWT");
    let digits = part.bytes().map(|it| match it {
        b'A'..=b'Z' => it - b'A',
        b'a'..=b'z' => it - b'a' + 26,
        b'0'..=b'9' => it - b'0' + 52,
        b'-' => 62,
        _ => 63,
    });
    let bits: Vec<u8> = digits.flat_map(|it| (0..6).rev().map(move |bit| it >> bit & 1)).collect();
    let bytes: Vec<u8> =
        bits.chunks_exact(8).map(|it| it.iter().fold(0, |sum, bit| sum << 1 | bit)).collect();
    serde_json::from_slice(&bytes).expect("claims")
}

#[tokio::test]
async fn the_two_learners_sign_in_and_have_their_rows() {
    let backend = TestBackend::shared().await;
    for learner in [LEARNER1, LEARNER2] {
        let answer = backend.sign_in(learner.email, learner.password).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        assert_eq!(answer.body["user"]["id"], learner.id.to_string());
        assert_eq!(answer.body["token_type"], "bearer");
        assert_eq!(answer.body["expires_in"], 3600);
        let claims = claims(&answer.body["access_token"]);
        assert_eq!(claims["sub"], learner.id.to_string());
        assert_eq!((&claims["role"], &claims["aud"]), (&json!("authenticated"), &json!("authenticated")));
        assert_eq!(claims["email"], learner.email);
        assert_eq!(claims["exp"], answer.body["expires_at"]);
        assert_eq!(claims["exp"].as_i64(), claims["iat"].as_i64().map(|it| it + 3600));
        assert!(claims["session_id"].is_string());

        let token = answer.body["access_token"].as_str().expect("a token");
        let rows = send(backend.call(Method::GET, "/rest/v1/users?select=id,email").bearer_auth(token)).await;
        assert_eq!(rows.body, json!([{ "id": learner.id, "email": learner.email }]));
    }
}

#[tokio::test]
async fn whoever_signs_up_is_signed_in_and_may_come_back() {
    let backend = TestBackend::shared().await;
    let credentials =
        json!({ "email": "New.Person@Example.com", "password": "correct horse", "data": { "name": "N" } });
    let made = post(&backend, "/auth/v1/signup", &credentials).await;
    assert_eq!(made.status, StatusCode::OK, "{made:?}");
    assert_eq!(made.body["user"]["email"], "new.person@example.com");
    assert_eq!(made.body["user"]["user_metadata"], json!({ "name": "N" }));

    let seen = user(&backend, &made.body["access_token"]).await;
    assert_eq!(seen.body["id"], made.body["user"]["id"]);
    let row = "SELECT email FROM public.users WHERE id::text = $1";
    let id = made.body["user"]["id"].as_str().expect("an id");
    let email: String = backend.sql().await.query_one(row, &[&id]).await.expect("the app's row").get(0);
    assert_eq!(email, "new.person@example.com");

    let back = backend.sign_in("new.person@example.com", "correct horse").await;
    assert_eq!(back.body["user"]["id"], made.body["user"]["id"]);
    let again = post(&backend, "/auth/v1/signup", &credentials).await;
    assert_error(&again, StatusCode::UNPROCESSABLE_ENTITY, "user_already_exists");
}

#[tokio::test]
async fn two_sign_ups_of_one_address_at_once_make_one_account() {
    let backend = TestBackend::shared().await;
    let credentials = json!({ "email": "twins@example.com", "password": "correct horse" });
    let (one, other) = tokio::join!(
        post(&backend, "/auth/v1/signup", &credentials),
        post(&backend, "/auth/v1/signup", &credentials)
    );
    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 422]);
}

#[tokio::test]
async fn what_is_wrong_is_said_as_supabase_says_it() {
    let backend = TestBackend::shared().await;
    let (bad, unprocessable) = (StatusCode::BAD_REQUEST, StatusCode::UNPROCESSABLE_ENTITY);
    let cases = [
        ("signup", json!({ "email": "a@b.example", "password": "12345" }), unprocessable, "weak_password"),
        ("signup", json!({ "email": "a@b.example" }), bad, "validation_failed"),
        ("signup", json!({ "email": "nobody", "password": "correct horse" }), bad, "validation_failed"),
        ("signup", json!({ "password": "correct horse" }), unprocessable, "anonymous_provider_disabled"),
        ("signup", json!([1]), bad, "bad_json"),
        ("signup", json!({ "email": 1, "password": {} }), bad, "bad_json"),
        (
            "token?grant_type=password",
            json!({ "email": LEARNER1.email, "password": "wrong" }),
            bad,
            "invalid_credentials",
        ),
        (
            "token?grant_type=password",
            json!({ "email": "x@y.example", "password": "wrong" }),
            bad,
            "invalid_credentials",
        ),
        ("token?grant_type=password", json!({}), bad, "invalid_credentials"),
        ("token?grant_type=magic", json!({}), bad, "invalid_credentials"),
        ("token", json!({}), bad, "invalid_credentials"),
        ("token?grant_type=refresh_token", json!({}), bad, "validation_failed"),
        ("token?grant_type=refresh_token", json!({ "refresh_token": "x" }), bad, "refresh_token_not_found"),
    ];
    for (path, body, status, code) in cases {
        assert_error(&post(&backend, &format!("/auth/v1/{path}"), &body).await, status, code);
    }
    let nobody = send(backend.call(Method::POST, "/auth/v1/logout").bearer_auth("not.a.token")).await;
    assert_error(&nobody, StatusCode::FORBIDDEN, "bad_jwt");
    let expired = json!(backend.token(LEARNER1.id, -1));
    assert_error(&user(&backend, &expired).await, StatusCode::FORBIDDEN, "bad_jwt");
}

#[tokio::test]
async fn a_refresh_token_works_once_and_a_copy_ends_the_session() {
    let backend = TestBackend::shared().await;
    let first = backend.sign_in(LEARNER2.email, LEARNER2.password).await;
    let bystander = backend.sign_in(LEARNER2.email, LEARNER2.password).await;
    let second = refresh(&backend, &first.body["refresh_token"]).await;
    assert_eq!(second.status, StatusCode::OK, "{second:?}");
    assert_ne!(second.body["refresh_token"], first.body["refresh_token"]);
    let session = |answer: &Answer| claims(&answer.body["access_token"])["session_id"].clone();
    assert_eq!(session(&first), session(&second), "a refresh stays in its session");

    let copy = refresh(&backend, &first.body["refresh_token"]).await;
    assert_error(&copy, StatusCode::BAD_REQUEST, "refresh_token_already_used");
    let after = refresh(&backend, &second.body["refresh_token"]).await;
    assert_error(&after, StatusCode::BAD_REQUEST, "refresh_token_not_found");
    let seen = user(&backend, &second.body["access_token"]).await;
    assert_error(&seen, StatusCode::FORBIDDEN, "session_not_found");
    assert_eq!(refresh(&backend, &bystander.body["refresh_token"]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn one_refresh_token_used_twice_at_once_serves_one() {
    let backend = TestBackend::shared().await;
    let session = backend.sign_in(LEARNER1.email, LEARNER1.password).await;
    let token = &session.body["refresh_token"];
    let (one, other) = tokio::join!(refresh(&backend, token), refresh(&backend, token));
    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 400]);
}

#[tokio::test]
async fn logging_out_ends_what_its_scope_says() {
    let backend = TestBackend::shared().await;
    let credentials = json!({ "email": "leaver@example.com", "password": "correct horse" });
    let first = post(&backend, "/auth/v1/signup", &credentials).await;
    let mut open = vec![first];
    for _ in 0..3 {
        open.push(backend.sign_in("leaver@example.com", "correct horse").await);
    }
    for (scope, leaver, living) in
        [("?scope=local", 0, vec![1, 2, 3]), ("?scope=others", 1, vec![1]), ("", 1, vec![])]
    {
        let token = open[leaver].body["access_token"].as_str().expect("a token");
        let path = format!("/auth/v1/logout{scope}");
        let done = send(backend.call(Method::POST, &path).bearer_auth(token)).await;
        assert_eq!(done.status, StatusCode::NO_CONTENT, "{scope}: {done:?}");
        for (number, session) in open.iter().enumerate() {
            let seen = user(&backend, &session.body["access_token"]).await;
            assert_eq!(seen.status == StatusCode::OK, living.contains(&number), "{scope}, session {number}");
        }
    }
}

#[tokio::test]
async fn no_token_and_no_password_is_stored_in_the_open() {
    let backend = TestBackend::shared().await;
    let credentials = json!({ "email": "secret@example.com", "password": "a very plain password" });
    let made = post(&backend, "/auth/v1/signup", &credentials).await;
    let token = made.body["refresh_token"].as_str().expect("a token");
    let statement = "SELECT string_agg(u::text, '') || (SELECT string_agg(t::text, '') FROM marea_backend.refresh_tokens t)
        FROM auth.users u";
    let stored: String = backend.sql().await.query_one(statement, &[]).await.expect("rows").get(0);
    assert!(stored.contains("secret@example.com"));
    assert!(!stored.contains("a very plain password") && !stored.contains(token));
}
