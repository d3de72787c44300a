//! `remote`: servers known by name.

use clap::Subcommand;
use serde::Serialize;

use crate::app::App;
use crate::error::CliError;
use crate::remote::{REMOTES, Remote as Known};
use crate::render::{Format, Table, render_list, yes_no};

/// Servers known by name
#[derive(Debug, Subcommand)]
pub(crate) enum Remote {
    /// List remotes
    #[command(visible_alias = "ls")]
    List {
        /// Format
        #[arg(short, long, value_enum, default_value_t)]
        format: Format,
    },
    /// Print the name of the default remote
    GetDefault,
    /// Add a remote (not supported yet)
    Add {
        #[arg(hide = true, num_args = 0.., allow_hyphen_values = true)]
        rest: Vec<String>,
    },
    /// Remove a remote (not supported yet)
    #[command(visible_alias = "rm", alias = "delete")]
    Remove {
        #[arg(hide = true, num_args = 0.., allow_hyphen_values = true)]
        rest: Vec<String>,
    },
    /// Rename a remote (not supported yet)
    #[command(visible_alias = "mv")]
    Rename {
        #[arg(hide = true, num_args = 0.., allow_hyphen_values = true)]
        rest: Vec<String>,
    },
    /// Change the URL of a remote (not supported yet)
    SetUrl {
        #[arg(hide = true, num_args = 0.., allow_hyphen_values = true)]
        rest: Vec<String>,
    },
    /// Make another remote the default (not supported yet)
    #[command(visible_alias = "set-default")]
    Switch {
        #[arg(hide = true, num_args = 0.., allow_hyphen_values = true)]
        rest: Vec<String>,
    },
}

/// A remote as other programs read it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    addr: String,
    auth_type: String,
    project: String,
    protocol: String,
    public: bool,
    global: bool,
    r#static: bool,
}

impl Remote {
    pub(crate) fn run(self, app: &App) -> Result<(), CliError> {
        match self {
            Remote::List { format } => app.print(&list(format, app.colour())),
            Remote::GetDefault => app.print("local\n"),
            Remote::Add { .. } => Err(CliError::Unsupported { what: "remote add" }),
            Remote::Remove { .. } => Err(CliError::Unsupported { what: "remote remove" }),
            Remote::Rename { .. } => Err(CliError::Unsupported { what: "remote rename" }),
            Remote::SetUrl { .. } => Err(CliError::Unsupported { what: "remote set-url" }),
            Remote::Switch { .. } => Err(CliError::Unsupported { what: "remote switch" }),
        }
    }
}

fn entry(remote: Known) -> Entry {
    let (addr, protocol, auth_type, public) = match remote {
        Known::Local => ("unix://", "lxd", "file access", false),
        Known::Images { url } => (url, "simplestreams", "none", true),
    };
    let text = str::to_owned;
    Entry {
        addr: text(addr),
        auth_type: text(auth_type),
        project: String::new(),
        protocol: text(protocol),
        public,
        global: false,
        // The community's image server may be changed by the user, as in LXD; the others may not.
        r#static: addr != "https://images.linuxcontainers.org",
    }
}

fn list(format: Format, colour: bool) -> String {
    let entries: std::collections::BTreeMap<_, _> = REMOTES.iter().map(|(name, remote)| (*name, entry(*remote))).collect();
    match format {
        Format::Json => return crate::render::json_line(&entries),
        Format::Yaml => return crate::render::yaml(&entries),
        Format::Table | Format::Csv | Format::Compact => {}
    }
    render_list::<()>(format, &[], colour, || {
        let mut table = Table::new(["NAME", "URL", "PROTOCOL", "AUTH TYPE", "PUBLIC", "STATIC", "GLOBAL"]);
        for (name, entry) in &entries {
            let name = if *name == "local" { "local (current)" } else { name };
            let (public, fixed, global) = (yes_no(entry.public), yes_no(entry.r#static), yes_no(entry.global));
            table.row([name, &entry.addr, &entry.protocol, &entry.auth_type, public, fixed, global]);
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
        .assert_eq(&list(Format::Table, false));
    }
}
