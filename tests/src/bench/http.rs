//! Calls through PostgREST, on one kept connection and with as little of a client as can be: what the client costs is added
//! to both sides of a ratio, and would hide the difference.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Figure, Rounds};
use crate::cluster::Cluster;

const ROUNDS: usize = 15;
const CALLS: usize = 60;
const CLIENT: &str = "0b0e5a8e-5b0f-4f3a-9a53-2f1d6f6a7c11";

/// A kept connection to PostgREST or to the gateway, signed in.
pub(super) struct Caller {
    stream: BufReader<TcpStream>,
    /// The lines of a request before the token, but for the function's name.
    head: [String; 2],
    token: String,
}

impl Caller {
    /// Straight to PostgREST.
    pub(super) fn new(cluster: &Cluster, user: uuid::Uuid) -> Caller {
        Caller::of(cluster, user, cluster.backend().postgrest_url(), "/rpc", "")
    }

    /// As devices do, through the gateway.
    pub(super) fn at_gateway(cluster: &Cluster, user: uuid::Uuid) -> Caller {
        let ready = cluster.backend().ready();
        let key = format!("apikey: {}\r\n", ready.anon_key);
        Caller::of(cluster, user, &ready.url, "/rest/v1/rpc", &key)
    }

    /// At another address of these, with headers of its own.
    pub(super) fn of(cluster: &Cluster, user: uuid::Uuid, url: &str, path: &str, headers: &str) -> Caller {
        let authority = url.trim_start_matches("http://");
        let stream = TcpStream::connect(authority).expect("a server listens");
        stream.set_nodelay(true).expect("a socket option");
        let head = [format!("POST {path}"), format!("Host: {authority}\r\n{headers}")];
        Caller { stream: BufReader::new(stream), head, token: cluster.backend().mint_token(user, 3600) }
    }

    /// Whose token the next calls carry.
    pub(super) fn speak_for(&mut self, token: &str) {
        token.clone_into(&mut self.token);
    }

    /// Calls a function; the status, and the body's text.
    pub(super) fn call(&mut self, function: &str, body: &str) -> (u16, String) {
        let request = format!(
            "{}/{function} HTTP/1.1\r\n{}Authorization: Bearer {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.head[0],
            self.head[1],
            self.token,
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes()).expect("a request");
        let status = self.line().split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        let (mut length, mut chunked) = (0, false);
        loop {
            let line = self.line().to_ascii_lowercase();
            match line.split_once(": ") {
                Some(("content-length", value)) => length = value.parse().expect("a length"),
                Some(("transfer-encoding", value)) => chunked = value.contains("chunked"),
                Some(_) => {}
                None => break,
            }
        }
        let body = if chunked { self.chunks() } else { self.bytes(length) };
        (status, String::from_utf8(body).expect("UTF-8"))
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).expect("the body");
        bytes
    }

    fn chunks(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let length = usize::from_str_radix(&self.line(), 16).expect("a chunk's length");
            all.extend(self.bytes(length));
            self.line();
            if length == 0 {
                return all;
            }
        }
    }

    /// The mean time of a call, over some; each must be answered with 200.
    fn time(&mut self, function: &str, body: &str) -> Duration {
        let started = super::now();
        for _ in 0..CALLS {
            let (status, answer) = self.call(function, body);
            assert_eq!(status, 200, "{answer}");
        }
        started.elapsed() / u32::try_from(CALLS).unwrap_or(1)
    }
}

/// A learner with thirty days of sessions on a server with so many rows, and the request of a device that has them all.
async fn prepare(cluster: &Cluster, rows: u32) -> (Caller, String) {
    let url = &cluster.backend().ready().database_url;
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("Postgres");
    tokio::spawn(connection);
    let user: uuid::Uuid = client
        .query_one("INSERT INTO public.users (id) VALUES (gen_random_uuid()) RETURNING id", &[])
        .await
        .expect("a learner")
        .get(0);
    let fill = format!(
        "CREATE FUNCTION public.bench_constant(request JSONB) RETURNS JSONB LANGUAGE plpgsql AS
             $$ BEGIN RETURN '{{\"protocol\": 1}}'::jsonb; END $$;
         GRANT EXECUTE ON FUNCTION public.bench_constant(JSONB) TO authenticated;
         INSERT INTO public.sessions (user_id, ended_at, duration_minutes, qa_attempts, qa_correct)
         SELECT '{user}', timestamptz '2026-11-01' - n * interval '1 day', 10, 10, 7 FROM generate_series(1, 30) AS n;
         -- Fifty other learners' worth of rows for each thousand: as a server that has been running for years.
         INSERT INTO public.users (id) SELECT gen_random_uuid() FROM generate_series(1, {rows} / 20);
         SET session_replication_role = replica;
         INSERT INTO marea.clocks (user_id, version)
         SELECT id, 20 FROM public.users ON CONFLICT DO NOTHING;
         INSERT INTO marea.rows (user_id, table_name, row_key, version)
         SELECT u.id, 'daily_activity', to_char(date '2026-01-01' + n, 'YYYY-MM-DD'), n
         FROM public.users AS u, generate_series(1, 20) AS n WHERE u.id <> '{user}' ON CONFLICT DO NOTHING;
         SET session_replication_role = origin;
         NOTIFY pgrst, 'reload schema';"
    );
    client.batch_execute(&fill).await.expect("the rows");
    client.batch_execute("VACUUM (ANALYZE)").await.expect("statistics");

    let mut caller = Caller::new(cluster, user);
    let mut request = json!({ "request": { "protocol": 1, "client_id": CLIENT, "schema": 1, "cursor": null,
                                           "limit": 500, "mutations": [] } });
    let (status, answer) = caller.call("marea_sync", &request.to_string());
    assert_eq!(status, 200, "{answer}");
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    request["request"]["cursor"] = answer["cursor"].clone();
    let request = request.to_string();
    // PostgREST hears of the new function a moment later.
    crate::wait::until("PostgREST knows the constant function", || {
        let (status, _) = caller.call("bench_constant", &request);
        async move { status == 200 }
    })
    .await;
    (caller, request)
}

/// A sync with nothing to do, against a function that returns a constant, and with many rows against few.
pub async fn figures(rows: u32) -> Vec<Figure> {
    let (small_cluster, large_cluster) = (Cluster::start().await, Cluster::start().await);
    let (mut small, request) = prepare(&small_cluster, 1_000).await;
    let (mut large, large_request) = prepare(&large_cluster, rows).await;
    let (mut idle, mut grown) = (Rounds::new(), Rounds::new());
    small.time("marea_sync", &request); // plans and caches
    large.time("marea_sync", &large_request);
    for _ in 0..ROUNDS {
        let constant = small.time("bench_constant", &request);
        let sync = small.time("marea_sync", &request);
        let among_many = large.time("marea_sync", &large_request);
        idle.add(constant, sync);
        grown.add(sync, among_many);
    }
    small_cluster.stop().await;
    large_cluster.stop().await;
    vec![
        idle.figure(
            "a sync with nothing to do, through PostgREST",
            "a PL/pgSQL function that returns a constant",
            1.5,
            &format!("{CALLS} calls a round on one kept connection, straight to PostgREST"),
        ),
        grown.figure(
            &format!("the same among {rows} rows in marea.rows"),
            "among 1,000 rows",
            1.3,
            "two servers side by side, asked in turn",
        ),
    ]
}
