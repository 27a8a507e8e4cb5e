//! The same program with a client of the desktop in it, which syncs by itself and has nothing to do: arguments DIR URL ANON_KEY TOKEN.
//! With a FILE after them it does nothing by itself: it uploads that, says what it took, and ends.

#![allow(clippy::print_stdout, reason = "a command line tool talks on standard output")]

use marea_native::{Client, Config, StaticToken, auth};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dir, url, anon_key, token, file @ ..] = arguments.as_slice() else {
        panic!("DIR URL ANON_KEY TOKEN [FILE]")
    };
    let user = auth::user_of_token(token).expect("a token");
    let config = Config::new(dir, user).server(url, anon_key).tokens(StaticToken::new(token));
    let config = config.background_sync(file.is_empty()).file_quota_bytes(1 << 30);
    let client = Client::open(config).await.expect("a client");
    if let [file] = file {
        let took = marea_tests::bench::files::upload(&client, file.as_ref()).await;
        return println!("{}", serde_json::to_string(&took).expect("JSON"));
    }
    let mut watched = client.watch_progress().await.expect("a watch");
    watched.next().await.expect("progress");
    tokio::time::sleep(std::time::Duration::from_secs(600)).await;
}
