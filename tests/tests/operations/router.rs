//! What the router of several pairs does beside syncs, with the real HAProxy: a browser's questions and what it may read, links without
//! a token, uploads in pieces, and a data folder that is started again.

use marea_backend::{Backend, Error, Options, Pairs};
use marea_tests::backend::{Answer, connect, send};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

const PAGE: &str = "https://app.example";
const READABLE: &str = "access-control-allow-origin";
const TUS: &str = "/storage/v1/upload/resumable";

struct Stage {
    pairs: Pairs,
    http: Client,
}

/// A user, and the pair that has everything of theirs.
struct Learner {
    id: Uuid,
    token: String,
    home: usize,
}

impl Stage {
    async fn start(options: Options, count: usize) -> Stage {
        let pairs = Pairs::start(options, count, |_| {}).await.expect("pairs and a router");
        Stage { pairs, http: Client::builder().no_proxy().build().expect("a client") }
    }

    /// From a page of another origin, with the app's key.
    fn call(&self, method: Method, path: &str) -> RequestBuilder {
        let ready = self.pairs.ready();
        self.http
            .request(method, format!("{}{path}", ready.url))
            .header("apikey", &ready.anon_key)
            .header("origin", PAGE)
    }

    fn token(&self, user: Uuid) -> String {
        self.pairs.pair(0).expect("it runs").mint_token(user, 3600)
    }

    /// An export of this user, made through the router.
    async fn export(&self, user: Uuid) -> Uuid {
        let row = json!({ "user_id": user, "export_type": "progress", "export_format": "csv" });
        let call = self.call(Method::POST, "/rest/v1/export_history").bearer_auth(self.token(user));
        let made = send(call.header("prefer", "return=representation").json(&row)).await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
        made.body[0]["id"].as_str().expect("an id").parse().expect("a UUID")
    }

    /// One user in each pair.
    async fn learners(&self) -> Vec<Learner> {
        let mut found: Vec<Learner> = Vec::new();
        while found.len() < self.pairs.count() {
            let id = marea_tests::sql::new_id();
            self.export(id).await;
            let home = self.home_of(id).await;
            if found.iter().all(|one| one.home != home) {
                found.push(Learner { id, token: self.token(id), home });
            }
        }
        found.sort_by_key(|one| one.home);
        found
    }

    async fn home_of(&self, user: Uuid) -> usize {
        let mut homes = Vec::new();
        for number in 0..self.pairs.count() {
            let database = connect(&self.pairs.pair(number).expect("it runs").ready().database_url).await;
            let query = "SELECT EXISTS (SELECT FROM public.export_history WHERE user_id = $1)";
            if database.query_one(query, &[&user]).await.expect("an answer").get(0) {
                homes.push(number);
            }
        }
        assert_eq!(homes.len(), 1, "{homes:?}");
        homes[0]
    }

    /// What a browser asks before it sends a token.
    async fn preflight(&self, path: &str) -> Response {
        let call = self.http.request(Method::OPTIONS, format!("{}{path}", self.pairs.ready().url));
        let call = call.header("origin", PAGE).header("access-control-request-method", "POST");
        let call = call.header("access-control-request-headers", "apikey,authorization,content-type");
        call.send().await.expect("an answer")
    }
}

fn header<'r>(response: &'r Response, name: &str) -> &'r str {
    response.headers().get(name).map_or("", |value| value.to_str().expect("text"))
}

/// A page may send what it asked for.
fn is_allowed(answer: &Response) {
    assert!(answer.status().is_success(), "{answer:?}");
    assert_eq!(header(answer, READABLE), "*");
    assert!(header(answer, "access-control-allow-methods").contains("PATCH"), "{answer:?}");
    let allowed = header(answer, "access-control-allow-headers");
    for name in ["apikey", "authorization", "content-type"] {
        assert!(allowed.contains(name), "{allowed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_in_a_browser_works_through_the_router_and_reads_its_refusals() {
    let mut stage = Stage::start(Options::default(), 2).await;
    let learners = stage.learners().await;
    let sync = "/rest/v1/rpc/marea_sync";
    is_allowed(&stage.preflight(sync).await);

    // The pair's own word, once and for every page.
    let body = json!({ "request": { "protocol": 1 } });
    let call = stage.call(Method::POST, sync).bearer_auth(&learners[1].token);
    let answer = call.json(&body).send().await.expect("an answer");
    let origins: Vec<_> = answer.headers().get_all(READABLE).iter().collect();
    assert_eq!(origins, ["*"]);

    let nobody = stage.call(Method::POST, sync).json(&body).send().await.expect("an answer");
    assert_eq!((nobody.status(), header(&nobody, READABLE)), (StatusCode::UNAUTHORIZED, "*"));

    // The first pair dies: its users are told, by an answer that a page can read, and nobody else notices; no preflight fails either.
    stage.pairs.kill_pair(0).await;
    for learner in &learners {
        is_allowed(&stage.preflight(sync).await);
        let call = stage.call(Method::GET, "/rest/v1/export_history?select=user_id");
        let answer = call.bearer_auth(&learner.token).send().await.expect("an answer");
        let expected = if learner.home == 0 { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
        assert_eq!((answer.status(), header(&answer, READABLE)), (expected, "*"), "{}", learner.home);
    }
    stage.pairs.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn links_and_uploads_in_pieces_find_the_pair_of_their_user() {
    let stage = Stage::start(Options::default(), 2).await;
    for learner in &stage.learners().await {
        let export = stage.export(learner.id).await;
        let name = |digit: &str| format!("{}/{export}/{}.csv", learner.id, digit.repeat(64));
        let text = format!("of pair {}\r\n", learner.home);
        let path = format!("/storage/v1/object/marea-exports/{}", name("a"));
        let call = stage.call(Method::POST, &path).bearer_auth(&learner.token);
        let put = send(call.header("content-type", "text/csv").body(text.clone())).await;
        assert_eq!(put.status, StatusCode::OK, "{put:?}");
        link_opens(&stage, learner, &name("a"), &text).await;
        upload_in_pieces(&stage, learner, &name("b"), &text).await;
        link_opens(&stage, learner, &name("b"), &text).await;
    }
    stage.pairs.stop().await;
}

/// A link is opened without any header, also by somebody who is signed in as another user.
async fn link_opens(stage: &Stage, learner: &Learner, name: &str, text: &str) {
    let path = format!("/storage/v1/object/sign/marea-exports/{name}");
    let call = stage.call(Method::POST, &path).bearer_auth(&learner.token);
    let Answer { status, body } = send(call.json(&json!({ "expiresIn": 60 }))).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let link =
        format!("{}/storage/v1{}", stage.pairs.ready().url, body["signedURL"].as_str().expect("a link"));
    for number in 0..8_u128 {
        let stranger = stage.token(Uuid::from_u128(number));
        for call in [stage.http.get(&link), stage.http.get(&link).bearer_auth(stranger)] {
            let answer = call.send().await.expect("an answer");
            assert_eq!((answer.status(), header(&answer, READABLE)), (StatusCode::OK, "*"));
            assert_eq!(answer.text().await.expect("a text"), text);
        }
    }
    let forged = stage.http.get(format!("{link}x")).send().await.expect("an answer");
    assert_eq!(forged.status(), StatusCode::BAD_REQUEST);
}

async fn upload_in_pieces(stage: &Stage, learner: &Learner, name: &str, text: &str) {
    let encoded = |text: &str| {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(text)
    };
    let metadata = format!(
        "bucketName {},objectName {},contentType {}",
        encoded("marea-exports"),
        encoded(name),
        encoded("text/csv")
    );
    let tus = |call: RequestBuilder| call.header("tus-resumable", "1.0.0").bearer_auth(&learner.token);
    let call = tus(stage.call(Method::POST, TUS)).header("upload-length", text.len());
    let made = call.header("upload-metadata", metadata).send().await.expect("an answer");
    assert_eq!(made.status(), StatusCode::CREATED);
    let address = header(&made, "location").to_owned();
    assert!(address.starts_with(&format!("{}{TUS}/", stage.pairs.ready().url)), "{address}");
    for (offset, piece) in [(0, &text[..4]), (4, &text[4..])] {
        let standing = tus(stage.http.head(&address)).send().await.expect("an answer");
        assert_eq!(header(&standing, "upload-offset"), offset.to_string());
        let call = tus(stage.http.patch(&address)).header("upload-offset", offset);
        let call = call.header("content-type", "application/offset+octet-stream").body(piece.to_owned());
        assert_eq!(call.send().await.expect("an answer").status(), StatusCode::NO_CONTENT);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_folder_keeps_who_is_where() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).expect("its Postgres may be another user's");
    // HAProxy would take the space and the comma for its own.
    let data = folder.path().join("kept, here");
    let options = Options { data: Some(data.clone()), ..Options::default() };
    let mut stage = Stage::start(options.clone(), 2).await;
    let learners = stage.learners().await;
    let moved = &learners[0];
    move_to(&mut stage.pairs, moved.id, 0, 1).await;
    assert_eq!(stage.home_of(moved.id).await, 1);
    stage.pairs.stop().await;

    // A pair more: it has nobody, and those who were moved are where they went. The tokens are still good.
    let mut stage = Stage::start(options.clone(), 3).await;
    for learner in &learners {
        let before = exports(&stage, &learner.token).await;
        assert_eq!(before.as_array().map(Vec::len), Some(1), "{before}");
        stage.export(learner.id).await;
        assert_eq!(stage.home_of(learner.id).await, 1);
    }
    // Once more, to a pair that the user's slot has never named.
    move_to(&mut stage.pairs, moved.id, 1, 2).await;
    assert_eq!(exports(&stage, &moved.token).await.as_array().map(Vec::len), Some(2));
    stage.pairs.stop().await;

    for count in [1, 2] {
        let refused = Pairs::start(options.clone(), count, |_| {}).await.err();
        assert!(matches!(refused, Some(Error::TooFewPairs { needed: 2 | 3 })), "{refused:?}");
    }
    let refused = Backend::start(options.clone()).await.err();
    assert!(matches!(refused, Some(Error::OtherData { .. })), "{refused:?}");
    let one = Options { data: Some(data.join("pair-0")), ..Options::default() };
    let refused = Pairs::start(one, 1, |_| {}).await.err();
    assert!(matches!(refused, Some(Error::OtherData { .. })), "{refused:?}");
}

async fn exports(stage: &Stage, token: &str) -> Value {
    let call = stage.call(Method::GET, "/rest/v1/export_history?select=id").bearer_auth(token);
    send(call).await.body
}

async fn move_to(pairs: &mut Pairs, user: Uuid, from: usize, to: usize) {
    let url = |number: usize| pairs.pair(number).expect("it runs").ready().database_url.clone();
    let (old, new) = (connect(&url(from)).await, connect(&url(to)).await);
    let moving = "SELECT marea.move_user($1, 'another pair')";
    let document: Value = old.query_one(moving, &[&user]).await.expect("a document").get(0);
    new.execute("SELECT marea.import_user($1)", &[&document]).await.expect("the rows");
    pairs.router().route(user, to).await.expect("the router");
    old.execute("SELECT marea.erase_user($1, true)", &[&user]).await.expect("erased");
}
