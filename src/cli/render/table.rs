//! Rows whose columns are aligned.

use super::text;

/// Spaces between two columns.
const GAP: usize = 2;

/// The lines of a table, its head first. Nothing is padded at the end of a line.
pub fn lines(head: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let head: Vec<String> = head.iter().map(|word| (*word).to_owned()).collect();
    let mut widths = vec![0; head.len()];
    for row in std::iter::once(&head).chain(rows) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(columns(cell));
        }
    }
    std::iter::once(&head)
        .chain(rows)
        .map(|row| line(row, &widths))
        .collect()
}

fn line(row: &[String], widths: &[usize]) -> String {
    let mut line = String::new();
    for (cell, width) in row.iter().zip(widths) {
        line.push_str(cell);
        line.extend(std::iter::repeat_n(' ', width + GAP - columns(cell)));
    }
    line.truncate(line.trim_end().len());
    line
}

/// Columns that a cell takes once what cannot be seen is spelled out.
fn columns(cell: &str) -> usize {
    text::visible(cell).chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_as_they_will_be_seen() {
        let rows = [
            vec!["1".to_owned(), "a\n".to_owned(), "x".to_owned()],
            vec!["100".to_owned(), "b".to_owned(), String::new()],
        ];
        let seen: Vec<_> = lines(&["PID", "N", "L"], &rows)
            .iter()
            .map(|line| text::visible(line).into_owned())
            .collect();
        assert_eq!(seen, ["PID  N    L", "1    a\\n  x", "100  b"]);
    }
}
