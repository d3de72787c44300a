//! `project`: projects.

use clap::Subcommand;
use coffer_api::ProjectsPost;

use crate::app::App;
use crate::error::CliError;
use crate::key_value::{pairs, pairs_or_two};
use crate::object::{self, Project as Object};
use crate::render::{Format, Table, binary_size, render_list, yes_no};
use crate::target::Target;

/// Projects: name spaces for instances, images, profiles, volumes and networks
#[derive(Debug, Subcommand)]
pub(crate) enum Project {
    /// Make a project
    #[command(alias = "add")]
    Create {
        /// Project
        #[arg(value_name = "[REMOTE:]PROJECT")]
        name: Target,
        /// Configuration key, key=value
        #[arg(short, long, value_name = "KEY=VALUE")]
        config: Vec<String>,
    },
    /// Delete a project
    #[command(visible_alias = "rm", alias = "remove")]
    Delete {
        /// Project
        #[arg(value_name = "[REMOTE:]PROJECT")]
        name: Target,
    },
    /// Edit a project; YAML on standard input is taken as it is
    Edit {
        /// Project
        #[arg(value_name = "[REMOTE:]PROJECT")]
        name: Target,
    },
    /// Print one key of a project
    Get {
        /// Project
        #[arg(value_name = "[REMOTE:]PROJECT")]
        name: Target,
        /// Key
        key: String,
    },
    /// Show what a project uses of what it may
    Info {
        /// Project
        #[arg(value_name = "[REMOTE:]PROJECT")]
        name: Target,
        /// Format
        #[arg(short, long, value_enum, default_value_t)]
        format: Format,
    },
    /// List projects
    #[command(visible_alias = "ls")]
    List {
        /// Remote
        #[arg(value_name = "REMOTE:")]
        remote: Option<Target>,
        /// Format
        #[arg(short, long, value_enum, default_value_t)]
        format: Format,
    },
    /// Rename a project
    #[command(visible_alias = "mv")]
    Rename {
        /// Project
        #[arg(value_name = "[REMOTE:]PROJECT")]
        name: Target,
        /// New name
        new_name: String,
    },
    /// Set keys of a project
    Set {
        /// Project
        #[arg(value_name = "[REMOTE:]PROJECT")]
        name: Target,
        /// Keys; the older form is one key and one value
        #[arg(value_name = "KEY=VALUE", required = true)]
        pairs: Vec<String>,
    },
    /// Show a project
    Show {
        /// Project
        #[arg(value_name = "[REMOTE:]PROJECT")]
        name: Target,
    },
    /// Print which project is the current one
    GetCurrent {
        /// Remote
        #[arg(value_name = "REMOTE:")]
        remote: Option<Target>,
    },
    /// Make another project the current one
    Switch {
        /// Project
        #[arg(value_name = "[REMOTE:]PROJECT")]
        name: Target,
    },
    /// Unset a key of a project
    Unset {
        /// Project
        #[arg(value_name = "[REMOTE:]PROJECT")]
        name: Target,
        /// Key
        key: String,
    },
}

impl Project {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        match self {
            Project::Create { name, config } => {
                let request =
                    ProjectsPost { config: pairs(&config)?, name: name.required("the project's name")?.to_owned(), ..Default::default() };
                app.client(&name)?.create_project(&request).await?;
                app.note(&format!("Project {} created", name.name))
            }
            Project::Delete { name } => {
                app.client(&name)?.delete_project(name.required("the project's name")?).await?;
                app.note(&format!("Project {} deleted", name.name))
            }
            Project::Rename { name, new_name } => {
                app.finish(app.client(&name)?.rename_project(name.required("the project's name")?, &new_name).await?, "").await?;
                app.note(&format!("Project {} renamed to {new_name}", name.name))
            }
            Project::Info { name, format } => info(app, &name, format).await,
            Project::List { remote, format } => list(app, &remote.unwrap_or_default(), format).await,
            Project::GetCurrent { remote } => app.print(&format!("{}\n", app.project(&remote.unwrap_or_default())?)),
            Project::Switch { name } => {
                app.client(&name)?.read_project(name.required("the project's name")?).await?;
                app.remotes().clone().set_project(&name.remote, &name.name)
            }
            Project::Edit { name } => object::edit(app, app.client(&name)?, &named(name)?).await,
            Project::Get { name, key } => object::get(app, app.client(&name)?, &named(name)?, &key).await,
            Project::Set { name, pairs } => object::set(app, app.client(&name)?, &named(name)?, pairs_or_two(&pairs)?).await,
            Project::Show { name } => object::show(app, app.client(&name)?, &named(name)?).await,
            Project::Unset { name, key } => object::unset(app, app.client(&name)?, &named(name)?, &key).await,
        }
    }
}

fn named(target: Target) -> Result<Object, CliError> {
    target.required("the project's name")?;
    Ok(Object(target.name))
}

async fn info(app: &App, project: &Target, format: Format) -> Result<(), CliError> {
    let state = app.client(project)?.project_state(project.required("the project's name")?).await?;
    app.print(&render_list(format, std::slice::from_ref(&state), app.colour(), || {
        let mut table = Table::new(["RESOURCE", "LIMIT", "USAGE"]);
        for (name, resource) in &state.resources {
            let amount = |count: i64| if matches!(name.as_str(), "disk" | "memory") { binary_size(count) } else { count.to_string() };
            let limit = if resource.limit < 0 { "UNLIMITED".to_owned() } else { amount(resource.limit) };
            table.row([&name.to_uppercase(), &limit, &amount(resource.usage)]);
        }
        table.sorted()
    }))
}

async fn list(app: &App, target: &Target, format: Format) -> Result<(), CliError> {
    let projects = app.client(target)?.projects().await?;
    let current = app.project(target)?;
    app.print(&render_list(format, &projects, app.colour(), || {
        let mut table = Table::new(["NAME", "IMAGES", "PROFILES", "STORAGE VOLUMES", "NETWORKS", "DESCRIPTION", "USED BY"]);
        for project in &projects {
            let mark = if project.name == current { " (current)" } else { "" };
            let has = |feature: &str| yes_no(project.config.get(feature).is_some_and(|value| value == "true"));
            table.row([
                format!("{}{mark}", project.name).as_str(),
                has("features.images"),
                has("features.profiles"),
                has("features.storage.volumes"),
                has("features.networks"),
                &project.description,
                &project.used_by.len().to_string(),
            ]);
        }
        table.sorted()
    }))
}
