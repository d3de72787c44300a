//! YAML into structs, with limits, and errors that name the line.

use serde::de::DeserializeOwned;

use super::RecipeError;

/// The largest recipe that is read, in bytes.
const LARGEST: usize = 1 << 20;

/// Reads a document. Unknown keys are the structs' to refuse.
pub(super) fn read<T: DeserializeOwned>(text: &str) -> Result<T, RecipeError> {
    if text.len() > LARGEST {
        return Err(RecipeError::whole(format!("the recipe has {} bytes; at most {LARGEST} are read", text.len())));
    }
    let budget = serde_saphyr::budget! {
        max_reader_input_bytes: Some(LARGEST),
        max_depth: 64,
        max_nodes: 100_000,
        max_events: 400_000,
        max_aliases: 100,
        max_anchors: 100,
        max_total_scalar_bytes: LARGEST,
        max_documents: 1,
    };
    let options = serde_saphyr::options! { budget: budget, duplicate_keys: serde_saphyr::DuplicateKeyPolicy::Error };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let line = error.location().map_or(0, |location| usize::try_from(location.line()).unwrap_or(0));
        let rendered = error.without_snippet().to_string();
        let reason = rendered.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it can't be read").to_owned();
        // The line stands before the reason already.
        let reason = reason.split(" at line ").next().unwrap_or_default().to_owned();
        if line == 0 { RecipeError::whole(reason) } else { RecipeError::at(line, reason) }
    })
}
