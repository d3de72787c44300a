//! `config trust`: who may use a server over the network.

use std::path::PathBuf;

use clap::Subcommand;
use coffer_api::{Certificate, CertificateAddToken, CertificatePut, CertificatesPost};
use coffer_web::Certificate as Read;
use serde::Serialize;

use crate::app::App;
use crate::editor;
use crate::error::CliError;
use crate::prompt::ask;
use crate::render::{Format, Table, long_time, render_list, yaml};
use crate::target::Target;
use crate::trust_token;

/// Certificates of trusted clients
///
/// Without a certificate, 'add' makes a token that a new client shows once: 'remote add NAME TOKEN'.
#[derive(Debug, Subcommand)]
pub(crate) enum Trust {
    /// Trust a certificate, or make a token for a new client
    Add {
        /// Remote followed by a colon, and a file with a certificate
        #[arg(value_name = "[REMOTE:] [CERTIFICATE]", num_args = 0..=2)]
        arguments: Vec<String>,
        /// Name of the client
        #[arg(long, default_value = "", hide_default_value = true)]
        name: String,
        /// Restrict to projects (not supported yet)
        #[arg(long)]
        restricted: bool,
        /// Projects to restrict to (not supported yet)
        #[arg(long, value_name = "PROJECTS", default_value = "", hide_default_value = true)]
        projects: String,
        /// Type of certificate: client, or metrics to read those and nothing else
        #[arg(long = "type", value_name = "TYPE", default_value = "client")]
        kind: String,
    },
    /// Edit a certificate's properties; YAML on standard input is taken as it is
    Edit {
        /// Fingerprint
        #[arg(value_name = "[REMOTE:]FINGERPRINT")]
        fingerprint: Target,
    },
    /// List trusted certificates
    #[command(visible_alias = "ls")]
    List {
        /// Remote followed by a colon
        #[arg(value_name = "[REMOTE:]", default_value = "", hide_default_value = true)]
        remote: Target,
        /// Format
        #[arg(short, long, value_enum, default_value_t)]
        format: Format,
    },
    /// List tokens that were not used yet
    ListTokens {
        /// Remote followed by a colon
        #[arg(value_name = "[REMOTE:]", default_value = "", hide_default_value = true)]
        remote: Target,
        /// Format
        #[arg(short, long, value_enum, default_value_t)]
        format: Format,
    },
    /// Trust a certificate no more
    #[command(visible_alias = "rm", alias = "delete")]
    Remove {
        /// Fingerprint
        #[arg(value_name = "[REMOTE:]FINGERPRINT")]
        fingerprint: Target,
    },
    /// Make the token of a client void
    RevokeToken {
        /// Name of the client
        #[arg(value_name = "[REMOTE:]NAME")]
        name: Target,
    },
    /// Show a certificate's properties
    Show {
        /// Fingerprint
        #[arg(value_name = "[REMOTE:]FINGERPRINT")]
        fingerprint: Target,
    },
}

/// A token as other programs read it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct TokenEntry {
    client_name: String,
    token: String,
    expires_at: String,
}

impl Trust {
    pub(super) async fn run(self, app: &App) -> Result<(), CliError> {
        match self {
            Trust::Add { restricted: true, .. } => Err(CliError::Unsupported { what: "a restricted certificate" }),
            Trust::Add { projects, .. } if !projects.is_empty() => Err(CliError::Unsupported { what: "a restricted certificate" }),
            Trust::Add { arguments, name, kind, .. } => add(app, &arguments, name, &kind).await,
            Trust::Edit { fingerprint } => edit(app, &fingerprint).await,
            Trust::List { remote, format } => {
                let all = app.client(&remote)?.certificates().await?;
                app.print(&render_list(format, &all, app.colour(), || table(&all)))
            }
            Trust::ListTokens { remote, format } => {
                let entries: Vec<TokenEntry> = tokens(app, &remote).await?.into_iter().map(|(_, token)| entry(&token)).collect();
                app.print(&render_list(format, &entries, app.colour(), || {
                    let mut table = Table::new(["NAME", "TOKEN", "EXPIRES AT"]);
                    for entry in &entries {
                        table.row([&entry.client_name, &entry.token, &entry.expires_at]);
                    }
                    table.sorted()
                }))
            }
            Trust::Remove { fingerprint } => {
                Ok(app.client(&fingerprint)?.delete_certificate(fingerprint.required("the fingerprint")?).await?)
            }
            Trust::RevokeToken { name } => {
                let wanted = name.required("the client's name")?;
                let found = tokens(app, &name).await?.into_iter().find(|(_, token)| token.client_name == wanted);
                let missing = || CliError::NoSuch { object: "the server".into(), what: "token for", name: wanted.to_owned() };
                let (operation, _) = found.ok_or_else(missing)?;
                Ok(app.client(&name)?.delete_operation(&operation).await?)
            }
            Trust::Show { fingerprint } => {
                let read = app.client(&fingerprint)?.certificate(fingerprint.required("the fingerprint")?).await?;
                app.print(&yaml(&read.value))
            }
        }
    }
}

async fn add(app: &App, arguments: &[String], name: String, kind: &str) -> Result<(), CliError> {
    let (remote, file) = match arguments {
        [] => (Target::default(), None),
        [only] if only.ends_with(':') => (Target { remote: only.trim_end_matches(':').to_owned(), name: String::new() }, None),
        [only] => (Target::default(), Some(only)),
        [remote, file, ..] => (Target { remote: remote.trim_end_matches(':').to_owned(), name: String::new() }, Some(file)),
    };
    let client = app.client(&remote)?;
    if let Some(file) = file {
        let file = PathBuf::from(file);
        let text = std::fs::read_to_string(&file).map_err(|cause| CliError::File { file: file.clone(), cause })?;
        let certificate = Read::from_text(&text).map_err(|cause| CliError::Certificate { file: file.clone(), cause })?;
        let called = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let name = if name.is_empty() { called } else { name };
        let request = CertificatesPost { name, kind: kind.to_owned(), certificate: certificate.to_base64(), ..Default::default() };
        return Ok(client.add_certificate(&request).await?);
    }
    let name = if name.is_empty() { ask("Please provide client name", "")? } else { name };
    let operation = client.create_token(&name, kind).await?;
    let token = trust_token::of_operation(&operation).ok_or(CliError::Missing { what: "the token in the server's answer" })?;
    app.note(&format!("Client {name} certificate add token:"))?;
    app.print(&format!("{}\n", trust_token::write(&token)))
}

async fn edit(app: &App, target: &Target) -> Result<(), CliError> {
    let client = app.client(target)?;
    let read = client.certificate(target.required("the fingerprint")?).await?;
    let fingerprint = read.value.fingerprint.clone();
    let Certificate { name, kind, restricted, projects, certificate, .. } = read.value;
    let put = CertificatePut { name, kind, restricted, projects, certificate };
    let help = "A trusted certificate, as YAML.\n\nOnly its name can be changed.";
    editor::edit(app, &put, help, async |put: CertificatePut| Ok(client.update_certificate(&fingerprint, &put, &read.etag).await?)).await
}

/// The tokens that wait for their client, with their operations.
async fn tokens(app: &App, remote: &Target) -> Result<Vec<(String, CertificateAddToken)>, CliError> {
    let operations = app.client(remote)?.operations().await?;
    let waiting = operations.into_values().flatten().filter(|operation| operation.status == "Running");
    Ok(waiting.filter_map(|operation| Some((operation.id.clone(), trust_token::of_operation(&operation)?))).collect())
}

fn entry(token: &CertificateAddToken) -> TokenEntry {
    let expires_at = if token.expires_at.is_set() { long_time(token.expires_at) } else { String::new() };
    TokenEntry { client_name: token.client_name.clone(), token: trust_token::write(token), expires_at }
}

fn table(all: &[Certificate]) -> Table {
    let mut table = Table::new(["TYPE", "NAME", "COMMON NAME", "FINGERPRINT", "ISSUE DATE", "EXPIRY DATE"]);
    for certificate in all {
        let read = Read::from_text(&certificate.certificate).ok();
        let when = |seconds: fn(&Read) -> i64| {
            read.as_ref().map_or_else(String::new, |read| long_time(coffer_api::Timestamp::from_unix_seconds(seconds(read))))
        };
        table.row([
            certificate.kind.as_str(),
            &certificate.name,
            read.as_ref().map_or("", Read::common_name),
            &certificate.fingerprint.chars().take(12).collect::<String>(),
            &when(Read::not_before),
            &when(Read::not_after),
        ]);
    }
    table.sorted()
}
