//! What is wrong with a catalog: every fault of every file, with its place, at once.

use std::{fmt, sync::Arc};

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file's name as the reader knows it: `catalog/products.toml`.
    pub file: Arc<str>,
    /// `None` where the fault is that of a whole file.
    pub line: Option<usize>,
    /// `rule "product:low_stock"`, `lookup "cart_holders"`, where the fault lies in one.
    pub place: Option<String>,
    /// What was found, and what was expected.
    pub reason: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        f.write_str(": ")?;
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.reason)
    }
}

/// All faults of a catalog, in the order of the files and lines; one a line when printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// `None` if there is nothing to complain about.
    pub(super) fn new(mut faults: Vec<Fault>, files: &[Arc<str>]) -> Option<Self> {
        // A stable sort: faults of one line stay in the order in which they were found.
        faults.sort_by_key(|fault| (files.iter().position(|file| *file == fault.file), fault.line));
        (!faults.is_empty()).then_some(Self(faults))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// Names in quotes, for "expected one of …".
pub(super) fn quoted<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("{:?}", name.as_ref())).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
