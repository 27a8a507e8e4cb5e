//! The same program with a client of the desktop in it, which syncs by itself and has nothing to do: arguments DIR URL ANON_KEY TOKEN.

use marea_native::{Client, Config, StaticToken, auth};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dir, url, anon_key, token] = arguments.as_slice() else { panic!("DIR URL ANON_KEY TOKEN") };
    let user = auth::user_of_token(token).expect("a token");
    let config = Config::new(dir, user).server(url, anon_key).tokens(StaticToken::new(token));
    let client = Client::open(config).await.expect("a client");
    let mut watched = client.watch_progress().await.expect("a watch");
    watched.next().await.expect("progress");
    tokio::time::sleep(std::time::Duration::from_secs(600)).await;
}
