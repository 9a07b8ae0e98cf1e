//! A server: its socket, its connections, and its end.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures_util::future::{Either, select};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};

use crate::error::Error;
use crate::fault::Fault;
use crate::library::Library;
use crate::limits::{CONNECTIONS_MAX, HEAD_BYTES_MAX, HEAD_TIME_MAX, HEADERS_MAX};
use crate::models::Models;
use crate::names::Wanted;
use crate::routes::router;
use crate::settings::Settings;
use crate::state::App;

/// A server that listens, and answers while [`Server::run`] runs.
pub struct Server {
    listener: TcpListener,
    #[cfg(unix)]
    local: Option<std::os::unix::net::UnixListener>,
    address: SocketAddr,
    app: Arc<App>,
    stopping: watch::Sender<bool>,
}

/// Stops a server from anywhere.
#[derive(Clone)]
pub struct Stopper(watch::Sender<bool>);

impl Stopper {
    /// Takes in nothing more; what is being answered has its time to end.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Server {
    /// Listens. From now on clients can connect; they are answered by [`Server::run`].
    ///
    /// # Errors
    ///
    /// Settings that would let strangers in; names that are there twice; an address that is taken.
    pub fn bind(settings: Settings, library: Box<dyn Library>) -> Result<Self, Error> {
        settings.check()?;
        let address = settings.address;
        let models = Models::new(library, &settings)?;
        let listen = |source| Error::Listen { address, source };
        let listener = TcpListener::bind(address).map_err(listen)?;
        listener.set_nonblocking(true).map_err(Error::System)?;
        let address = listener.local_addr().map_err(Error::System)?;
        let app = Arc::new(App::new(models, settings));
        let stopping = watch::Sender::new(false);
        Ok(Server {
            listener,
            #[cfg(unix)]
            local: None,
            address,
            app,
            stopping,
        })
    }

    /// Listens on a socket of this machine's file system, too. Who may connect is up to the socket's file.
    #[cfg(unix)]
    #[must_use]
    pub fn and_local(self, listener: std::os::unix::net::UnixListener) -> Self {
        Server { local: Some(listener), ..self }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What stops it.
    pub fn stopper(&self) -> Stopper {
        Stopper(self.stopping.clone())
    }

    /// Answers until it is stopped, by its [`Stopper`] or by SIGTERM. Then nothing new is begun; answers on their way
    /// have [`Settings::drain_time`], and are cancelled after that.
    ///
    /// # Errors
    ///
    /// [`Error::System`]; [`Error::Load`] for a model of [`Settings::load_first`].
    pub fn run(self) -> Result<(), Error> {
        let runtime = runtime().map_err(Error::System)?;
        let served = runtime.block_on(self.serve());
        // What still runs is cancelled with its tasks; its threads end with the step they are in.
        runtime.shutdown_timeout(Duration::from_secs(2));
        served
    }

    async fn serve(self) -> Result<(), Error> {
        let doors = Doors {
            tcp: tokio::net::TcpListener::from_std(self.listener).map_err(Error::System)?,
            #[cfg(unix)]
            local: self.local.map(local).transpose().map_err(Error::System)?,
        };
        let drain_time = self.app.settings.drain_time;
        let connections = Connections::new(router(Arc::clone(&self.app)));
        tokio::spawn({
            let models = self.app.models.clone();
            async move { models.unload_expired().await }
        });
        let loading = tokio::spawn(load_first(Arc::clone(&self.app), Stopper(self.stopping.clone())));
        let mut stopping = self.stopping.subscribe();
        let stopped = pin!(stopping.wait_for(|is_stopping| *is_stopping));
        let terminated = pin!(terminated()?);
        let mut ended = select(stopped, terminated);
        while let Either::Left((accepted, _)) = select(pin!(doors.accept()), &mut ended).await {
            connections.take(accepted).await;
        }
        drop(doors);
        self.app.stop();
        // Those that take longer are cut off.
        let _ = timeout(drain_time, connections.graceful.shutdown()).await;
        // What is still being loaded is wanted no more.
        if loading.is_finished() { loading.await.unwrap_or(Ok(())) } else { Ok(()) }
    }
}

/// Loads what is to be there from the start; the server ends if that fails.
async fn load_first(app: Arc<App>, stopper: Stopper) -> Result<(), Error> {
    for name in &app.settings.load_first {
        let wanted = Wanted { name: Some(name.clone()), ..Wanted::default() };
        if let Err(Fault { message, .. }) = app.models.open_wanted(&wanted).await {
            stopper.stop();
            return Err(Error::Load { name: name.clone(), why: message });
        }
    }
    app.begin();
    Ok(())
}

/// Requests are little work beside what they ask for.
fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("bantam-server")
        .enable_all()
        .build()
}

/// Where connections come from.
struct Doors {
    tcp: tokio::net::TcpListener,
    #[cfg(unix)]
    local: Option<tokio::net::UnixListener>,
}

enum Stream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Local(tokio::net::UnixStream),
}

impl Doors {
    /// The next connection.
    async fn accept(&self) -> io::Result<Stream> {
        let tcp = async { self.tcp.accept().await.map(|(stream, _)| Stream::Tcp(stream)) };
        #[cfg(unix)]
        if let Some(listener) = &self.local {
            let local = async { listener.accept().await.map(|(stream, _)| Stream::Local(stream)) };
            return select(pin!(tcp), pin!(local)).await.factor_first().0;
        }
        tcp.await
    }
}

#[cfg(unix)]
fn local(listener: std::os::unix::net::UnixListener) -> io::Result<tokio::net::UnixListener> {
    listener.set_nonblocking(true)?;
    tokio::net::UnixListener::from_std(listener)
}

/// The connections that are open.
struct Connections {
    router: Router,
    graceful: GracefulShutdown,
    places: Arc<Semaphore>,
}

impl Connections {
    fn new(router: Router) -> Self {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        Connections { router, graceful: GracefulShutdown::new(), places }
    }

    async fn take(&self, accepted: io::Result<Stream>) {
        let Ok(stream) = accepted else {
            // Out of descriptors, most likely: some may be free soon.
            sleep(Duration::from_millis(50)).await;
            return;
        };
        // Beyond the limit, the connection is closed.
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else { return };
        match stream {
            Stream::Tcp(stream) => {
                // Tokens are small and should not wait for each other; without it they come a little later.
                let _ = stream.set_nodelay(true);
                self.serve(stream, place);
            }
            #[cfg(unix)]
            Stream::Local(stream) => self.serve(stream, place),
        }
    }

    fn serve(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        place: OwnedSemaphorePermit,
    ) {
        let service = TowerToHyperService::new(self.router.clone());
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .max_headers(HEADERS_MAX)
            .serve_connection(TokioIo::new(stream), service);
        let connection = self.graceful.watch(connection);
        tokio::spawn(async move {
            // Clients go away as they like.
            let _ = connection.await;
            drop(place);
        });
    }
}

/// Ends when the system asks the program to end.
#[cfg(unix)]
fn terminated() -> Result<impl Future<Output = ()>, Error> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::System)?;
    Ok(async move {
        terminate.recv().await;
    })
}

/// Other systems have no such signal.
#[cfg(not(unix))]
fn terminated() -> Result<impl Future<Output = ()>, Error> {
    Ok(std::future::pending())
}
