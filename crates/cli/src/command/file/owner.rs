//! Whose new files inside are.

use clap::Args;

/// Options of commands that make files inside.
#[derive(Debug, Args)]
pub(super) struct Owner {
    /// User id of the files inside
    #[arg(long)]
    pub(super) uid: Option<u32>,
    /// Group id of the files inside
    #[arg(long)]
    pub(super) gid: Option<u32>,
    /// Permissions of the files, octal
    #[arg(long, value_parser = parse_mode)]
    pub(super) mode: Option<u32>,
}

impl Owner {
    /// User and group of directories that are made on the way: root's unless said.
    pub(super) fn of_directories(&self) -> (u32, u32) {
        (self.uid.unwrap_or(0), self.gid.unwrap_or(0))
    }
}

fn parse_mode(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777).ok_or_else(|| "permissions are octal, such as 0644".to_owned())
}
