//! The daemon's life: take the state directory, listen, recover, serve, end.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use coffer_engine::{Engine, EngineError, Settings};
use coffer_web::{Identity, IdentityError, Role};
use rustix::process::{Resource, Rlimit};
use tokio::signal::unix::{SignalKind, signal};

use crate::app::{App, Phase};
use crate::guest;
use crate::listener::{ListenError, Listener};
use crate::logging::Log;
use crate::network::Network;
use crate::notify::{self, News};
use crate::route;
use crate::state_dir::{StateDir, StateDirError};

/// Threads that serve. They wait for nothing but the network; two are as fast as more.
const SERVING_THREADS: usize = 2;

/// Threads that may block: each operation that works has one.
const BLOCKING_THREADS: usize = 512;

/// Stack of a thread; only what is used costs memory.
const STACK: usize = 2 << 20;

/// Heaps of the C library. Each thread would get its own.
const HEAPS: u16 = 2;

/// How long a thread that may block waits for more work.
const IDLE: Duration = Duration::from_secs(10);

/// How long operations may take to end when the daemon ends but the instances stay.
const LAST_WORK: Duration = Duration::from_secs(10);

/// How to run the daemon.
#[derive(Debug, Clone)]
pub struct Options {
    /// The state directory.
    pub dir: PathBuf,
    /// The group that may use the socket besides root.
    pub group: Option<String>,
    /// The monitor program.
    pub monitor: PathBuf,
    /// The unpacking program.
    pub unpack: PathBuf,
    /// The program that serves instances' files.
    pub files: PathBuf,
}

/// Why the daemon does not run.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// It takes rights that the user does not have.
    #[error("the daemon must be run by root")]
    NotRoot,
    /// The state directory.
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    /// The socket.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// What the last daemon left, or what it needs.
    #[error("opening the state in {dir}", dir = dir.display())]
    Open {
        /// The state directory.
        dir: PathBuf,
        /// What is wrong with it.
        #[source]
        cause: EngineError,
    },
    /// The server's certificate.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The server's certificate and its key.
    #[error("using the server's certificate")]
    Tls(#[from] rustls::Error),
    /// Threads or signals.
    #[error("starting the daemon's threads")]
    Threads(#[source] io::Error),
}

/// Runs the daemon until it is asked to end.
///
/// # Errors
/// See [`DaemonError`].
pub fn run(options: Options, log: &Log) -> Result<(), DaemonError> {
    if !rustix::process::geteuid().is_root() {
        return Err(DaemonError::NotRoot);
    }
    let state = StateDir::take(&options.dir)?;
    if let Err(error) = coffer_sys::heap::keep_small(HEAPS) {
        tracing::warn!("keeping the heap small: {error}");
    }
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(SERVING_THREADS)
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_stack_size(STACK)
        .thread_keep_alive(IDLE)
        .thread_name("cofferd")
        .enable_all()
        .build()
        .map_err(DaemonError::Threads)?;
    let result = runtime.block_on(live(&state, options, log));
    // Work that is cut off here is finished or taken back by the next daemon.
    runtime.shutdown_timeout(Duration::from_millis(100));
    result
}

async fn live(state: &StateDir, options: Options, log: &Log) -> Result<(), DaemonError> {
    let dir = state.path().to_owned();
    let settings =
        Settings { dir: dir.clone(), monitor: options.monitor, unpack: options.unpack, files: options.files, group: options.group.clone() };
    let engine = Engine::open(settings).map_err(|cause| DaemonError::Open { dir: dir.clone(), cause })?;
    engine.keep_runtime_files_in_memory();
    log.connect(engine.events().clone());
    let (mut terminate, mut interrupt) = (ending_signal(SignalKind::terminate())?, ending_signal(SignalKind::interrupt())?);
    let (network, metrics) = network(&dir)?;
    let app = App::new(engine, dir.clone(), network, metrics);
    if let Some(doors) = app.engine.guest_doors() {
        tokio::spawn(guest::serve(app.clone(), doors));
    }
    let listener = Listener::bind(&dir, options.group.as_deref())?;
    let serving = tokio::spawn(listener.serve(route::router(app.clone()), app.watch_phase()));
    tracing::info!(dir = %dir.display(), "listening");
    listen_on_network(&app).await;
    let recovering = tokio::spawn(recover(app.clone()));
    let keeping = tokio::spawn(keep_images(app.clone()));
    let mut phase = app.watch_phase();
    tokio::select! {
        _ = terminate.recv() => tracing::info!("told to end; instances go on"),
        _ = interrupt.recv() => tracing::info!("interrupted; instances go on"),
        _ = phase.wait_for(|phase| *phase == Phase::Ending) => tracing::info!("instances are stopped"),
    }
    notify::tell(News::Stopping);
    recovering.abort();
    keeping.abort();
    app.enter(Phase::Stopping);
    app.engine.operations().drain(LAST_WORK).await;
    app.engine.settle_operation_log();
    app.enter(Phase::Ending);
    let _ = serving.await;
    tracing::info!("ended");
    Ok(())
}

/// Reads the server's certificate; makes it at the first start.
fn network(dir: &Path) -> Result<(Network, Network), DaemonError> {
    let identity = Identity::load_or_make(dir, "server", || {
        let uname = rustix::system::uname();
        let host = uname.nodename().to_string_lossy().into_owned();
        // Clients that pin the certificate take its first name for the server's.
        let name = if host.is_empty() { "localhost".to_owned() } else { host };
        let names = [name.clone(), "127.0.0.1".into(), "::1".into()];
        Identity::generate(Role::Server, &format!("root@{name}"), &names)
    })?;
    Ok((Network::new(identity.clone())?, Network::for_metrics(identity)?))
}

/// Listens where the configuration says. That this fails keeps nobody from the socket.
async fn listen_on_network(app: &App) {
    let config = match app.engine.server_config() {
        Ok(config) => config,
        Err(error) => return tracing::error!("reading where to listen: {}", coffer_base::chain(&error)),
    };
    let _turn = app.network.turn.lock().await;
    for network in [&app.network, &app.metrics] {
        if let Err(refusal) = network.listen(app, config.get(network.key()).unwrap_or_default()).await {
            tracing::error!("{refusal}");
        }
    }
}

fn ending_signal(kind: SignalKind) -> Result<tokio::signal::unix::Signal, DaemonError> {
    signal(kind).map_err(DaemonError::Threads)
}

/// Finds what the last daemon left, and opens the doors.
async fn recover(app: App) {
    let recovered = app.attempt(|engine| {
        engine.recover();
        Ok(())
    });
    if let Err(error) = recovered.await {
        tracing::error!("finding what the last daemon left: {}", coffer_base::chain(&error));
    }
    coffer_sys::heap::trim();
    app.enter(Phase::Serving);
    notify::tell(News::Ready);
    tracing::info!("ready");
    app.engine.expire_backups().await;
}

/// Keeps images up to date from the moment that the daemon serves.
async fn keep_images(app: App) {
    let mut phase = app.watch_phase();
    if phase.wait_for(|phase| *phase >= Phase::Serving).await.is_ok() {
        app.engine.keep_images().await;
    }
}

/// Each instance takes a few descriptors, each client more.
fn raise_file_limit() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    if let Err(error) = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        tracing::warn!("raising the limit of open files: {error}");
    }
}
