//! Secrets and keys, from the environment and from files; never from the configuration itself.

use std::{env, fmt, fs, os::unix::ffi::OsStringExt as _, path::PathBuf};

use crate::error::Error;

/// The longest secret or key that is read, in bytes.
const LONGEST: usize = 64 * 1024;

/// Bytes that nobody prints.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(Vec<u8>);

impl Secret {
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A secret, and where it comes from in words that don't give it away.
#[derive(Debug)]
pub(super) struct Found {
    pub secret: Secret,
    pub origin: String,
}

/// Reads what the keys `{kind}_env` and `{kind}_file` of a section name, in this order.
///
/// # Errors
///
/// If one of them is missing, empty, or too long.
pub(super) fn read(section: &str, kind: &str, variables: &[String], files: &[PathBuf]) -> Result<Vec<Found>, Error> {
    let mut found = Vec::with_capacity(variables.len() + files.len());
    for name in variables {
        let key = format!("[{section}] {kind}_env");
        let origin = match is_conventional(name) {
            true => format!("{name} ({key})"),
            // Who has put the secret itself there shall not see it in a log.
            false => format!("the environment variable that {key} names"),
        };
        let value = variable(name).ok_or_else(|| {
            wrong(&origin, "is not set; set it for this process, or name a file with the key that ends in _file")
        })?;
        found.push(checked(value, origin)?);
    }
    for path in files {
        let origin = format!("{} ([{section}] {kind}_file)", path.display());
        let value = fs::read(path).map_err(|error| wrong(&origin, &format!("can't be read: {error}")))?;
        found.push(checked(value, origin)?);
    }
    Ok(found)
}

fn variable(name: &str) -> Option<Vec<u8>> {
    // What no variable can be called makes `var_os` panic.
    if name.is_empty() || name.contains(['=', '\0']) {
        return None;
    }
    Some(env::var_os(name)?.into_vec())
}

/// Without the end of line that editors put at the end of a file.
fn checked(mut value: Vec<u8>, origin: String) -> Result<Found, Error> {
    while matches!(value.last(), Some(b'\n' | b'\r')) {
        value.pop();
    }
    if value.is_empty() {
        return Err(wrong(&origin, "is empty"));
    }
    if value.len() > LONGEST {
        return Err(wrong(&origin, &format!("is longer than {LONGEST} bytes; is it the right file?")));
    }
    Ok(Found { secret: Secret(value), origin })
}

fn wrong(origin: &str, what: &str) -> Error {
    Error::Configuration(format!("{origin} {what}"))
}

fn is_conventional(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(variables: &[&str], files: &[&str]) -> String {
        let variables: Vec<_> = variables.iter().map(|name| (*name).to_owned()).collect();
        let files: Vec<_> = files.iter().map(PathBuf::from).collect();
        read("auth.jwt", "secret", &variables, &files).expect_err("nothing there").to_string()
    }

    #[test]
    fn a_missing_secret_is_named_with_its_key_and_what_to_do() {
        let error = refused(&["ROWCAST_NO_SUCH_SECRET"], &[]);
        assert!(error.contains("ROWCAST_NO_SUCH_SECRET ([auth.jwt] secret_env) is not set"), "{error}");
        let error = refused(&[], &["/no/such/secret"]);
        assert!(error.contains("/no/such/secret ([auth.jwt] secret_file) can't be read"), "{error}");
    }

    #[test]
    fn a_secret_that_stands_where_its_name_should_is_not_repeated() {
        for wrong in ["hunter2", "a=b", "", "\0"] {
            let error = refused(&[wrong], &[]);
            assert!(wrong.is_empty() || !error.contains(wrong), "{error}");
            assert!(error.contains("[auth.jwt] secret_env"), "{error}");
        }
    }

    #[test]
    fn a_secret_is_not_printed() {
        let found = checked(b"hunter2\r\n".to_vec(), "X".to_owned()).expect("a secret");
        assert_eq!(found.secret.bytes(), b"hunter2");
        assert!(!format!("{found:?}").contains("hunter2"));
    }
}
