//! A plan as text.

use std::fmt::Write as _;

use coffer_build::Plan;

/// Writes what would be done, a step a line.
pub(super) fn text(plan: &Plan) -> String {
    let recipe = &plan.recipe;
    let count = plan.count();
    let mut out = format!("{}: {count} steps\n", recipe.name);
    let mut number = 0;
    for (stage, planned) in recipe.stages.iter().zip(&plan.stages) {
        number += 1;
        let digest = planned.base.as_ref().map_or("", |digest| digest.short());
        let _ = writeln!(out, "{}", format!("[{number}/{count}] {digest:12}  from {}", stage.base.title(&recipe.stages)).trim_end());
        for (step, planned) in stage.steps.iter().zip(&planned.steps) {
            number += 1;
            let _ = writeln!(out, "[{number}/{count}] {}  {}", planned.digest.short(), step.title);
        }
    }
    let output = &recipe.output;
    let aliases = if output.aliases.is_empty() { String::new() } else { format!(", alias {}", output.aliases.join(", ")) };
    let _ = writeln!(out, "image: {}{aliases}", output.shape.as_str());
    out
}
