//! Checks that files with secrets exist, can be parsed, and are readable by this user only.

use crate::context::Context;
use crate::finding::Finding;
use loader_stage::Failure;

pub(crate) fn credentials(context: &Context<'_>) -> Result<Finding, Failure> {
    Ok(match context.credentials()? {
        Some(credentials) => Finding::ok("readable by this user only").with("email", credentials.email.as_str()),
        None => Finding::skipped("no credentials given", "pass --credentials-file, or set AZ_CREDENTIALS_FILE"),
    })
}

pub(crate) fn fragment(context: &Context<'_>) -> Result<Finding, Failure> {
    Ok(match context.fragment()? {
        None => Finding::skipped("no fragment given", "pass --fragment-file, or set AZ_FRAGMENT_FILE"),
        Some(fragments) => {
            let described = fragments.iter().map(|fragment| {
                let (index, shares, set) = (fragment.index(), fragment.shares(), fragment.set_id());
                format!("{index} of {shares} ({}) of set {set}", fragment.scheme().as_str())
            });
            Finding::ok(described.collect::<Vec<_>>().join(", "))
        }
    })
}

pub(crate) fn key(context: &Context<'_>) -> Result<Finding, Failure> {
    Ok(match context.key()? {
        Some(key) => Finding::ok(format_args!("key {}", key.id())),
        None => Finding::skipped("no key given", "pass --key-file or --key-fd to check a key"),
    })
}

pub(crate) fn device_secret(context: &Context<'_>) -> Result<Finding, Failure> {
    Ok(match context.device_secret()? {
        Some(_) => Finding::ok("readable by this user only"),
        None => Finding::skipped("no device secret given", "pass --device-secret-file if the site uses device secrets"),
    })
}
