//! `remote`: servers known by name.

mod add;

use std::collections::BTreeMap;

use clap::Subcommand;
use coffer_web::Url;
use serde::Serialize;

use crate::app::App;
use crate::error::CliError;
use crate::remotes::{Known, Remote as Server, Remotes, check_scheme, without_secret};
use crate::render::{Format, Table, render_list, yes_no};

/// Servers known by name
#[derive(Debug, Subcommand)]
pub(crate) enum Remote {
    Add(add::Add),
    /// List remotes
    #[command(visible_alias = "ls")]
    List {
        /// Format
        #[arg(short, long, value_enum, default_value_t)]
        format: Format,
    },
    /// Print the name of the default remote
    GetDefault,
    /// Remove a remote
    #[command(visible_alias = "rm", alias = "delete")]
    Remove {
        /// Remote
        remote: String,
    },
    /// Rename a remote
    #[command(visible_alias = "mv")]
    Rename {
        /// Remote
        remote: String,
        /// New name
        new_name: String,
    },
    /// Change the URL of a remote
    SetUrl {
        /// Remote
        remote: String,
        /// New URL
        url: String,
    },
    /// Make another remote the default
    #[command(visible_alias = "set-default")]
    Switch {
        /// Remote
        remote: String,
    },
}

/// A remote as other programs read it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<'a> {
    addr: String,
    auth_type: &'a str,
    project: &'a str,
    protocol: &'a str,
    public: bool,
    global: bool,
    r#static: bool,
}

impl Remote {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        let mut remotes = app.remotes().clone();
        let bare = |name: String| name.trim_end_matches(':').to_owned();
        match self {
            Remote::Add(command) => command.run(app).await,
            Remote::List { format } => app.print(&list(&remotes, format, app.colour())),
            Remote::GetDefault => app.print(&format!("{}\n", remotes.default_name())),
            Remote::Remove { remote } => remotes.remove(&bare(remote)),
            Remote::Rename { remote, new_name } => remotes.rename(&bare(remote), &bare(new_name)),
            Remote::SetUrl { remote, url } => set_url(&mut remotes, &bare(remote), &url),
            Remote::Switch { remote } => remotes.switch(&bare(remote)),
        }
    }
}

fn set_url(remotes: &mut Remotes, name: &str, url: &str) -> Result<(), CliError> {
    let changed = Server { addr: url.trim_end_matches('/').to_owned(), ..remotes.own(name)?.clone() };
    if !url.starts_with("unix:") {
        check_scheme(&without_secret(url).0.parse::<Url>()?)?;
    }
    remotes.set(name, changed)
}

fn entry(remote: &Server) -> Entry<'_> {
    Entry {
        addr: without_secret(&remote.addr).0,
        auth_type: remote.auth_type(),
        project: &remote.project,
        protocol: remote.protocol.as_str(),
        public: remote.public,
        global: remote.known == Known::Host,
        r#static: remote.known == Known::Always,
    }
}

fn list(remotes: &Remotes, format: Format, colour: bool) -> String {
    let entries: BTreeMap<_, _> = remotes.all().iter().map(|(name, remote)| (name.as_str(), entry(remote))).collect();
    match format {
        Format::Json => return crate::render::json_line(&entries),
        Format::Yaml => return crate::render::yaml(&entries),
        Format::Table | Format::Csv | Format::Compact => {}
    }
    render_list::<()>(format, &[], colour, || {
        let mut table = Table::new(["NAME", "URL", "PROTOCOL", "AUTH TYPE", "PUBLIC", "STATIC", "GLOBAL"]);
        for (name, entry) in &entries {
            let name = if *name == remotes.default_name() { format!("{name} (current)") } else { (*name).to_owned() };
            let (public, fixed, global) = (yes_no(entry.public), yes_no(entry.r#static), yes_no(entry.global));
            table.row([name.as_str(), &entry.addr, entry.protocol, entry.auth_type, public, fixed, global]);
        }
        table.sorted()
    })
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn the_remotes() {
        expect![[r"
            +-----------------+------------------------------------------+---------------+-------------+--------+--------+--------+
            |      NAME       |                   URL                    |   PROTOCOL    |  AUTH TYPE  | PUBLIC | STATIC | GLOBAL |
            +-----------------+------------------------------------------+---------------+-------------+--------+--------+--------+
            | images          | https://images.linuxcontainers.org       | simplestreams | none        | YES    | NO     | NO     |
            +-----------------+------------------------------------------+---------------+-------------+--------+--------+--------+
            | local (current) | unix://                                  | lxd           | file access | NO     | YES    | NO     |
            +-----------------+------------------------------------------+---------------+-------------+--------+--------+--------+
            | ubuntu          | https://cloud-images.ubuntu.com/releases | simplestreams | none        | YES    | YES    | NO     |
            +-----------------+------------------------------------------+---------------+-------------+--------+--------+--------+
            | ubuntu-daily    | https://cloud-images.ubuntu.com/daily    | simplestreams | none        | YES    | YES    | NO     |
            +-----------------+------------------------------------------+---------------+-------------+--------+--------+--------+
        "]]
        .assert_eq(&list(&Remotes::fresh(), Format::Table, false));
    }
}
