//! Authentication by the bearer token of a request (RFC 6750).

use super::App;
use super::context::Client;
use super::error::ApiError;
use crate::state::Account;
use crate::token::{self, TokenRejection};
use crate::unix_now;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use loader_model::Role;
use std::sync::Arc;

/// The user of a verified token, as stored now: a lock, another role or another password take
/// effect immediately.
pub(crate) struct Caller {
    pub(crate) account: Account,
    pub(crate) client: Client,
    pub(crate) role: Role,
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let refused = |code, message: &str| ApiError::new(StatusCode::UNAUTHORIZED, code, message);
        let client = parts.extensions.get::<Client>().cloned().ok_or_else(|| ApiError::internal("no client"))?;
        let header = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token =
            header.and_then(|value| value.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let (_, token) = token.ok_or_else(|| refused("no_token", "a bearer token is needed"))?;
        let token = token.trim().to_owned();
        let found = app.blocking(move |app| {
            let claims = token::verify(&app.verifying_keys(), &token, unix_now())?;
            let account = app.state.account(&claims.unique_name).map_err(TokenRejection::State)?;
            Ok::<_, TokenRejection>((claims, account))
        });
        let (claims, account) = found.await?.map_err(|error| match error {
            TokenRejection::Malformed => refused("bad_token", "the token is malformed"),
            TokenRejection::Signature => refused("bad_token", "the signature of the token does not match"),
            TokenRejection::Expired => refused("token_expired", "the token has expired"),
            TokenRejection::NotYetValid => refused("token_not_yet", "the token is not valid yet"),
            TokenRejection::State(error) => error.into(),
        })?;
        client.set_user(&claims.unique_name);
        let account = account.filter(|account| account.record.id == claims.nameid);
        let account = account.ok_or_else(|| refused("bad_token", "the token's user does not exist"))?;
        if account.record.generation != claims.generation || account.record.locked {
            return Err(refused("token_revoked", "the account has changed since the login; log in again"));
        }
        Ok(Self { role: account.role(), account, client })
    }
}

impl Caller {
    /// Refuses a role whose rank is below `rank`.
    pub(crate) fn needs_rank(&self, rank: u64, what: &str) -> Result<(), ApiError> {
        if u64::from(self.role.rank()) >= rank { Ok(()) } else { Err(self.forbidden("read", what)) }
    }

    /// Refuses a role that may not upload.
    pub(crate) fn needs_upload(&self) -> Result<(), ApiError> {
        if self.role.may_upload() { Ok(()) } else { Err(self.forbidden("upload", "resources")) }
    }

    fn forbidden(&self, verb: &str, what: &str) -> ApiError {
        ApiError::new(StatusCode::FORBIDDEN, "role", format!("role {} may not {verb} {what}", self.role))
    }
}
