//! Files that hold a secret: there, this user's alone, and what they should be.

use crate::finding::Finding;
use crate::visit::Visit;
use loader_stage::Failure;

pub(crate) fn credentials(visit: &Visit<'_>) -> Result<Finding, Failure> {
    Ok(match visit.credentials()? {
        Some(credentials) => Finding::ok("readable by this user alone").with("email", credentials.email.as_str()),
        None => Finding::skipped("no credentials named", "--credentials-file or AZ_CREDENTIALS_FILE"),
    })
}

pub(crate) fn fragment(visit: &Visit<'_>) -> Result<Finding, Failure> {
    Ok(match visit.fragment()? {
        None => Finding::skipped("no fragment named", "--fragment-file or AZ_FRAGMENT_FILE"),
        Some(fragments) => {
            let named = fragments.iter().map(|fragment| {
                let (index, shares, set) = (fragment.index(), fragment.shares(), fragment.set_id());
                format!("{index} of {shares} ({}) of set {set}", fragment.scheme().as_str())
            });
            Finding::ok(named.collect::<Vec<_>>().join(", "))
        }
    })
}

pub(crate) fn key(visit: &Visit<'_>) -> Result<Finding, Failure> {
    Ok(match visit.key()? {
        Some(key) => Finding::ok(format_args!("the key {}", key.id())),
        None => Finding::skipped("no key named", "--key-file or --key-fd, where a key is at hand"),
    })
}

pub(crate) fn device_secret(visit: &Visit<'_>) -> Result<Finding, Failure> {
    Ok(match visit.device_secret()? {
        Some(_) => Finding::ok("readable by this user alone"),
        None => Finding::skipped("no device secret named", "--device-secret-file, where the site uses one"),
    })
}
