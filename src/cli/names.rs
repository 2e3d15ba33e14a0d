//! Names of events and rules as people write them on the command line.

use crate::{contract::check::matches, error::Error};

/// How alike a name must be to be worth telling, from 0 to 1.
const ALIKE: f64 = 0.8;
const TOLD: usize = 3;

/// Sees to it that each pattern means at least one of the known names; `asked` says who asks: `--require`.
///
/// # Errors
///
/// The first that means none, with the names that look like it.
pub fn expect_known(asked: &str, patterns: &[String], known: &[&str]) -> Result<(), Error> {
    for pattern in patterns {
        if pattern.is_empty() {
            return Err(Error::Usage(format!(
                "{asked} has an empty name; expected names or patterns, such as product:*,order:updated"
            )));
        }
        if !known.iter().any(|name| matches(pattern, name)) {
            let alike = alike(pattern, known);
            let meant = if alike.is_empty() { String::new() } else { format!(" Such as it: {}.", alike.join(", ")) };
            return Err(Error::Usage(format!(
                "{asked} names {pattern:?}, which the catalog does not have.{meant} `rowcast catalog show` lists all"
            )));
        }
    }
    Ok(())
}

/// The names that look most like what was written.
fn alike<'n>(written: &str, known: &[&'n str]) -> Vec<&'n str> {
    let written = written.trim_end_matches('*');
    let mut scored: Vec<(f64, &str)> = known.iter().map(|name| (strsim::jaro_winkler(written, name), *name)).collect();
    scored.retain(|(score, _)| *score >= ALIKE);
    scored.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    scored.dedup();
    scored.into_iter().take(TOLD).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 4] = ["order:updated", "product:created", "product:updated", "stock:low"];

    fn told(pattern: &str) -> String {
        expect_known("--require", &[pattern.to_owned()], &KNOWN)
            .map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn a_name_or_a_pattern_that_means_something_passes() {
        for pattern in ["order:updated", "product:*", "all", "*"] {
            assert_eq!(told(pattern), "");
        }
    }

    #[test]
    fn a_misspelt_name_is_answered_with_those_that_look_like_it() {
        assert!(told("product:updatd").contains("Such as it: product:updated, "), "{}", told("product:updatd"));
        assert!(told("products:*").contains("Such as it: product:"), "{}", told("products:*"));
        assert_eq!(
            told("xyz"),
            "--require names \"xyz\", which the catalog does not have. `rowcast catalog show` lists all"
        );
        assert!(told("").starts_with("--require has an empty name"));
    }
}
