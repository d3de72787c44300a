//! `admin fsck`: whether store, disk and kernel say the same.

use clap::Args;

use crate::app::App;
use crate::error::CliError;
use crate::render::{Format, Table, render_list};

/// Compare the server's records with what is on disk and in the kernel
///
/// Says "clean" if all is well; else lists what is amiss and ends with an error. A repair never removes what a user may have
/// written: lost volumes are for "admin recover", and files that nobody knows are set aside in a directory "lost".
#[derive(Debug, Args)]
pub(crate) struct Fsck {
    /// Mend what can be mended
    #[arg(long)]
    repair: bool,
    /// Format
    #[arg(short, long, value_enum, default_value_t)]
    format: Format,
}

impl Fsck {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        let findings = app.local().fsck(self.repair).await?;
        if findings.is_empty() && matches!(self.format, Format::Table | Format::Compact) {
            return app.print("clean\n");
        }
        let table = || {
            let mut table = Table::new(["KIND", "THING", "PROBLEM", "REPAIR", "REPAIRED"]);
            for finding in &findings {
                let repair = if finding.repair.is_empty() { format!("none; {}", finding.advice) } else { finding.repair.clone() };
                let repaired = if finding.repaired { "yes" } else { "no" };
                table.row([finding.kind.as_str(), &finding.thing, &finding.problem, &repair, repaired]);
            }
            table
        };
        app.print(&render_list(self.format, &findings, app.colour(), table))?;
        let left = findings.iter().filter(|finding| !finding.repaired).count();
        if left == 0 { Ok(()) } else { Err(CliError::NotClean { count: left }) }
    }
}
