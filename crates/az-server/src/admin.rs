//! Commands that change or verify the directory.

use crate::cli::{CdnCommand, CheckArgs, Cli, FragmentCommand, KeyCommand, PasswordArgs, UserCommand};
use anyhow::Context;
use loader_model::Credentials;
use loader_server::{AuditLine, AuditLog, NewUser, StateDir, random_password, unix_now};
use loader_stage::{ErrorCode, Failure, OrFail, OrFailAs, SecretSource, ask_new_password, read_secret};
use serde_json::{Value, json};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use zeroize::Zeroizing;

/// Exit status of `az-server check` with findings: that of a malformed file.
const FINDINGS: u8 = 65;

pub(crate) fn check(dir: &Path, args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let state = StateDir::open(dir).or_fail()?;
    if args.repair {
        state.remove_abandoned().or_fail()?;
    }
    let findings = state.check().or_fail()?;
    for finding in &findings {
        print_line(loader_model::printable(&finding.to_string()))?;
    }
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FINDINGS) })
}

pub(crate) fn user(cli: &Cli, command: &UserCommand) -> anyhow::Result<ExitCode> {
    let change = |action, email: &String, apply: &dyn Fn(&StateDir) -> Result<bool, loader_server::StateError>| {
        let state = StateDir::open(&cli.dir).or_fail()?;
        let changed = apply(&state).or_fail()?;
        report(cli, action, Some(email), None, changed)
    };
    match command {
        UserCommand::Add { email, role, hardware_file, device_secret_file, credentials_file, password } => {
            let hardware = hardware_file.as_deref().map(|path| text(cli, "hardware", path)).transpose()?;
            let device_secret =
                device_secret_file.as_deref().map(|path| text(cli, "device-secret", path)).transpose()?;
            let password = match credentials_file {
                Some(path) => credentials_password(cli, path, email)?,
                None => new_password(cli, password)?,
            };
            let new = NewUser {
                email: email.clone(),
                password,
                role: Value::from(role.as_str()),
                id: None,
                hardware: hardware.map(|text| text.to_ascii_lowercase()),
                device_secret,
                locked: false,
            };
            let added = StateDir::open_or_create(&cli.dir).and_then(|state| state.add_user(&new)).or_fail()?;
            report(cli, "user-add", Some(email), None, added)
        }
        UserCommand::Passwd { email, password } => {
            let state = StateDir::open(&cli.dir).or_fail()?;
            // Asks for the password only if there is such a user.
            state.user(email).or_fail()?;
            state.set_password(email, &new_password(cli, password)?).or_fail()?;
            report(cli, "user-passwd", Some(email), None, true)
        }
        UserCommand::Role { email, role } => change("user-role", email, &|state| state.set_role(email, role)),
        UserCommand::Hardware { email, hardware_file } => {
            let hardware = hardware_file.as_deref().map(|path| text(cli, "hardware", path)).transpose()?;
            change("user-hardware", email, &|state| state.set_hardware(email, hardware.as_deref().map(String::as_str)))
        }
        UserCommand::Lock { email } => change("user-lock", email, &|state| state.set_locked(email, true)),
        UserCommand::Unlock { email } => change("user-unlock", email, &|state| state.set_locked(email, false)),
        UserCommand::List => {
            for user in StateDir::open(&cli.dir).and_then(|state| state.users()).or_fail()? {
                print_line(json!({
                    "email": user.email,
                    "id": user.id,
                    "role": user.role,
                    "locked": user.locked,
                    "hardware": user.hardware,
                }))?;
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

pub(crate) fn fragment(cli: &Cli, command: &FragmentCommand) -> anyhow::Result<ExitCode> {
    let (action, user, changed) = match command {
        FragmentCommand::Set { file, user } => {
            let fragment = secret(cli, SecretSource::new("fragment", Some(file), None).binary())?;
            let state = StateDir::open_or_create(&cli.dir).or_fail()?;
            ("fragment-set", user, state.set_fragment(user.as_deref(), &fragment).or_fail()?)
        }
        FragmentCommand::Remove { user } => {
            let state = StateDir::open(&cli.dir).or_fail()?;
            ("fragment-remove", user, state.remove_fragment(user.as_deref()).or_fail()?)
        }
    };
    report(cli, action, user.as_ref(), None, changed)
}

pub(crate) fn cdn(cli: &Cli, command: &CdnCommand) -> anyhow::Result<ExitCode> {
    let CdnCommand::Set { file, role } = command;
    let document = secret(cli, SecretSource::new("cdn", Some(file), None))?;
    let state = StateDir::open_or_create(&cli.dir).or_fail()?;
    let changed = state.set_cdn(role, &document).or_fail()?;
    report(cli, "cdn-set", None, Some(role.as_str()), changed)
}

pub(crate) fn key(cli: &Cli, command: &KeyCommand) -> anyhow::Result<ExitCode> {
    match command {
        KeyCommand::Rotate { if_older_than, after, revoke } => {
            let state = StateDir::open_or_create(&cli.dir).or_fail()?;
            let now = unix_now();
            let newest = state.signing_keys().or_fail()?.last().map(|key| key.signs_from);
            let is_young = |age: &Duration| newest.is_some_and(|from| now.saturating_sub(from) < seconds(*age));
            if if_older_than.as_ref().is_some_and(is_young) {
                return report(cli, "key-rotate", None, None, false);
            }
            let new = state.rotate_key(now, now.saturating_add(seconds(*after)), *revoke).or_fail()?;
            let action = if *revoke { "key-revoke" } else { "key-rotate" };
            report(cli, action, None, Some(&new.kid), true)
        }
        KeyCommand::List => {
            for key in StateDir::open(&cli.dir).and_then(|state| state.signing_keys()).or_fail()? {
                print_line(json!({ "kid": key.kid, "signs_from": rfc3339(key.signs_from) }))?;
            }
            Ok(ExitCode::SUCCESS)
        }
        KeyCommand::Jwks => {
            print_line(StateDir::open(&cli.dir).and_then(|state| state.jwks()).or_fail()?)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Returns the destination of the audit log.
pub(crate) fn audit_log(cli: &Cli, otherwise: AuditLog) -> AuditLog {
    cli.audit_file.clone().map_or(otherwise, AuditLog::File)
}

/// Writes the audit line of a change.
fn report(
    cli: &Cli,
    action: &str,
    user: Option<&String>,
    target: Option<&str>,
    changed: bool,
) -> anyhow::Result<ExitCode> {
    let result = if changed { "ok" } else { "unchanged" };
    let line = AuditLine { action, user: user.map(String::as_str), target, address: None, result };
    audit_log(cli, AuditLog::Off).write(&line).context("the audit log")?;
    Ok(ExitCode::SUCCESS)
}

fn secret(cli: &Cli, source: SecretSource<'_>) -> Result<Zeroizing<Vec<u8>>, Failure> {
    Ok(read_secret(source, cli.insecure_perms)?.unwrap_or_default())
}

/// Reads a file with one line of text, without surrounding white space.
fn text(cli: &Cli, what: &'static str, path: &Path) -> Result<Zeroizing<String>, Failure> {
    let bytes = secret(cli, SecretSource::new(what, Some(path), None))?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| Failure::new(ErrorCode::Malformed, format_args!("the {what} is not text")))?;
    Ok(Zeroizing::new(text.trim().to_owned()))
}

/// Reads a new password from its file or from the terminal.
fn new_password(cli: &Cli, args: &PasswordArgs) -> Result<Zeroizing<String>, Failure> {
    if let Some(path) = &args.password_file {
        let bytes = secret(cli, SecretSource::new("password", Some(path), None))?;
        let text =
            std::str::from_utf8(&bytes).map_err(|_| Failure::new(ErrorCode::Malformed, "the password is not text"))?;
        // Only the line end is not part of the password.
        let text = text.strip_suffix('\n').unwrap_or(text);
        return Ok(Zeroizing::new(text.strip_suffix('\r').unwrap_or(text).to_owned()));
    }
    ask_new_password()?.ok_or_else(|| {
        Failure::new(ErrorCode::Config, "no password given")
            .hint("use --password-file PATH (- is standard input)".to_owned())
    })
}

/// Reads the password of `email` from the file that az-login reads, or creates that file with a
/// random password.
fn credentials_password(cli: &Cli, path: &Path, email: &str) -> anyhow::Result<Zeroizing<String>> {
    let place = path.display();
    match File::options().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => {
            let password = random_password().or_fail()?;
            let json = Zeroizing::new(json!({ "email": email, "password": password.as_str() }).to_string() + "\n");
            let written = file.write_all(json.as_bytes()).and_then(|()| file.sync_all());
            written.or_fail_as(ErrorCode::Io, place)?;
            Ok(password)
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let json = secret(cli, SecretSource::new("credentials", Some(path), None))?;
            let known =
                Credentials::from_json(&json).filter(|known| known.email.eq_ignore_ascii_case(email)).ok_or_else(
                    || Failure::new(ErrorCode::Malformed, format_args!("{place}: not the credentials of {email}")),
                )?;
            Ok(known.password)
        }
        Err(error) => Err(Failure::new(ErrorCode::CannotCreate, format_args!("{place}: {error}")).into()),
    }
}

fn print_line(line: impl std::fmt::Display) -> anyhow::Result<()> {
    loader_stage::stdout_is_open()?;
    writeln!(std::io::stdout(), "{line}").context("standard output")
}

fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

fn rfc3339(time: i64) -> String {
    let time = std::time::UNIX_EPOCH + Duration::from_secs(u64::try_from(time).unwrap_or(0));
    humantime::format_rfc3339_seconds(time).to_string()
}
