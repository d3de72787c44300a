//! `image build`.

mod bases;
mod output;
mod plan;
mod progress;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use coffer_build::read::Reading;
use coffer_build::recipe::Shape;
use coffer_build::{BuildError, Builder, Built, Context, Dialect, Options, Owner, Plan};
use coffer_client::Client;

use super::import::replace_alias;
use crate::app::App;
use crate::error::CliError;
use crate::key_value::pair;
use crate::target::Target;

/// Largest recipe that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// Build an image from a recipe
///
/// A recipe is a YAML file of this program, one of distrobuilder or a Dockerfile. Its steps run in an unprivileged instance, and the
/// result of each is kept: the next build begins at the first step that changed. The same recipe and files give the same fingerprint.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  coffer image build web.yaml --alias web\n  coffer image build Dockerfile --build-arg release=3.20 --format squashfs --output dist\n  coffer image build debian.yaml server: --no-cache\n  coffer image build debian.yaml --dry-run\n  coffer image build --prune"
)]
pub(crate) struct Build {
    /// Recipe; with --prune none
    #[arg(value_name = "FILE", required_unless_present = "prune")]
    file: Option<PathBuf>,
    /// Remote to build on, followed by a colon
    #[arg(value_name = "REMOTE:")]
    remote: Option<Target>,
    /// Directory whose files may be copied; the recipe's own if it is missing
    #[arg(long, value_name = "DIRECTORY")]
    context: Option<PathBuf>,
    /// Alias for the image, taken from whichever image has it; may be given several times
    #[arg(long)]
    alias: Vec<String>,
    /// Files of the image: unified, split or squashfs
    #[arg(long, value_name = "FORMAT", value_parser = shape)]
    format: Option<Shape>,
    /// Compressor: zstd, xz, gzip, none ...
    #[arg(long, default_value = "", hide_default_value = true)]
    compression: String,
    /// Also write the image's files into this directory
    #[arg(long, value_name = "DIRECTORY")]
    output: Option<PathBuf>,
    /// Value of an ARG of a Dockerfile; may be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    build_arg: Vec<String>,
    /// Do every step again
    #[arg(long)]
    no_cache: bool,
    /// Fetch the base's packages again
    #[arg(long)]
    pull: bool,
    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
    /// Remove what earlier builds kept, and what killed ones left
    #[arg(long, conflicts_with_all = ["file", "dry_run"])]
    prune: bool,
    /// Profile of the instances that steps run in; may be given several times
    #[arg(short, long)]
    profile: Vec<String>,
    /// Storage pool of these instances
    #[arg(short, long, value_name = "POOL", default_value = "", hide_default_value = true)]
    storage: String,
    /// Configuration key of these instances, key=value
    #[arg(short, long, value_name = "KEY=VALUE")]
    config: Vec<String>,
    /// Let untrusted clients read the image
    #[arg(long)]
    public: bool,
}

fn shape(word: &str) -> Result<Shape, String> {
    let known: Vec<&str> = Shape::WORDS.iter().map(|(word, _)| *word).collect();
    Shape::named(word).ok_or_else(|| format!("these are: {}", known.join(", ")))
}

impl Build {
    pub(super) async fn run(self, app: &App) -> Result<(), CliError> {
        let mut target = self.remote.clone().unwrap_or_default();
        let mut file = self.file.clone();
        // With --prune alone the remote stands where the recipe would.
        if self.prune
            && let Some(named) = file.take()
        {
            let Ok(parsed) = named.display().to_string().parse::<Target>();
            target = parsed;
        }
        let Some(file) = file else {
            let pruned = coffer_build::prune(app.client(&target)?).await?;
            return app.note(&format!("Removed {} instances with results and {} leftovers", pruned.results, pruned.leftovers));
        };
        let (plan, context) = self.plan(&file)?;
        if self.dry_run {
            return app.print(&plan::text(&plan));
        }
        let client = app.client(&target)?;
        let options = self.options(app, client, &target, &plan).await?;
        let report = progress::Shown::new(app);
        let builder = Builder {
            client,
            plan: &plan,
            context: &context,
            options: &options,
            report: &report,
            owner: Owner::this(),
            working: std::sync::Mutex::default(),
        };
        let built = tokio::select! {
            built = builder.build() => built,
            _ = tokio::signal::ctrl_c() => {
                builder.stopped().await?;
                Err(BuildError::Stopped)
            }
        };
        report.clear();
        let built = built?;
        self.finish(app, &builder, built).await
    }

    /// Reads the recipe and looks at the files that it copies.
    fn plan(&self, file: &Path) -> Result<(Plan, Context), CliError> {
        let failed = |cause| CliError::File { file: file.to_owned(), cause };
        let mut text = String::new();
        let opened = std::fs::File::open(file).map_err(failed)?;
        std::io::Read::read_to_string(&mut std::io::Read::take(opened, LARGEST), &mut text).map_err(failed)?;
        let beside = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let context = Context::open(self.context.as_deref().unwrap_or(beside)).map_err(BuildError::from)?;
        let arguments = self.build_arg.iter().map(|argument| pair(argument)).collect::<Result<_, _>>()?;
        let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let architecture = coffer_base::Architecture::of_kernel().map(|own| own.to_string()).unwrap_or_default();
        let reading = Reading { name: &stem, context: &context, arguments, architecture: &architecture };
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let shown = || file.display().to_string();
        let recipe = Dialect::of(&name, &text).read(&text, &reading);
        let mut recipe = recipe.map_err(|cause| BuildError::Recipe { file: shown(), cause })?;
        recipe.output.aliases.extend(self.alias.iter().cloned());
        recipe.output.public |= self.public;
        recipe.output.shape = self.format.unwrap_or(recipe.output.shape);
        if !self.compression.is_empty() {
            recipe.output.compression.clone_from(&self.compression);
        }
        if let Ok(epoch) = std::env::var("SOURCE_DATE_EPOCH") {
            let seconds = epoch.parse().ok().filter(|seconds| *seconds > 0);
            recipe.epoch = Some(seconds.ok_or(CliError::NotOfForm { name: epoch, form: "SOURCE_DATE_EPOCH: seconds since 1970" })?);
        }
        let plan = Plan::new(recipe, &context).map_err(|cause| BuildError::Plan { file: shown(), cause })?;
        Ok((plan, context))
    }

    async fn options(&self, app: &App, client: &Client, target: &Target, plan: &Plan) -> Result<Options, CliError> {
        let config: BTreeMap<String, String> = self.config.iter().map(|argument| pair(argument)).collect::<Result<_, _>>()?;
        Ok(Options {
            images: bases::find(app, client, target, plan).await?,
            profiles: (!self.profile.is_empty()).then(|| self.profile.clone()),
            pool: self.storage.clone(),
            config,
            no_cache: self.no_cache,
            pull: self.pull,
            architecture: client.server().await?.value.environment.kernel_architecture,
        })
    }

    async fn finish(&self, app: &App, builder: &Builder<'_>, built: Built) -> Result<(), CliError> {
        let (client, output) = (builder.client, &builder.plan.recipe.output);
        let fingerprint = match output.shape {
            Shape::Squashfs if !built.packed => {
                let fingerprint = output::squashfs(client, &built, output.public).await?;
                builder.keep_packed(&built, &fingerprint).await?;
                fingerprint
            }
            Shape::Squashfs | Shape::Unified | Shape::Split => built.fingerprint.clone(),
        };
        for alias in &output.aliases {
            replace_alias(client, alias.clone(), &fingerprint).await?;
        }
        if let Some(directory) = &self.output {
            std::fs::create_dir_all(directory).map_err(|cause| CliError::File { file: directory.clone(), cause })?;
            for file in super::export::download(client, fingerprint.clone(), directory.clone()).await? {
                app.note(&format!("Wrote {}", file.display()))?;
            }
        }
        let took = built.took.as_secs_f64();
        app.note(&format!("Image built with fingerprint: {fingerprint} ({} steps cached, {} done, {took:.1}s)", built.cached, built.ran))
    }
}
