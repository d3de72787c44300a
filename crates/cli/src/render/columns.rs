//! Columns that are chosen by letters.

use crate::error::CliError;

/// The places of the chosen columns among those that there are.
///
/// # Errors
/// If a letter names none.
pub(crate) fn chosen(columns: &[(char, &str)], letters: &str) -> Result<Vec<usize>, CliError> {
    let place = |letter: char| {
        let found = columns.iter().position(|(known, _)| *known == letter);
        found.ok_or_else(|| CliError::UnknownColumn { column: letter, columns: letters.to_owned() })
    };
    letters.chars().filter(|letter| *letter != ',').map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_choose_columns() {
        let columns = [('n', "NAME"), ('t', "TYPE")];
        assert_eq!(chosen(&columns, "t,n").unwrap(), [1, 0]);
        assert_eq!(chosen(&columns, "nx").unwrap_err().to_string(), "unknown column 'x' in 'nx'");
    }
}
