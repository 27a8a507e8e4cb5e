//! Listening, and the outermost layer of a call: preflights, faults, CORS. Below it is an ordinary axum router. It serves
//! connections itself because a fault has to close one without an answer, which a router cannot.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, Response, StatusCode, header};
use futures_util::{StreamExt, stream};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::faults::{Fault, FaultKind, Faults};
use super::{Gateway, cors, proxy, routes};
use crate::Error;

/// The answer is not to be given.
#[derive(Debug, thiserror::Error)]
#[error("closed by a fault")]
struct Closed;

/// A listening gateway; dropped, it is gone with all its connections.
pub(crate) struct Server {
    address: SocketAddr,
    accepting: JoinHandle<()>,
    stopping: watch::Sender<bool>,
}

impl Server {
    pub(crate) async fn bind(port: u16) -> Result<TcpListener, Error> {
        TcpListener::bind(("127.0.0.1", port)).await.map_err(|source| Error::PortTaken { port, source })
    }

    pub(crate) fn start(listener: TcpListener, gateway: Arc<Gateway>) -> Result<Server, Error> {
        let address = listener.local_addr().map_err(|source| Error::PortTaken { port: 0, source })?;
        let (faults, stopping) = (gateway.faults.clone(), gateway.stopping.clone());
        let accepting = tokio::spawn(accept(listener, routes(gateway), faults));
        Ok(Server { address, accepting, stopping })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
        self.stopping.send_replace(true);
    }
}

async fn accept(listener: TcpListener, router: Router, faults: Faults) {
    // The connections end with this task.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, router.clone(), faults.clone()));
                }
                // Out of file descriptors, say: it passes when connections end.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, router: Router, faults: Faults) {
    let _ = stream.set_nodelay(true);
    let handle = service_fn(move |request| answer(request, router.clone(), faults.clone()));
    let mut http = hyper::server::conn::http1::Builder::new();
    // The error is that of one connection: the client's going away, or `Closed`.
    let _ =
        http.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), handle).with_upgrades().await;
}

async fn answer(
    request: Request<Incoming>,
    router: Router,
    faults: Faults,
) -> Result<Response<Body>, Closed> {
    let path = request.uri().path();
    let is_preflight = cors::is_preflight(&request);
    let is_control = path == "/health" || path.starts_with("/_marea/");
    let fault = if is_control { None } else { faults.take(path, is_preflight) };
    let mut response = match fault {
        Some(fault) => with_fault(request, router, fault).await?,
        None if is_preflight => return Ok(cors::preflight(&request)),
        None => call(request, router).await,
    };
    cors::allow(response.headers_mut());
    Ok(response)
}

async fn call<B>(request: Request<B>, router: Router) -> Response<Body>
where
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    let Ok(response) = TowerToHyperService::new(router).call(request).await;
    response
}

/// The same request with half of its body.
fn halve(request: Request<Incoming>) -> Request<Body> {
    let (head, body) = request.into_parts();
    let length = head.headers.get(header::CONTENT_LENGTH).and_then(|it| it.to_str().ok());
    let left: usize = length.and_then(|it| it.parse().ok()).unwrap_or(0) / 2;
    let chunks = stream::unfold((Body::new(body).into_data_stream(), left), |(mut body, left)| async move {
        match body.next().await {
            _ if left == 0 => Some((Err(axum::Error::new(Closed)), (body, 0))),
            Some(Ok(chunk)) => {
                let taken = chunk.slice(..chunk.len().min(left));
                let left = left - taken.len();
                Some((Ok(taken), (body, left)))
            }
            Some(Err(error)) => Some((Err(error), (body, 0))),
            None => None,
        }
    });
    // It ends at the break.
    let mut broken = false;
    let chunks =
        chunks.take_while(move |chunk| std::future::ready(!std::mem::replace(&mut broken, chunk.is_err())));
    Request::from_parts(head, Body::from_stream(chunks))
}

async fn with_fault(
    request: Request<Incoming>,
    router: Router,
    fault: Fault,
) -> Result<Response<Body>, Closed> {
    match fault.kind {
        FaultKind::Offline => Err(Closed),
        FaultKind::Status => {
            // Read first: a client that is still sending would see a broken connection, not the status.
            proxy::read_bounded(Body::new(request.into_body())).await;
            let mut response = Response::new(Body::empty());
            *response.status_mut() =
                StatusCode::from_u16(fault.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
            Ok(response)
        }
        FaultKind::Delay => {
            tokio::time::sleep(Duration::from_millis(fault.delay_ms)).await;
            Ok(call(request, router).await)
        }
        FaultKind::DropAnswer => {
            // On a task of its own: the work gets done even if the client goes away meanwhile.
            let work = async { read_all(call(request, router).await).await };
            let _ = tokio::spawn(work).await;
            Err(Closed)
        }
        FaultKind::CutRequest => {
            // As for a dropped answer: what came of it happens in any case.
            let _ = tokio::spawn(async move { call(halve(request), router).await }).await;
            Err(Closed)
        }
        FaultKind::ResetMidBody => Ok(cut(read_all(call(request, router).await).await)),
    }
}

async fn read_all(response: Response<Body>) -> (axum::http::response::Parts, Bytes) {
    let (head, body) = response.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    (head, body)
}

/// The answer promises its whole length, gives half of it, and breaks.
fn cut((mut head, body): (axum::http::response::Parts, Bytes)) -> Response<Body> {
    // An empty answer has no middle: promise something.
    let length = body.len().max(2);
    head.headers.remove(header::TRANSFER_ENCODING);
    head.headers.insert(header::CONTENT_LENGTH, length.into());
    let half = body.slice(..body.len() / 2);
    let chunks = stream::unfold(Some(half), |state| async move {
        match state {
            Some(half) if !half.is_empty() => Some((Ok(half), Some(Bytes::new()))),
            Some(_) => {
                // Hyper sends what it has when the next chunk is not there yet: the half must leave before the break.
                tokio::time::sleep(Duration::from_millis(20)).await;
                Some((Err(io::Error::other("cut by a fault")), None))
            }
            None => None,
        }
    });
    Response::from_parts(head, Body::from_stream(chunks))
}
