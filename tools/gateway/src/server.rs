//! Connections: accepting them, their limits, and a graceful end.

use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinSet,
};

use crate::gateway::Gateway;

/// How long a client may take to send a request's head. A connection between two requests waits for one, too, so this
/// is longer than clients keep idle connections, which is 15 s at the shortest.
const HEADER_TIMEOUT: Duration = Duration::from_secs(20);

/// Largest head of a request.
const HEADER_LIMIT: usize = 64 * 1024;

/// How long running requests may take after a request to stop.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the gateway cannot serve.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot listen on port {} of {}; choose another with --port, or end what listens there", .0.port(), .0.ip())]
    Bind(SocketAddr, #[source] io::Error),
    #[error("cannot wait for signals")]
    Signals(#[source] io::Error),
}

/// Serves at `address` until SIGINT or SIGTERM, then lets running requests finish.
pub(crate) async fn serve(gateway: Arc<Gateway>, address: SocketAddr) -> Result<(), Error> {
    let listener = TcpListener::bind(address).await.map_err(|error| Error::Bind(address, error))?;
    let local = listener.local_addr().map_err(|error| Error::Bind(address, error))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    gateway.log().listening(local);

    let (end, ended) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut is_reported = false;
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(connection(stream, peer, local.port(), Arc::clone(&gateway), ended.clone()));
                }
                // Out of file descriptors, most likely: some may be free in a moment.
                Err(error) => {
                    if !is_reported {
                        eprintln!("gateway: cannot accept connections for now: {error}");
                        is_reported = true;
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = connections.join_next() => {}
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
        }
    }
    drop(listener);
    drop(end);
    let all = async { while connections.join_next().await.is_some() {} };
    // Requests that have not finished by then are aborted.
    let _ = tokio::time::timeout(END_TIMEOUT, all).await;
    Ok(())
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    port: u16,
    gateway: Arc<Gateway>,
    mut ended: watch::Receiver<()>,
) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| {
        let gateway = Arc::clone(&gateway);
        async move { Ok::<_, Infallible>(gateway.answer(request, peer.ip(), port).await) }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(HEADER_LIMIT)
            .serve_connection(TokioIo::new(stream), service)
    );
    let result = tokio::select! {
        result = connection.as_mut() => result,
        // The sender is dropped when the end has come.
        _ = ended.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    // Disconnecting or slow clients are not reported.
    if let Err(error) = result
        && (error.is_parse() || error.is_user())
    {
        eprintln!("gateway: a connection from {peer} ended: {error}");
    }
}
