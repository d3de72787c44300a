//! The commands, one file each.

mod admin;
mod alias;
mod cluster;
mod completion;
mod config;
mod console;
mod copy;
mod create;
mod delete;
mod destination;
mod devices;
mod exec;
mod export;
mod file;
mod image;
mod import;
mod info;
mod info_resources;
mod list;
mod list_columns;
mod list_filter;
mod manual;
mod monitor;
mod move_;
mod network;
mod network_attach;
mod operation;
mod operation_log;
mod profile;
mod project;
mod publish;
mod query;
mod rebuild;
mod remote;
mod restore;
mod share;
mod simplestreams;
mod snapshot;
mod state;
mod storage;
mod storage_volume;
mod storage_volume_backup;
mod storage_volume_copy;
mod storage_volume_list;
mod storage_volume_snapshot;
mod top;
mod version;
mod wait;
mod warning;

use clap::{ArgMatches, Args, FromArgMatches, Subcommand};

use crate::app::App;
use crate::error::CliError;

/// Declares the commands twice over: as one enum for help, completion and manual, and word by word, so that running one
/// command does not build the grammar of all (half of the time a short command takes).
macro_rules! commands {
    ($( $shape:ident $variant:ident($kind:ty) = $word:literal $([$($alias:literal),*])? ; )*) => {
        /// The words that may follow the program's name.
        #[derive(Debug)]
        pub(crate) enum Command {
            $( $variant($kind), )*
        }

        /// Every command: its word and other names, and its grammar.
        const WORDS: &[(&str, &[&str], fn(clap::Command) -> clap::Command)] = &[
            $( ($word, &[$($($alias),*)?], commands!(@grammar $shape $kind)), )*
        ];

        impl FromArgMatches for Command {
            fn from_arg_matches(matches: &ArgMatches) -> Result<Command, clap::Error> {
                match matches.subcommand() {
                    $( Some(($word, matches)) => <$kind>::from_arg_matches(matches).map(Command::$variant), )*
                    _ => Err(clap::Error::new(clap::error::ErrorKind::MissingSubcommand)),
                }
            }

            fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
                *self = Self::from_arg_matches(matches)?;
                Ok(())
            }
        }
    };
    (@grammar args $kind:ty) => { <$kind as Args>::augment_args };
    (@grammar words $kind:ty) => { grouped::<$kind> };
}

commands! {
    args Launch(create::Launch) = "launch";
    args Init(create::Init) = "init" ["create"];
    args List(list::List) = "list" ["ls"];
    args Info(info::Info) = "info";
    args Top(top::Top) = "top";
    args Start(state::Start) = "start";
    args Stop(state::Stop) = "stop";
    args Restart(state::Restart) = "restart";
    args Pause(state::Pause) = "pause" ["freeze"];
    args Resume(state::Resume) = "resume" ["unfreeze"];
    args Wait(wait::Wait) = "wait";
    args Exec(exec::Exec) = "exec";
    args Shell(exec::Shell) = "shell";
    args Console(console::Console) = "console";
    args Delete(delete::Delete) = "delete" ["rm", "remove"];
    words Config(config::Config) = "config";
    words Profile(profile::Profile) = "profile";
    words Image(image::Image) = "image";
    words Network(network::Network) = "network";
    words Storage(storage::Storage) = "storage";
    words File(file::File) = "file";
    args Share(share::Share) = "share";
    args Unshare(share::Unshare) = "unshare";
    args Snapshot(snapshot::Snapshot) = "snapshot";
    args Restore(restore::Restore) = "restore";
    args Copy(copy::Copy) = "copy" ["cp"];
    args Move(move_::Move) = "move" ["mv"];
    args Rename(move_::Rename) = "rename";
    args Rebuild(rebuild::Rebuild) = "rebuild";
    args Publish(publish::Publish) = "publish";
    args Export(export::Export) = "export";
    args Import(import::Import) = "import";
    words Operation(operation::Operation) = "operation";
    args Monitor(monitor::Monitor) = "monitor";
    args Query(query::Query) = "query";
    words Project(project::Project) = "project";
    words Remote(remote::Remote) = "remote";
    words Simplestreams(simplestreams::Simplestreams) = "simplestreams";
    words Warning(warning::Warning) = "warning";
    args Cluster(cluster::Cluster) = "cluster";
    words Alias(alias::Alias) = "alias";
    words Admin(admin::Admin) = "admin";
    args Version(version::Version) = "version";
    args Completion(completion::Completion) = "completion";
    args Complete(completion::Complete) = "__complete";
    args Manual(manual::Manual) = "manual" ["manpage"];
}

/// Gives a command that has commands of its own their grammar.
fn grouped<T: Subcommand>(command: clap::Command) -> clap::Command {
    T::augment_subcommands(command.subcommand_required(true).arg_required_else_help(true))
}

impl Subcommand for Command {
    fn augment_subcommands(parent: clap::Command) -> clap::Command {
        WORDS.iter().fold(parent, |parent, (word, aliases, grammar)| parent.subcommand(named(word, aliases, *grammar)))
    }

    fn augment_subcommands_for_update(parent: clap::Command) -> clap::Command {
        Self::augment_subcommands(parent)
    }

    fn has_subcommand(name: &str) -> bool {
        WORDS.iter().any(|(word, ..)| *word == name)
    }
}

fn named(word: &'static str, aliases: &'static [&'static str], grammar: fn(clap::Command) -> clap::Command) -> clap::Command {
    grammar(clap::Command::new(word)).visible_aliases(aliases)
}

/// Adds the grammar of one command, if `name` is one.
pub(crate) fn augment_one(parent: clap::Command, name: &str) -> Option<clap::Command> {
    let (word, aliases, grammar) = WORDS.iter().find(|(word, aliases, _)| *word == name || aliases.contains(&name))?;
    Some(parent.subcommand(named(word, aliases, *grammar)))
}

/// Runs a command and returns the exit code.
pub(crate) async fn run(command: Command, app: &App) -> Result<i32, CliError> {
    match command {
        Command::Exec(command) => return command.run(app).await,
        Command::Shell(command) => return command.run(app).await,
        Command::Wait(command) => return command.run(app).await,
        Command::Launch(command) => return command.run(app).await,
        Command::Init(command) => command.run(app).await,
        Command::List(command) => command.run(app).await,
        Command::Info(command) => command.run(app).await,
        Command::Top(command) => command.run(app).await,
        Command::Cluster(command) => command.run(),
        Command::Start(command) => return command.run(app).await,
        Command::Stop(command) => command.run(app).await,
        Command::Restart(command) => command.run(app).await,
        Command::Pause(command) => command.run(app).await,
        Command::Resume(command) => command.run(app).await,
        Command::Console(command) => command.run(app).await,
        Command::Delete(command) => command.run(app).await,
        Command::Config(command) => command.run(app).await,
        Command::Profile(command) => command.run(app).await,
        Command::Image(command) => command.run(app).await,
        Command::Network(command) => command.run(app).await,
        Command::Storage(command) => command.run(app).await,
        Command::File(command) => command.run(app).await,
        Command::Share(command) => command.run(app).await,
        Command::Unshare(command) => command.run(app).await,
        Command::Snapshot(command) => command.run(app).await,
        Command::Restore(command) => command.run(app).await,
        Command::Copy(command) => command.run(app).await,
        Command::Move(command) => command.run(app).await,
        Command::Rename(command) => command.run(app).await,
        Command::Rebuild(command) => command.run(app).await,
        Command::Publish(command) => command.run(app).await,
        Command::Export(command) => command.run(app).await,
        Command::Import(command) => command.run(app).await,
        Command::Operation(command) => command.run(app).await,
        Command::Monitor(command) => command.run(app).await,
        Command::Query(command) => command.run(app).await,
        Command::Project(command) => command.run(app).await,
        Command::Remote(command) => command.run(app).await,
        Command::Simplestreams(command) => command.run(app),
        Command::Warning(command) => command.run(app).await,
        Command::Admin(command) => command.run(app).await,
        Command::Version(command) => command.run(app).await,
        Command::Alias(command) => command.run(app).await,
        Command::Completion(command) => command.run(app),
        Command::Complete(command) => command.run(app).await,
        Command::Manual(command) => command.run(app),
    }?;
    Ok(0)
}
