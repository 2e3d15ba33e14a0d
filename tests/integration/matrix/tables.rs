//! The tables of docs/security.md.

pub const PAGE: &str = include_str!("../../../docs/security.md");

/// A table of yes and no: rows and columns by their names.
pub struct Table {
    columns: Vec<&'static str>,
    rows: Vec<(&'static str, Vec<bool>)>,
}

impl Table {
    /// The first table under this heading.
    pub fn under(heading: &str) -> Self {
        let (_, rest) = PAGE.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no {heading:?}"));
        let lines = rest.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
        let mut lines = lines.map(|line| line.trim_matches('|').split('|').map(str::trim));
        let columns = lines.next().unwrap_or_else(|| panic!("no table under {heading:?}")).skip(1).collect();
        let row = |mut cells: Box<dyn Iterator<Item = &'static str>>| {
            let name = cells.next().expect("a first cell");
            let cell = |cell| match cell {
                "yes" => true,
                "–" => false,
                other => panic!("{name}: expected yes or –, found {other:?}"),
            };
            (name, cells.map(cell).collect())
        };
        // The line under the head is none.
        let rows = lines.skip(1).map(|cells| row(Box::new(cells))).collect();
        Self { columns, rows }
    }

    pub fn columns(&self) -> &[&'static str] {
        &self.columns
    }

    pub fn rows(&self) -> Vec<&'static str> {
        self.rows.iter().map(|(name, _)| *name).collect()
    }

    pub fn says(&self, row: &str, column: &str) -> bool {
        let place = self.columns.iter().position(|known| *known == column).unwrap_or_else(|| panic!("no {column:?}"));
        let (_, cells) = self.rows.iter().find(|(known, _)| *known == row).unwrap_or_else(|| panic!("no {row:?}"));
        cells[place]
    }
}
