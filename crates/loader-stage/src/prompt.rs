//! Asking a person, on the terminal, without echo.

use loader_model::Credentials;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::sync::Mutex;
use zeroize::Zeroizing;

/// The terminal's settings before the prompt, for a signal that ends it.
static BEFORE: Mutex<Option<(File, Termios)>> = Mutex::new(None);

/// Email and password from `/dev/tty`; `None` where standard input is not a
/// terminal or there is no one to ask.
pub(crate) fn credentials() -> io::Result<Option<Credentials>> {
    if !io::stdin().is_terminal() {
        return Ok(None);
    }
    let Ok(mut tty) = File::options().read(true).write(true).open("/dev/tty") else { return Ok(None) };
    if let (Ok(settings), Ok(mut before)) = (tcgetattr(&tty), BEFORE.lock()) {
        *before = Some((tty.try_clone()?, settings));
    }
    tty.write_all(b"email: ")?;
    let mut email = String::new();
    BufReader::new(&tty).read_line(&mut email)?;
    let password = Zeroizing::new(rpassword::prompt_password("password: ")?);
    let email = email.trim().to_owned();
    Ok((!email.is_empty() && !password.is_empty()).then_some(Credentials { email, password }))
}

/// Puts the terminal back as it was before the prompt.
pub(crate) fn restore_terminal() {
    if let Ok(Some((tty, settings))) = BEFORE.try_lock().as_deref() {
        let _ = tcsetattr(tty, OptionalActions::Now, settings);
    }
}
