//! Turning answers into text: tables, CSV, JSON, YAML.

mod columns;
mod format;
mod node;
mod table;
mod text;
mod time;
mod units;
mod yaml;
mod yaml_scalar;

pub(crate) use columns::chosen;
pub(crate) use format::{Format, json_line, json_tabbed, render_list};
pub(crate) use table::{Cell, Style, Table};
pub(crate) use text::{clean, clean_lines, natural_cmp, yes_no};
pub(crate) use time::{long_time, minute};
pub(crate) use units::{binary_size, decimal_size, mebibytes, parse_size};
pub(crate) use yaml::yaml;
