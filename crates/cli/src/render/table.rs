//! Tables as `lxc` draws them.

use std::fmt::Write;

use unicode_width::UnicodeWidthStr;

use super::{clean_lines, natural_cmp};

/// The colour of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Style {
    /// The terminal's own.
    #[default]
    Plain,
    /// All is well.
    Good,
    /// Under way or on hold.
    Busy,
    /// Broken.
    Bad,
}

impl Style {
    fn code(self) -> &'static str {
        match self {
            Style::Plain => "",
            Style::Good => "\x1b[32m",
            Style::Busy => "\x1b[36m",
            Style::Bad => "\x1b[31m",
        }
    }
}

/// One cell; line breaks make it higher.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// Gives the cell a colour.
    pub(crate) fn styled(mut self, style: Style) -> Cell {
        self.style = style;
        self
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Cell {
        Cell { text: clean_lines(text.as_ref()).replace('\t', " "), style: Style::Plain }
    }
}

/// A table to be shown.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    headers: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// Starts a table with its headers.
    pub(crate) fn new<H: Into<String>>(headers: impl IntoIterator<Item = H>) -> Table {
        Table { headers: headers.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn row<C: Into<Cell>>(&mut self, cells: impl IntoIterator<Item = C>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// Sorts by the first column, then the next.
    pub(crate) fn sorted(mut self) -> Table {
        self.rows.sort_by(|a, b| {
            let pairs = a.iter().zip(b);
            pairs.map(|(a, b)| natural_cmp(&a.text, &b.text)).find(|order| order.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
        });
        self
    }

    /// Draws it with lines between all rows.
    pub(crate) fn bordered(&self, colour: bool) -> String {
        let widths = self.widths();
        let line: String = widths.iter().map(|width| format!("+{}", "-".repeat(width + 2))).collect::<String>() + "+\n";
        let mut out = line.clone();
        for (header, width) in self.headers.iter().zip(&widths) {
            let _ = write!(out, "| {} ", centred(header, *width));
        }
        out.push_str("|\n");
        out.push_str(&line);
        for row in &self.rows {
            for height in 0..height(row) {
                for (cell, width) in row.iter().zip(&widths) {
                    let _ = write!(out, "| {} ", padded(cell, height, *width, colour));
                }
                out.push_str("|\n");
            }
            out.push_str(&line);
        }
        out
    }

    /// Draws it without lines.
    pub(crate) fn compact(&self, colour: bool) -> String {
        let widths = self.widths();
        let mut out = String::new();
        for (header, width) in self.headers.iter().zip(&widths) {
            let _ = write!(out, "  {}", centred(header, *width));
        }
        out.push_str("  \n");
        for row in &self.rows {
            for height in 0..height(row) {
                for (cell, width) in row.iter().zip(&widths) {
                    let _ = write!(out, "  {}", padded(cell, height, *width, colour));
                }
                out.push_str("  \n");
            }
        }
        out
    }

    /// Writes it as comma-separated values without a header.
    pub(crate) fn csv(&self) -> String {
        let mut out = String::new();
        for row in &self.rows {
            let fields: Vec<_> = row.iter().map(|cell| csv_field(&cell.text)).collect();
            out.push_str(&fields.join(","));
            out.push('\n');
        }
        out
    }

    fn widths(&self) -> Vec<usize> {
        let cell_width = |cell: &Cell| cell.text.lines().map(UnicodeWidthStr::width).max().unwrap_or(0);
        let widths = self.headers.iter().enumerate().map(|(column, header)| {
            let cells = self.rows.iter().filter_map(|row| row.get(column)).map(cell_width);
            cells.max().unwrap_or(0).max(header.width())
        });
        widths.collect()
    }
}

fn height(row: &[Cell]) -> usize {
    row.iter().map(|cell| cell.text.lines().count()).max().unwrap_or(1).max(1)
}

fn centred(text: &str, width: usize) -> String {
    let gap = width.saturating_sub(text.width());
    format!("{}{text}{}", " ".repeat(gap / 2), " ".repeat(gap - gap / 2))
}

fn padded(cell: &Cell, line: usize, width: usize, colour: bool) -> String {
    let text = cell.text.lines().nth(line).unwrap_or("");
    let gap = " ".repeat(width.saturating_sub(text.width()));
    if colour && cell.style != Style::Plain { format!("{}{text}\x1b[0m{gap}", cell.style.code()) } else { format!("{text}{gap}") }
}

fn csv_field(text: &str) -> String {
    let quoted = text.contains([',', '"', '\n', '\r']) || text.starts_with(' ');
    if quoted { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn sample() -> Table {
        let mut table = Table::new(["NAME", "STATE", "IPV4", "TYPE"]);
        table.row(["b10", "RUNNING", "10.0.0.2 (eth0)\n10.0.0.1 (eth1)", "CONTAINER"]);
        table.row(["b2", "STO\x1b[31mPPED", "", "a,\"b\""]);
        table.sorted()
    }

    #[track_caller]
    fn check(text: &str, expected: &Expect) {
        expected.assert_eq(text);
    }

    #[test]
    fn tables_have_lines_and_centred_headers() {
        check(
            &sample().bordered(false),
            &expect![[r#"
                +------+-------------+-----------------+-----------+
                | NAME |    STATE    |      IPV4       |   TYPE    |
                +------+-------------+-----------------+-----------+
                | b2   | STO[31mPPED |                 | a,"b"     |
                +------+-------------+-----------------+-----------+
                | b10  | RUNNING     | 10.0.0.2 (eth0) | CONTAINER |
                |      |             | 10.0.0.1 (eth1) |           |
                +------+-------------+-----------------+-----------+
            "#]],
        );
    }

    #[test]
    fn csv_quotes_what_needs_it() {
        check(
            &sample().csv(),
            &expect![[r#"
                b2,STO[31mPPED,,"a,""b"""
                b10,RUNNING,"10.0.0.2 (eth0)
                10.0.0.1 (eth1)",CONTAINER
            "#]],
        );
    }

    #[test]
    fn compact_tables_have_no_lines() {
        let mut table = Table::new(["NAME", "STATE"]);
        table.row(["b1", "RUNNING"]);
        assert_eq!(table.compact(false), "  NAME   STATE   \n  b1    RUNNING  \n");
    }

    #[test]
    fn colour_does_not_count_as_width() {
        let mut table = Table::new(["STATE"]);
        table.row([Cell::from("UP").styled(Style::Good)]);
        assert_eq!(table.bordered(true), "+-------+\n| STATE |\n+-------+\n| \x1b[32mUP\x1b[0m    |\n+-------+\n");
    }
}
