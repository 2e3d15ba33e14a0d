//! Asks before something is taken away.

use std::io::{IsTerminal, Write};

use crate::error::Error;

/// Asks on the terminal; without one the answer is no.
pub fn confirm(question: &str) -> Result<(), Error> {
    if !std::io::stdin().is_terminal() {
        return Err(Error::Declined(format!("{question}: there is no terminal to ask on; pass --yes to go ahead")));
    }
    print!("{question}? [y/N] ");
    let mut answer = String::new();
    let read = std::io::stdout().flush().and_then(|()| std::io::stdin().read_line(&mut answer));
    match read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes") {
        true => Ok(()),
        false => Err(Error::Declined("nothing was changed".into())),
    }
}
