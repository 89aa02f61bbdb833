//! From options to a token in use.

use loader_api::{Client, Session, Token};
use loader_http::RetryNotice;
use loader_model::Credentials;
use loader_stage::{Failure, Stage, TokenArgs};

/// Reports each repetition of a request as a step.
pub trait RetryStep {
    /// Says `retry` with the attempt that failed, why, and how long is waited.
    fn retry_step(&self, notice: &RetryNotice);
}

impl RetryStep for Stage {
    fn retry_step(&self, notice: &RetryNotice) {
        let wait_ms = u64::try_from(notice.wait.as_millis()).unwrap_or(u64::MAX);
        self.step(
            "retry",
            &[
                ("attempt", notice.attempt.into()),
                ("attempts", notice.attempts.into()),
                ("wait_ms", wait_ms.into()),
                ("reason", notice.reason.as_str().into()),
            ],
        );
    }
}

/// The token from its source; standard input by default.
///
/// # Errors
/// `no_input` where the stage before left nothing, `malformed` where it is no
/// token, and those of [`Stage::secret`].
pub fn read_token(stage: &Stage, args: &TokenArgs) -> Result<Token, Failure> {
    let text = stage.secret_text(args.source())?;
    Token::parse(&text).map_err(|error| {
        Failure::new(error.code(), error.to_string()).hint("pass on what az-login printed, unchanged".to_owned())
    })
}

/// A session with `token`, which logs in again once where it is refused and
/// `credentials` are there.
pub fn open_session<'n>(client: Client<'n>, token: Token, credentials: Option<&Credentials>) -> Session<'n> {
    Session::new(client, token, credentials.cloned())
}

/// The failure that an error of the API is.
pub fn api_failure(error: &loader_api::Error) -> Failure {
    Failure::new(error.code(), error).hint(error.hint())
}

/// The failure that an error of the CDN is.
#[cfg(feature = "cdn")]
pub fn cdn_failure(error: &loader_cdn::Error) -> Failure {
    Failure::new(error.code(), error).hint(error.hint())
}

/// The failure that an error of a connection is.
pub fn http_failure(error: &loader_http::Error) -> Failure {
    Failure::new(error.code(), error).hint(error.hint())
}
