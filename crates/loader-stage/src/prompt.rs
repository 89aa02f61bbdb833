//! Prompt for email and password on the terminal.

use crate::{Failure, signals};
use loader_model::{Credentials, ErrorCode};
use rustix::process::{Signal, kill_current_process_group};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use zeroize::Zeroizing;

/// The settings of the terminal before the prompt, to restore them when a signal ends the process.
static SAVED_SETTINGS: Mutex<Option<(File, Termios)>> = Mutex::new(None);

/// True while the password is read. In this mode the terminal does not send SIGINT on Ctrl-C.
static READING_PASSWORD: AtomicBool = AtomicBool::new(false);

/// Asks for email and password on `/dev/tty`. Returns `None` if standard input is not a
/// terminal or the process has no controlling terminal.
pub(crate) fn ask_credentials() -> io::Result<Option<Credentials>> {
    if !io::stdin().is_terminal() {
        return Ok(None);
    }
    let Ok(mut tty) = File::options().read(true).write(true).open("/dev/tty") else { return Ok(None) };
    if let (Ok(settings), Ok(mut before)) = (tcgetattr(&tty), SAVED_SETTINGS.lock()) {
        *before = Some((tty.try_clone()?, settings));
    }
    let typed = read_credentials(&mut tty);
    // After the prompt, a signal must not restore old settings.
    if let Ok(mut before) = SAVED_SETTINGS.lock() {
        *before = None;
    }
    match typed {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            signals::park_if_signalled();
            Err(error)
        }
        other => other.map(Some),
    }
}

fn read_credentials(tty: &mut File) -> io::Result<Credentials> {
    let missing = |what: &str| io::Error::new(io::ErrorKind::UnexpectedEof, format!("no {what} was typed"));
    tty.write_all(b"email: ")?;
    let mut email = String::new();
    BufReader::new(&*tty).read_line(&mut email)?;
    let email = email.trim().to_owned();
    if email.is_empty() {
        return Err(missing("email"));
    }
    READING_PASSWORD.store(true, Ordering::SeqCst);
    let password = rpassword::prompt_password("password: ").map(Zeroizing::new);
    if !password.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::Interrupted) {
        // After Ctrl-C the flag stays set, because `forward_interrupt` checks it.
        READING_PASSWORD.store(false, Ordering::SeqCst);
    }
    let password = password?;
    match password.as_str() {
        "" => Err(missing("password")),
        text if text.contains(char::REPLACEMENT_CHARACTER) => {
            Err(io::Error::new(io::ErrorKind::InvalidData, "the typed password is not valid UTF-8"))
        }
        _ => Ok(Credentials { email, password }),
    }
}

/// Asks for a new password on the terminal, twice. Returns `None` if standard input is not a
/// terminal.
///
/// # Errors
/// `config` if nothing is typed, or two different passwords; `io` if the terminal fails.
pub fn ask_new_password() -> Result<Option<Zeroizing<String>>, Failure> {
    if !io::stdin().is_terminal() {
        return Ok(None);
    }
    let ask = |prompt| {
        rpassword::prompt_password(prompt).map(Zeroizing::new).map_err(|error| Failure::io("terminal", &error))
    };
    let (password, again) = (ask("password: ")?, ask("the same password again: ")?);
    if password.is_empty() || password != again {
        let what = if password.is_empty() { "no password was typed" } else { "the two passwords differ" };
        return Err(Failure::new(ErrorCode::Config, what));
    }
    Ok(Some(password))
}

/// Forwards a Ctrl-C at the password prompt to the whole pipeline, as the terminal does at
/// other times. Must be called before this process ends.
pub(crate) fn forward_interrupt() {
    if READING_PASSWORD.load(Ordering::SeqCst) {
        let _ = kill_current_process_group(Signal::INT);
    }
}

/// Restores the settings of the terminal from before the prompt.
pub(crate) fn restore_terminal() {
    if let Ok(Some((tty, settings))) = SAVED_SETTINGS.try_lock().as_deref() {
        let _ = tcsetattr(tty, OptionalActions::Now, settings);
    }
}
