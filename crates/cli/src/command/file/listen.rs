//! `file mount --listen`: an instance's files for any SFTP client, over SSH.

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use coffer_client::Client;
use coffer_ssh::{Access, Connection, HostKey, SshError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::app::App;
use crate::error::CliError;

/// Where it is served when nobody says where: to this machine alone, at a port that is free.
pub(super) const LOCAL: &str = "127.0.0.1:0";

/// How many clients there may be at the same time.
const MOST: usize = 64;

/// How long a client may take to say who it is and what it wants.
const GRACE: Duration = Duration::from_secs(60);

/// Bytes for a client that does not read: then it is not read from either.
const WAITING: usize = 256 << 10;

/// Serves the files of an instance until somebody ends it.
pub(super) async fn listen(app: &App, client: &Client, instance: &str, address: &str, access: Access) -> Result<(), CliError> {
    let failed = |cause| CliError::Listening { address: address.to_owned(), cause };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let host = Arc::new(HostKey::generate()?);
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt()).map_err(failed)?, signal(SignalKind::terminate()).map_err(failed)?);
    app.print(&format!("SSH SFTP listening on {}\n{}\n", listener.local_addr().map_err(failed)?, login(&access)))?;
    let access = Arc::new(access);
    let mut served = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if served.len() < MOST => match accepted {
                Ok((stream, peer)) => {
                    let (client, instance, host, access) = (client.clone(), instance.to_owned(), host.clone(), access.clone());
                    served.spawn(async move {
                        serve(stream, &client, &instance, host, access).await.map_err(|error| format!("{peer}: {}", coffer_base::chain(&error)))
                    });
                }
                Err(error) => app.complain(&format!("a client could not be taken: {error}")),
            },
            Some(ended) = served.join_next() => if let Ok(Err(why)) = ended {
                app.complain(&why);
            },
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
        }
    }
}

fn login(access: &Access) -> String {
    match &access.password {
        Some(password) => format!("Login with username \"{}\" and password \"{password}\"", access.user),
        None => "Login without username and password".into(),
    }
}

/// Why a client is not served any more.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error(transparent)]
    Ssh(#[from] SshError),
    #[error("reaching the instance's files")]
    Files(#[from] coffer_client::ClientError),
    #[error("moving bytes")]
    Moving(#[from] io::Error),
    #[error("the client did not say in time who it is")]
    Late,
}

/// Serves one client: a connection to the instance's file server of its own.
async fn serve(stream: TcpStream, client: &Client, instance: &str, host: Arc<HostKey>, access: Arc<Access>) -> Result<(), ServeError> {
    // Requests are small, and somebody waits for each.
    stream.set_nodelay(true)?;
    let (mut incoming, mut outgoing) = stream.into_split();
    let mut ssh = Connection::new(host, access, concat!("Coffer_", env!("CARGO_PKG_VERSION")))?;
    let (mut answers, mut requests) = (None, None);
    let (mut from_client, mut from_files) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let deadline = Instant::now() + GRACE;
    loop {
        if ssh.has_begun() && answers.is_none() {
            let stream = client.sftp_stream(instance).await?;
            stream.set_nonblocking(true)?;
            let (read, write) = UnixStream::from_std(stream)?.into_split();
            (answers, requests) = (Some(read), Some(write));
        }
        if ssh.has_ended() && ssh.output().is_empty() && ssh.data().is_empty() {
            return Ok(());
        }
        let room = ssh.room().min(from_files.len());
        let can_read = ssh.output().len() < WAITING;
        tokio::select! {
            read = incoming.read(&mut from_client), if can_read => match read? {
                0 => return Ok(()),
                length => match ssh.receive(&from_client[..length]) {
                    Err(SshError::Ended) => return Ok(()),
                    other => other?,
                },
            },
            sent = outgoing.write(ssh.output()), if !ssh.output().is_empty() => ssh.sent(sent?),
            taken = write(&mut requests, ssh.data()), if !ssh.data().is_empty() => ssh.taken(taken?),
            said = read(&mut answers, &mut from_files[..room]), if room > 0 && can_read => match said? {
                0 => ssh.finish(),
                length => ssh.send(&from_files[..length]),
            },
            () = tokio::time::sleep_until(deadline), if !ssh.has_begun() => return Err(ServeError::Late),
        }
    }
}

/// Reads from the file server, once there is one.
async fn read(files: &mut Option<OwnedReadHalf>, buffer: &mut [u8]) -> io::Result<usize> {
    match files {
        Some(files) => files.read(buffer).await,
        None => pending().await,
    }
}

/// Writes to the file server, once there is one.
async fn write(files: &mut Option<OwnedWriteHalf>, bytes: &[u8]) -> io::Result<usize> {
    match files {
        Some(files) => files.write(bytes).await,
        None => pending().await,
    }
}
