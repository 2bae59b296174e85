//! Comma-separated values (RFC 4180), with the line on which each record begins.

/// A record: its line, from 1, and its cells.
pub(super) type Record = (usize, Vec<String>);

/// Splits a text into records; empty lines are passed over. The error is a line and what is wrong
/// with it.
pub(super) fn records(text: &str) -> Result<Vec<Record>, (usize, &'static str)> {
    let mut records = Vec::new();
    let mut line = 1;
    let mut begin = 1;
    let mut cells: Vec<String> = Vec::new();
    let mut cell = String::new();
    let mut characters = text.chars().peekable();
    let mut was_quoted = false;
    while let Some(character) = characters.next() {
        match character {
            '"' if cell.is_empty() && !was_quoted => {
                was_quoted = true;
                let opened = line;
                loop {
                    match characters.next() {
                        Some('"') if characters.peek() == Some(&'"') => {
                            characters.next();
                            cell.push('"');
                        }
                        Some('"') => break,
                        Some(inside) => {
                            line += usize::from(inside == '\n');
                            cell.push(inside);
                        }
                        None => return Err((opened, "a quotation mark is never closed")),
                    }
                }
            }
            ',' => {
                cells.push(std::mem::take(&mut cell));
                was_quoted = false;
            }
            '\r' if matches!(characters.peek(), None | Some('\n')) => {}
            '\n' => {
                cells.push(std::mem::take(&mut cell));
                finish(&mut records, begin, &mut cells);
                was_quoted = false;
                line += 1;
                begin = line;
            }
            _ if was_quoted => return Err((line, "text follows a closing quotation mark")),
            other => cell.push(other),
        }
    }
    cells.push(cell);
    finish(&mut records, begin, &mut cells);
    Ok(records)
}

fn finish(records: &mut Vec<Record>, line: usize, cells: &mut Vec<String>) {
    let cells = std::mem::take(cells);
    if cells.len() > 1 || cells.iter().any(|cell| !cell.trim().is_empty()) {
        records.push((line, cells));
    }
}

/// A cell as it is written: in quotation marks where it needs them.
pub(super) fn cell(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn records_keep_their_lines() {
        let text = "a,b\r\n\n\"x, \"\"y\"\"\nz\",2\n,\n3,4";
        let cell = |text: &str| text.to_owned();
        assert_eq!(
            records(text),
            Ok(vec![
                (1, vec![cell("a"), cell("b")]),
                (3, vec![cell("x, \"y\"\nz"), cell("2")]),
                (5, vec![cell(""), cell("")]),
                (6, vec![cell("3"), cell("4")]),
            ])
        );
    }

    #[test]
    fn broken_quotation_marks_are_told_with_their_line() {
        assert_eq!(records("a\n\"b\nc"), Err((2, "a quotation mark is never closed")));
        assert_eq!(records("a\nb\n\"c\"d"), Err((3, "text follows a closing quotation mark")));
    }

    proptest! {
        #[test]
        fn cells_read_back(rows in prop::collection::vec(prop::collection::vec("(?s).{0,12}", 2..5), 0..6)) {
            let line = |row: &Vec<String>| {
                row.iter().map(|text| cell(text)).collect::<Vec<_>>().join(",") + "\n"
            };
            let read = records(&rows.iter().map(line).collect::<String>());
            let read = read.map(|read| read.into_iter().map(|(_, cells)| cells).collect::<Vec<_>>());
            prop_assert_eq!(read, Ok(rows));
        }

        #[test]
        fn every_text_is_read_or_told_with_a_line_of_it(text in "[\\x00-\u{2}a,\"\r\n 가]{0,40}") {
            let lines = 1 + text.matches('\n').count();
            let in_text = |line: usize| (1..=lines).contains(&line);
            match records(&text) {
                Ok(records) => prop_assert!(records.iter().all(|(line, _)| in_text(*line))),
                Err((line, _)) => prop_assert!(in_text(line)),
            }
        }
    }
}
