//! The commands, one file each.

mod admin;
mod completion;
mod config;
mod console;
mod copy;
mod create;
mod delete;
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
mod profile;
mod project;
mod publish;
mod query;
mod remote;
mod restore;
mod snapshot;
mod state;
mod storage;
mod storage_volume;
mod version;
mod warning;

use clap::Subcommand;

use crate::app::App;
use crate::error::CliError;

/// The words that may follow the program's name.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Launch(create::Launch),
    #[command(visible_alias = "create")]
    Init(create::Init),
    #[command(visible_alias = "ls")]
    List(list::List),
    Info(info::Info),
    Start(state::Start),
    Stop(state::Stop),
    Restart(state::Restart),
    #[command(visible_alias = "freeze")]
    Pause(state::Pause),
    #[command(visible_alias = "unfreeze")]
    Resume(state::Resume),
    Exec(exec::Exec),
    Shell(exec::Shell),
    Console(console::Console),
    #[command(visible_alias = "rm", alias = "remove")]
    Delete(delete::Delete),
    #[command(subcommand)]
    Config(config::Config),
    #[command(subcommand)]
    Profile(profile::Profile),
    #[command(subcommand)]
    Image(image::Image),
    #[command(subcommand)]
    Network(network::Network),
    #[command(subcommand)]
    Storage(storage::Storage),
    #[command(subcommand)]
    File(file::File),
    Snapshot(snapshot::Snapshot),
    Restore(restore::Restore),
    #[command(visible_alias = "cp")]
    Copy(copy::Copy),
    #[command(visible_alias = "mv")]
    Move(move_::Move),
    Rename(move_::Rename),
    Publish(publish::Publish),
    Export(export::Export),
    Import(import::Import),
    #[command(subcommand)]
    Operation(operation::Operation),
    Monitor(monitor::Monitor),
    Query(query::Query),
    #[command(subcommand)]
    Project(project::Project),
    #[command(subcommand)]
    Remote(remote::Remote),
    #[command(subcommand)]
    Warning(warning::Warning),
    #[command(subcommand)]
    Admin(admin::Admin),
    Version(version::Version),
    Completion(completion::Completion),
    Manual(manual::Manual),
}

/// Runs a command and returns the exit code.
pub(crate) async fn run(command: Command, app: &App) -> Result<i32, CliError> {
    match command {
        Command::Exec(command) => return command.run(app).await,
        Command::Shell(command) => return command.run(app).await,
        Command::Launch(command) => command.run(app).await,
        Command::Init(command) => command.run(app).await,
        Command::List(command) => command.run(app).await,
        Command::Info(command) => command.run(app).await,
        Command::Start(command) => command.run(app).await,
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
        Command::Snapshot(command) => command.run(app).await,
        Command::Restore(command) => command.run(app).await,
        Command::Copy(command) => command.run(app).await,
        Command::Move(command) => command.run(app).await,
        Command::Rename(command) => command.run(app).await,
        Command::Publish(command) => command.run(app).await,
        Command::Export(command) => command.run(app).await,
        Command::Import(command) => command.run(app).await,
        Command::Operation(command) => command.run(app).await,
        Command::Monitor(command) => command.run(app).await,
        Command::Query(command) => command.run(app).await,
        Command::Project(command) => command.run(app).await,
        Command::Remote(command) => command.run(app),
        Command::Warning(command) => command.run(app).await,
        Command::Admin(command) => command.run(app).await,
        Command::Version(command) => command.run(app).await,
        Command::Completion(command) => command.run(app),
        Command::Manual(command) => command.run(app),
    }?;
    Ok(0)
}
