//! Templates of images: small texts with variables, written into an instance's files.
//!
//! The language is LXD's, Django's syntax as pongo2 has it, as far as images use it: variables, `if`, `for`, a few filters.
//! A template is a stranger's text: it reads no file, remembers nothing, and has a limit of steps and of bytes.

mod dialect;

use std::collections::BTreeMap;

use minijinja::value::Rest;
use minijinja::{Environment, UndefinedBehavior, Value};

use crate::metadata::Trigger;

/// The largest template, in bytes.
pub const MAX_SOURCE: usize = 64 << 10;

/// How many steps a template may take; what it makes is paid for too, a step for each 64 bytes.
const FUEL: u64 = 200_000;

/// What a template may use.
#[derive(Debug, Clone)]
pub struct Context<'a> {
    /// What makes it be written; `trigger`.
    pub trigger: Trigger,
    /// Where the text goes; `path`.
    pub path: &'a str,
    /// Facts of the instance, as text; `instance`.
    pub instance: &'a BTreeMap<&'static str, String>,
    /// The configuration that counts; `config` and `config_get`.
    pub config: &'a BTreeMap<String, String>,
    /// The devices that count; `devices`.
    pub devices: &'a BTreeMap<String, BTreeMap<String, String>>,
    /// The properties of the image; `image`.
    pub image: &'a BTreeMap<String, String>,
    /// The values of the template's rule; `properties`.
    pub properties: &'a BTreeMap<String, String>,
}

/// Why a template makes no text.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TemplateError {
    /// It is too long.
    #[error("it has more than {} KiB", MAX_SOURCE >> 10)]
    TooLong,
    /// It uses a word that is not in the language.
    #[error("line {line}: {what}")]
    Language {
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// It cannot be read or rendered.
    #[error("{0}")]
    Render(String),
}

/// Renders a template.
///
/// # Errors
/// See [`TemplateError`].
pub fn render(source: &str, context: &Context<'_>) -> Result<String, TemplateError> {
    let source = dialect::translate(source)?;
    let environment = environment(context.config);
    let template = environment.template_from_str(&source).map_err(|error| told(&error))?;
    let instance = Value::from_pairs(context.instance.iter().map(|(key, value)| (*key, value.as_str())));
    let values = Value::from_pairs([
        ("trigger", Value::from(context.trigger.as_str())),
        ("path", Value::from(context.path)),
        ("container", instance.clone()),
        ("instance", instance),
        ("config", texts(context.config)),
        ("devices", Value::from_pairs(context.devices.iter().map(|(name, keys)| (name.as_str(), texts(keys))))),
        ("image", texts(context.image)),
        ("properties", texts(context.properties)),
    ]);
    template.render(values).map_err(|error| told(&error))
}

/// The language: nothing that is not named here.
fn environment(config: &BTreeMap<String, String>) -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_fuel(Some(FUEL));
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    let syntax = minijinja::syntax::SyntaxConfig::builder().keep_trailing_newline(true).build();
    environment.set_syntax(syntax.expect("the usual marks and a trailing newline"));
    let config = config.clone();
    environment.add_function("config_get", move |key: &str, default: Rest<Value>| match config.get(key) {
        Some(value) => Value::from(value.trim_end_matches(['\r', '\n'])),
        None => default.first().cloned().unwrap_or_else(|| Value::from("")),
    });
    let or_default =
        |value: Value, default: Rest<Value>| if value.is_true() { value } else { default.first().cloned().unwrap_or_default() };
    environment.add_filter("default", or_default);
    let if_none = |value: Value, default: Rest<Value>| {
        if value.is_none() || value.is_undefined() { default.first().cloned().unwrap_or_default() } else { value }
    };
    environment.add_filter("default_if_none", if_none);
    environment.add_filter("lower", |text: String| text.to_lowercase());
    environment.add_filter("upper", |text: String| text.to_uppercase());
    environment.add_filter("capfirst", |text: String| {
        let mut rest = text.chars();
        rest.next().map_or_else(String::new, |first| first.to_uppercase().chain(rest).collect())
    });
    // Nothing is escaped in files of a system, so that nothing has to be kept from it.
    environment.add_filter("safe", |value: Value| value);
    environment
}

fn told(error: &minijinja::Error) -> TemplateError {
    let what: String = error.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect();
    match error.line() {
        Some(line) => TemplateError::Language { line, what },
        None => TemplateError::Render(what),
    }
}

fn texts(map: &BTreeMap<String, String>) -> Value {
    Value::from_pairs(map.iter().map(|(key, value)| (key.as_str(), value.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn rendered(source: &str) -> Result<String, TemplateError> {
        let (config, image) = (map(&[("user.user-data", "#cloud-config\nx: 1\n\n"), ("user.n", "<&>")]), map(&[("os", "Debian")]));
        let instance = [("name", "web".to_owned()), ("type", "container".to_owned()), ("privileged", "false".to_owned())].into();
        let devices = [("eth0".to_owned(), map(&[("type", "nic")])), ("root".to_owned(), map(&[("type", "disk")]))].into();
        let properties = map(&[("default", "none"), ("colour", "blue")]);
        let context = Context {
            trigger: Trigger::Create,
            path: "/etc/x",
            instance: &instance,
            config: &config,
            devices: &devices,
            image: &image,
            properties: &properties,
        };
        render(source, &context)
    }

    #[track_caller]
    fn check(source: &str, expect: &str) {
        let got = rendered(source).unwrap_or_else(|error| error.to_string());
        assert_eq!(got, expect, "{source}");
    }

    #[test]
    fn what_images_of_distributions_use() {
        check("{{ container.name }}\n", "web\n");
        check("127.0.1.1\t{{ instance.name }}\n", "127.0.1.1\tweb\n");
        check("{{ config_get(\"user.user-data\", properties.default) }}\n", "#cloud-config\nx: 1\n");
        check("{{ config_get(\"cloud-init.user-data\", config_get(\"user.user-data\", properties.default)) }}", "#cloud-config\nx: 1");
        check("{{ config_get(\"user.meta-data\", \"\") }}|", "|");
        check("{% if config_get(\"user.network-config\", \"\") == \"\" %}dhcp{% else %}own{% endif %}", "dhcp");
        check("{% if trigger == \"start\" %}a{% elif trigger == \"create\" %}b{% else %}c{% endif %}", "b");
        check(
            "{% for name, device in devices.items() %}x{% endfor %}",
            "line 1: unknown method: map has no method named items (in <string>:1)",
        );
        check("{% for name in devices %}{{ name }} {% endfor %}", "eth0 root ");
        check("{{ path }} {{ image.os|lower }} {{ properties.colour|upper }}", "/etc/x debian BLUE");
        check("{# a note #}{{ config_get(\"user.n\")|safe }}", "<&>");
    }

    #[test]
    fn what_pongo2_says_differently() {
        check("{{ properties.missing|default:\"nothing\" }}", "nothing");
        check("{{ properties.missing.deeper }}|", "|");
        check("{% ifequal trigger \"create\" %}yes{% else %}no{% endifequal %}", "yes");
        check("{% if trigger == \"create\" && !(path == \"/\") || false %}yes{% endif %}", "yes");
        check("{% autoescape off %}{{ instance.name|capfirst }}{% endautoescape %}", "Web");
        check("{% comment %}{{ nonsense( }}{% endcomment %}x", "x");
        check("{% if \"deb\" in \"debian\" and not \"x\" in \"y\" %}in{% endif %}", "in");
        check("a {{ \"}} %}\" }} b\n\n", "a }} %} b\n\n");
    }

    #[test]
    fn what_is_not_in_the_language_is_refused_with_its_line() {
        check("\n{% include \"/etc/shadow\" %}", "line 2: tag \"include\" is not in the language of templates");
        check("{% set x = 1 %}", "line 1: tag \"set\" is not in the language of templates");
        check("{{ \"x\" * 1000000 }}", "line 1: \"*\" is not in the language of templates");
        check("{{ a ~ a }}", "line 1: \"~\" is not in the language of templates");
        check("{{ x|replace:\"a\" }}", "line 1: unknown filter: filter replace is unknown (in <string>:1)");
        check("{{ open", "line 1: \"{{\" is not closed");
        check("{% if x %}", "line 1: syntax error: unexpected end of input, expected end of block (in <string>:1)");
    }

    #[test]
    fn no_template_takes_for_ever_or_all_memory() {
        let many = format!("{{% for a in devices %}}{}{{% endfor %}}", "{% for b in path %}".repeat(90) + &"{% endfor %}".repeat(90));
        let got = rendered(&many).unwrap_err().to_string();
        assert!(got.contains("fuel") || got.contains("recursion"), "{got}");
        assert_eq!(rendered(&"x".repeat(MAX_SOURCE + 1)), Err(TemplateError::TooLong));
        let loops = ["a", "b", "c"].map(|name| format!("{{% for {name} in path %}}")).concat();
        let long = format!("{loops}{}{}", "x".repeat(60_000), "{% endfor %}".repeat(3));
        let got = rendered(&long).unwrap_err().to_string();
        assert!(got.contains("fuel"), "{got}");
    }
}
