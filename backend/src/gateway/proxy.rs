//! `/rest/v1/...` to PostgREST and back, for each user a few at a time. A request is read whole (its size is bounded), an answer is
//! streamed. It changes nothing but the headers that belong to one connection, and the query of a sync.

use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use serde_json::json;
use tokio::time::Instant;

use super::turns::Kind;
use super::{Shared, bearer};
use crate::Error;

/// Well above every limit of the SQL side, so that its own, clearer answer is the one that is seen.
const BODY_BOUND: usize = 8 << 20;
/// What is read of a larger one: a client that is still sending would see a broken connection instead of the answer.
const DRAIN_BOUND: usize = 256 << 20;
const PREFIX: &str = "/rest/v1";
/// Told which arguments a body has, PostgREST does not parse it, which costs it up to a hundred times as much.
const SYNC: (&str, &str) = ("/rpc/marea_sync", "/rpc/marea_sync?columns=request");

/// Headers of one connection (RFC 9110, 7.6.1), and those that are written anew for the next.
const NOT_FORWARDED: [HeaderName; 10] = [
    header::CONNECTION,
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
    header::PROXY_AUTHORIZATION,
    header::PROXY_AUTHENTICATE,
    HeaderName::from_static("keep-alive"),
];

/// The PostgREST behind the gateway.
pub(crate) struct Upstream {
    url: String,
    http: reqwest::Client,
}

impl Upstream {
    pub(crate) fn new(url: &str) -> Result<Upstream, Error> {
        let http = reqwest::Client::builder()
            // Whatever proxy the environment names is for the world outside.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(5))
            // Shorter than PostgREST's own patience (30 s), so that no call goes to a connection it is just closing.
            .pool_idle_timeout(Duration::from_secs(10))
            .build()?;
        Ok(Upstream { url: url.to_owned(), http })
    }

    pub(super) async fn is_alive(&self) -> bool {
        let call = self.http.head(&self.url).timeout(Duration::from_secs(5)).send();
        call.await.is_ok()
    }
}

pub(super) async fn forward(State(gateway): State<Shared>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let is_sync = head.uri.path().strip_prefix(PREFIX) == Some(SYNC.0);
    let kind = if is_sync { Kind::Sync } else { Kind::Other };
    let turn = match bearer(&head.headers).and_then(|token| gateway.tokens.subject(token)) {
        None => None,
        Some(user) => match gateway.turns.take(&user, kind).await {
            Some(turn) => Some(turn),
            None => {
                read_bounded(body).await;
                let message = "too many requests of this user are waiting";
                let headers = [(header::RETRY_AFTER, "1")];
                return (StatusCode::TOO_MANY_REQUESTS, headers, Json(json!({ "message": message })))
                    .into_response();
            }
        },
    };
    let Some(body) = read_bounded(body).await else {
        let message = format!("the request is larger than {BODY_BOUND} bytes");
        return (StatusCode::PAYLOAD_TOO_LARGE, Json(json!({ "message": message }))).into_response();
    };
    let whole = head.uri.path_and_query().map_or("", |it| it.as_str());
    let mut rest = whole.strip_prefix(PREFIX).unwrap_or(whole);
    if is_sync {
        rest = SYNC.1;
    }
    let url = format!("{}{}{rest}", gateway.upstream.url, if rest.starts_with('/') { "" } else { "/" });
    let mut headers = forwardable(&head.headers);
    // The gateway's key is the gateway's business.
    headers.remove("apikey");
    let call = gateway.upstream.http.request(head.method, url).headers(headers).body(body);
    // On a task of its own: PostgREST goes on when the client goes away, and until then this is the user's turn.
    let answer = tokio::spawn(async move {
        let begun = Instant::now();
        let answer = call.send().await;
        if let Some(turn) = turn {
            tokio::spawn(turn.end(begun.elapsed()));
        }
        answer
    });
    match answer.await {
        Ok(Ok(answer)) => back(answer),
        _ => {
            let message = "PostgREST does not answer";
            (StatusCode::BAD_GATEWAY, Json(json!({ "message": message }))).into_response()
        }
    }
}

fn back(answer: reqwest::Response) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = answer.status();
    *response.headers_mut() = forwardable(answer.headers());
    // Its length is kept: it tells the client how much is coming, and that nothing is missing.
    if let Some(length) = answer.headers().get(header::CONTENT_LENGTH) {
        response.headers_mut().insert(header::CONTENT_LENGTH, length.clone());
    }
    *response.body_mut() = Body::from_stream(answer.bytes_stream());
    response
}

/// A copy without what belongs to the connection.
fn forwardable(headers: &HeaderMap) -> HeaderMap {
    let mut copy = headers.clone();
    for value in headers.get_all(header::CONNECTION) {
        for name in value.to_str().unwrap_or_default().split(',') {
            copy.remove(name.trim());
        }
    }
    for name in NOT_FORWARDED {
        copy.remove(name);
    }
    copy
}

/// The whole body, or nothing when it is larger than the bound (or broke off).
pub(super) async fn read_bounded(body: Body) -> Option<Bytes> {
    let mut chunks = body.into_data_stream();
    let (mut kept, mut seen) = (Vec::new(), 0);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.ok()?;
        seen += chunk.len();
        if seen <= BODY_BOUND {
            kept.extend_from_slice(&chunk);
        } else if seen > DRAIN_BOUND {
            return None;
        } else {
            kept = Vec::new();
        }
    }
    (seen <= BODY_BOUND).then(|| kept.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_a_connection_stays_there() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Private"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("x-private", "1"),
            ("prefer", "return=minimal"),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        let forwarded = forwardable(&headers);
        assert_eq!(forwarded.keys().collect::<Vec<_>>(), ["prefer"]);
    }
}
