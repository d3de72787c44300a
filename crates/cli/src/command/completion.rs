//! `completion`, and what the scripts ask.

use clap::{Args, CommandFactory, ValueEnum};

use crate::app::App;
use crate::complete;
use crate::error::CliError;
use crate::grammar::Cli;

/// Print the completion script of a shell
///
/// The script asks this command for what may stand next: words, options, and the names of what there is on the server.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  source <(coffer completion bash)
  coffer completion zsh > \"${fpath[1]}/_coffer\"
  coffer completion fish > ~/.config/fish/completions/coffer.fish")]
pub(crate) struct Completion {
    /// Shell
    shell: Shell,
    /// Name of the command to complete
    #[arg(long, default_value = "coffer")]
    name: String,
}

/// Shells that have a script.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Fish,
    Zsh,
}

/// Print what may stand next on a command line
#[derive(Debug, Args)]
#[command(hide = true)]
pub(crate) struct Complete {
    /// Words of the line after the program's name, the last of which is completed
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

impl Completion {
    pub(crate) fn run(self, app: &App) -> Result<(), CliError> {
        let script = match self.shell {
            Shell::Bash => BASH,
            Shell::Fish => FISH,
            Shell::Zsh => ZSH,
        };
        let function: String = self.name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' }).collect();
        app.print(&script.replace("FUNCTION", &format!("_{function}")).replace("COMMAND", &self.name))
    }
}

impl Complete {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        let mut text = complete::candidates(app, &Cli::command(), &self.words).await.join("\n");
        if !text.is_empty() {
            text.push('\n');
        }
        app.print(&text)
    }
}

/// Bash takes a colon for the end of a word, so the words are taken from the line, and what stands before the colon from the answer.
const BASH: &str = r#"FUNCTION() {
    local line="${COMP_LINE:0:COMP_POINT}" current words
    read -r -a words <<<"$line"
    [[ "$line" == *[[:space:]] ]] && words+=("")
    current="${words[${#words[@]}-1]}"
    mapfile -t COMPREPLY < <(COMMAND __complete -- "${words[@]:1}" 2>/dev/null)
    if [[ "$current" == *:* && "$COMP_WORDBREAKS" == *:* ]]; then
        COMPREPLY=("${COMPREPLY[@]#"${current%"${current##*:}"}"}")
    fi
    [[ ${#COMPREPLY[@]} -eq 1 && "${COMPREPLY[0]}" == *: ]] && compopt -o nospace 2>/dev/null
    return 0
}
complete -o default -F FUNCTION COMMAND
"#;

const ZSH: &str = r#"#compdef COMMAND
FUNCTION() {
    local -a found
    found=("${(@f)$(COMMAND __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    found=("${(@)found:#}")
    if (( ${#found} )); then
        compadd -a -- found
    else
        _files
    fi
}
if [ "$funcstack[1]" = "FUNCTION" ]; then
    FUNCTION "$@"
else
    compdef FUNCTION COMMAND
fi
"#;

const FISH: &str = r"function FUNCTION
    set -l words (commandline -opc) (commandline -ct)
    COMMAND __complete -- $words[2..] 2>/dev/null
end
complete -c COMMAND -a '(FUNCTION)'
";
