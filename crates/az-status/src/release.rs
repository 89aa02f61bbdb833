//! The signed release that a stage has reported, and exceptions from the policy.

use loader_model::{Event, Step, printable};
use serde::{Deserialize, Serialize};

/// Largest number of signers that a statement can have.
const SIGNERS_MAX: usize = 16;
/// Largest number of characters of a text that is shown.
const TEXT_MAX: usize = 256;
/// Number of digits of a key id in the text of a verdict.
const SHOWN_DIGITS: usize = 16;

/// Returns the phrase for an exception that an option of the stage has allowed.
pub(crate) fn exception(event: &Event) -> Option<&'static str> {
    match event.step.as_ref()?.known()? {
        Step::UnsignedAccepted => Some("unsigned content was accepted"),
        Step::DowngradeAccepted => Some("an older release than the newest one was accepted"),
        _ => None,
    }
}

/// Detail of the step `signature-verified`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SignedRelease {
    /// Key ids of the configured publishers that have signed.
    signers: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    release_id: Option<String>,
}

impl SignedRelease {
    /// Returns the release in `event`, if it reports one.
    pub(crate) fn of(event: &Event) -> Option<Self> {
        let is_signed = event.step.as_ref() == Some(&Step::SignatureVerified.into());
        let detail = event.detail.clone().filter(|_| is_signed)?;
        let found: Self = serde_json::from_value(detail.into()).ok()?;
        let text = |text: &String| printable(text).chars().take(TEXT_MAX).collect::<String>();
        Some(Self {
            signers: found.signers.iter().take(SIGNERS_MAX).map(text).collect(),
            name: found.name.as_ref().map(text),
            release: found.release,
            release_id: found.release_id.as_ref().map(text),
        })
    }

    /// Returns one phrase, such as `images/app release 7 signed by 5f31c0a2b4d6e8f0`.
    pub(crate) fn phrase(&self) -> String {
        let short = |signer: &String| signer.chars().take(SHOWN_DIGITS).collect::<String>();
        let signers = self.signers.iter().map(short).collect::<Vec<_>>().join(", ");
        let name = self.name.iter().map(|name| format!("{name} "));
        let release = self.release.iter().map(|release| format!("release {release} "));
        format!("{}signed by {signers}", name.chain(release).collect::<String>())
    }
}
