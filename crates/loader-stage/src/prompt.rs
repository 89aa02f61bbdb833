//! Asking a person, on the terminal, without echo.

use crate::signals;
use loader_model::Credentials;
use rustix::process::{Signal, kill_current_process_group};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use zeroize::Zeroizing;

/// The terminal's settings before the prompt, for a signal that ends it.
static BEFORE: Mutex<Option<(File, Termios)>> = Mutex::new(None);

/// True while the password is typed, when a terminal does not turn Ctrl-C into a signal.
static AT_PASSWORD: AtomicBool = AtomicBool::new(false);

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
    let typed = ask(&mut tty);
    // What a signal would put back later is not ours to change any more.
    if let Ok(mut before) = BEFORE.lock() {
        *before = None;
    }
    match typed {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            signals::obey();
            Err(error)
        }
        other => other.map(Some),
    }
}

fn ask(tty: &mut File) -> io::Result<Credentials> {
    let nothing = |what: &str| io::Error::new(io::ErrorKind::UnexpectedEof, format!("no {what} was typed"));
    tty.write_all(b"email: ")?;
    let mut email = String::new();
    BufReader::new(&*tty).read_line(&mut email)?;
    let email = email.trim().to_owned();
    if email.is_empty() {
        return Err(nothing("email"));
    }
    AT_PASSWORD.store(true, Ordering::SeqCst);
    let password = rpassword::prompt_password("password: ").map(Zeroizing::new);
    if !password.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::Interrupted) {
        // Else the signal is on its way, and looks for this.
        AT_PASSWORD.store(false, Ordering::SeqCst);
    }
    let password = password?;
    match password.as_str() {
        "" => Err(nothing("password")),
        text if text.contains(char::REPLACEMENT_CHARACTER) => {
            Err(io::Error::new(io::ErrorKind::InvalidData, "the password as it was typed is not UTF-8"))
        }
        _ => Ok(Credentials { email, password }),
    }
}

/// Passes a Ctrl-C at the password on to the whole pipeline, as the terminal does at any
/// other time. To be called before this process ends of it.
pub(crate) fn pass_on_interrupt() {
    if AT_PASSWORD.load(Ordering::SeqCst) {
        let _ = kill_current_process_group(Signal::INT);
    }
}

/// Puts the terminal back as it was before the prompt.
pub(crate) fn restore_terminal() {
    if let Ok(Some((tty, settings))) = BEFORE.try_lock().as_deref() {
        let _ = tcsetattr(tty, OptionalActions::Now, settings);
    }
}
