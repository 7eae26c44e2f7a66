//! Accepts requests: first TLS, then the token, then the service.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::stream::{self, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tonic::service::{InterceptorLayer, Routes};
use tonic::transport::Server;
use tonic::transport::server::Connected;

use super::tls::ServerTls;
use super::token::Token;
use super::within;

/// What a server asks of those who come.
#[derive(Debug, Clone, Default)]
pub(super) struct Gate {
    pub(super) token: Option<Token>,
    pub(super) tls: Option<ServerTls>,
}

impl Gate {
    /// Serves until `end`.
    pub(super) async fn serve(
        self,
        listener: TcpListener,
        routes: Routes,
        end: impl Future<Output = ()>,
    ) -> Result<(), tonic::transport::Error> {
        let Self { token, tls } = self;
        let check = move |request| match &token {
            Some(token) => token.check(request),
            None => Ok(request),
        };
        Server::builder()
            .http2_keepalive_interval(Some(Duration::from_secs(30)))
            .layer(InterceptorLayer::new(check))
            .add_routes(routes)
            .serve_with_incoming_shutdown(incoming(listener, tls), end)
            .await
    }
}

/// Connections whose handshake is done. One that is slow does not hold up others.
fn incoming(listener: TcpListener, tls: Option<ServerTls>) -> impl Stream<Item = io::Result<Link>> {
    let (ready, links) = mpsc::channel(16);
    tokio::spawn(accept(listener, tls, ready));
    stream::unfold(links, |mut links| async {
        let link = links.recv().await?;
        Some((Ok(link), links))
    })
}

async fn accept(listener: TcpListener, tls: Option<ServerTls>, ready: mpsc::Sender<Link>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ready.closed() => return,
        };
        let Ok((stream, _)) = accepted else {
            // Too many open files, mostly: some will be closed.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (tls, ready) = (tls.clone(), ready.clone());
        tokio::spawn(async move {
            match within(Link::new(stream, tls)).await {
                // Nobody takes it when the server ends.
                Ok(link) => drop(ready.send(link).await),
                Err(error) => tracing::info!("a connection was refused: {error}"),
            }
        });
    }
}

trait Both: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Both for T {}

/// A connection, plain or within TLS.
struct Link(Box<dyn Both>);

impl Link {
    async fn new(stream: TcpStream, tls: Option<ServerTls>) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self(match tls {
            Some(tls) => Box::new(tls.acceptor().accept(stream).await?),
            None => Box::new(stream),
        }))
    }
}

impl Connected for Link {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Link {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, into)
    }
}

impl AsyncWrite for Link {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
