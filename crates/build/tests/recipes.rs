//! The recipes that are ready in the repository are read, and their steps are what they should be.

use std::collections::BTreeMap;
use std::path::Path;

use coffer_build::read::Reading;
use coffer_build::recipe::Base;
use coffer_build::{Context, Dialect, Plan, Recipe};

fn read(name: &str) -> Recipe {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples/recipes").join(name);
    let text = std::fs::read_to_string(&path).expect("a recipe");
    let dir = tempfile::tempdir().expect("a directory");
    let context = Context::open(dir.path()).expect("a context");
    let reading = Reading { name: "recipe", context: &context, arguments: BTreeMap::new(), architecture: "x86_64" };
    let recipe = Dialect::of(name, &text).read(&text, &reading).unwrap_or_else(|error| panic!("{name}: {error}"));
    // What stands beside a recipe is the user's; any archive will do for a plan.
    if let Base::Archive { file, .. } = &recipe.stages[0].base {
        std::fs::write(dir.path().join(file), "an archive").expect("an archive");
    }
    let plan = Plan::new(recipe.clone(), &context).unwrap_or_else(|error| panic!("{name}: {}", coffer_base::chain(&error)));
    assert!(plan.stages[0].base.is_some(), "{name}: its base is known before it is there");
    recipe
}

#[test]
fn debian_is_made_of_packages() {
    for (name, suite, steps) in
        [("debian-12.yaml", "bookworm", 5), ("debian-13.yaml", "trixie", 5), ("debian-12-cloud.yaml", "bookworm", 5)]
    {
        let recipe = read(name);
        let Base::Bootstrap(bootstrap) = &recipe.stages[0].base else { panic!("{name}: {:?}", recipe.stages[0].base) };
        assert_eq!((bootstrap.suite.as_str(), recipe.stages[0].steps.len()), (suite, steps), "{name}");
        assert!(recipe.epoch.is_some(), "{name} says when it was made");
    }
}

#[test]
fn busybox_and_alpine_are_made_of_archives() {
    for (name, steps) in [("busybox.yaml", 2), ("alpine.yaml", 5)] {
        let recipe = read(name);
        assert!(matches!(recipe.stages[0].base, Base::Archive { .. }), "{name}");
        assert_eq!(recipe.stages[0].steps.len(), steps, "{name}");
    }
}
