//! What a command can end with besides success.

use std::io;
use std::path::PathBuf;

use coffer_client::ClientError;

/// Why a command did not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// A call to the server failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A call failed and there is something the user may look at.
    #[error("{cause}\n{hint}")]
    Hinted { cause: ClientError, hint: String },
    /// The user does not wait for an operation that cannot be cancelled.
    #[error("operation {operation} can't be cancelled and goes on; 'operation show {operation}' tells how it fares")]
    LeftBehind { operation: String },
    /// Some of several instances failed; each was reported before.
    #[error("some instances failed to {action}")]
    SomeFailed { action: &'static str },
    /// An argument is not of the form `key=value`.
    #[error("'{argument}' is not of the form key=value")]
    NotKeyValue { argument: String },
    /// A name does not have the parts the command needs.
    #[error("'{name}' is not of the form {form}")]
    NotOfForm { name: String, form: &'static str },
    /// Something is amiss that was not mended.
    #[error("{}", match count { 1 => "1 thing is not as it should be".to_owned(), _ => format!("{count} things are not as they should be") })]
    NotClean { count: usize },
    /// A needed argument is missing.
    #[error("{what} is missing")]
    Missing { what: &'static str },
    /// Options that exclude each other.
    #[error("{one} and {other} can't be used together")]
    Exclusive { one: &'static str, other: &'static str },
    /// Nothing of that name in the object.
    #[error("{object} has no {what} {name}")]
    NoSuch { object: String, what: &'static str, name: String },
    /// Something of that name is there already.
    #[error("{object} already has {} {name}", with_article(what))]
    AlreadyThere { object: String, what: &'static str, name: String },
    /// The instance itself has no such device.
    #[error("{instance} has no device {device} of its own; one of a profile is changed there, or here after 'config device override'")]
    NoOwnDevice { instance: String, device: String },
    /// Several devices fit.
    #[error("more than one device of {object} fits; name the device")]
    Ambiguous { object: String },
    /// A remote nobody knows.
    #[error("there is no remote '{name}'; 'remote list' shows those there are")]
    UnknownRemote { name: String },
    /// A remote that only serves images.
    #[error("remote '{name}' only serves images")]
    ImagesOnly { name: String },
    /// A program of the distribution did not do its work.
    #[error("the program {program}, which this takes: {why}")]
    Program { program: &'static str, why: String },
    /// What a server of images can't do.
    #[error("remote '{name}' only hands out images: nothing can be changed there")]
    ReadOnly { name: String },
    /// A remote that the user can't change.
    #[error("remote '{name}' is not yours to change: it is always there, or stands in the host's configuration")]
    FixedRemote { name: String },
    /// The default remote can't go.
    #[error("remote '{name}' is the default one: make another one the default with 'remote switch' first")]
    DefaultRemote { name: String },
    /// A name that no remote can have.
    #[error("'{name}' can't be a remote's name: letters, digits, '-', '_' and '.' can stand in one")]
    RemoteName { name: String },
    /// A protocol that nobody speaks here.
    #[error("remote '{name}'")]
    RemoteProtocol {
        name: String,
        #[source]
        cause: coffer_remote::ProtocolError,
    },
    /// A copy of an image to where it is.
    #[error("the image is there already: name another remote, or another project with --target-project")]
    SameRemote,
    /// Nobody can fetch from that daemon.
    #[error("other servers can't reach '{name}': set core.https_address there, or use --mode=relay")]
    NotReachable { name: String },
    /// A server in the clear.
    #[error("{url} is not reached over HTTPS, and must be")]
    NotHttps { url: String },
    /// The server took the certificate, but does not trust it.
    #[error("the server of '{name}' does not trust this client")]
    NotTrusted { name: String },
    /// A file that holds no certificate.
    #[error("reading the certificate {}", file.display())]
    Certificate {
        file: PathBuf,
        #[source]
        cause: coffer_web::CertificateError,
    },
    /// Our own certificate.
    #[error(transparent)]
    Identity(#[from] coffer_web::IdentityError),
    /// An address that is none.
    #[error(transparent)]
    Url(#[from] coffer_web::UrlError),
    /// TLS is not set up here.
    #[error(transparent)]
    Tls(#[from] coffer_web::tls::ClientConfigError),
    /// No connection.
    #[error(transparent)]
    Dial(#[from] coffer_web::DialError),
    /// A server of images.
    #[error(transparent)]
    Images(#[from] coffer_remote::RemoteError),
    /// A tree of images.
    #[error(transparent)]
    Publish(#[from] coffer_publish::PublishError),
    /// A build.
    #[error(transparent)]
    Build(#[from] coffer_build::BuildError),
    /// A program that a build needs.
    #[error(transparent)]
    Run(#[from] coffer_base::run::RunError),
    /// Something the client does not do yet.
    #[error("{what} is not supported yet")]
    Unsupported { what: &'static str },
    /// A column nobody knows.
    #[error("unknown column '{column}' in '{columns}'")]
    UnknownColumn { column: char, columns: String },
    /// A custom column that can't be read.
    #[error("'{column}' is no column: custom columns are [config:|devices:]key[:name][:maxWidth]")]
    BadColumn { column: String },
    /// A filter that is no regular expression.
    #[error("'{filter}' is no filter")]
    BadFilter { filter: String },
    /// Text that is no YAML of the expected shape.
    #[error("the YAML can't be used")]
    Yaml {
        #[source]
        cause: serde_saphyr::Error,
    },
    /// Text that is no JSON.
    #[error("the data is no JSON")]
    Json {
        #[source]
        cause: serde_json::Error,
    },
    /// The editor could not be run or was left with an error.
    #[error("running the editor {editor}")]
    Editor {
        editor: String,
        #[source]
        cause: io::Error,
    },
    /// Standard input or output broke.
    #[error("using standard {stream}")]
    Stream {
        stream: &'static str,
        #[source]
        cause: io::Error,
    },
    /// A local file could not be used.
    #[error("using the file {}", file.display())]
    File {
        file: PathBuf,
        #[source]
        cause: io::Error,
    },
    /// A local path that cannot be said in the API.
    #[error("the path {} is no text, so the API has no way to name it", file.display())]
    NotText { file: PathBuf },
    /// The terminal could not be switched.
    #[error("switching the terminal")]
    Terminal {
        #[source]
        cause: io::Error,
    },
    /// What arrived is not what was asked for.
    #[error("what arrived has fingerprint {found}, not {expected}")]
    WrongFingerprint { expected: String, found: String },
    /// A name from the server that can't be a file name.
    #[error("the server sent '{name}', which can't be a file name here")]
    UnsafeName { name: String },
    /// The user said no.
    #[error("not done, as you chose")]
    Declined,
    /// The server did not get ready in time.
    #[error("the server was not ready within {seconds} seconds")]
    NotReady { seconds: u64 },
    /// The server did not stop in time.
    #[error("the server has not stopped within {seconds} seconds and is still at it")]
    NotStopped { seconds: u64 },
    /// No client can come.
    #[error("listening at {address}")]
    Listening {
        address: String,
        #[source]
        cause: io::Error,
    },
    /// SSH can't be spoken here.
    #[error(transparent)]
    Ssh(#[from] coffer_ssh::SshError),
    /// The daemon's program can't be started.
    #[error("starting the daemon {}", program.display())]
    Daemon {
        program: PathBuf,
        #[source]
        cause: io::Error,
    },
}

/// A word with the article before it.
fn with_article(word: &str) -> String {
    let article = if word.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {word}")
}
