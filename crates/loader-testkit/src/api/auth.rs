//! Authentication by the bearer token of a request (RFC 6750).

use super::error::ApiError;
use super::{App, unix_now};
use crate::token::TokenRejection;
use crate::users::Account;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use loader_model::Role;
use std::sync::Arc;

/// The user of a verified token.
pub(crate) struct Caller {
    app: Arc<App>,
    id: String,
    role: Role,
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let refused = |code, message: &str| ApiError::new(StatusCode::UNAUTHORIZED, code, message);
        let header = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token =
            header.and_then(|value| value.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let (_, token) = token.ok_or_else(|| refused("no_token", "a bearer token is needed"))?;
        let claims = app.signer.verify(token.trim(), unix_now()).map_err(|error| match error {
            TokenRejection::Malformed => refused("bad_token", "the token is malformed"),
            TokenRejection::Signature => refused("bad_token", "the signature of the token does not match"),
            TokenRejection::Expired => refused("token_expired", "the token has expired"),
            TokenRejection::NotYetValid => refused("token_not_yet", "the token is not valid yet"),
        })?;
        app.users.by_id(&claims.nameid).ok_or_else(|| refused("bad_token", "the token's user does not exist"))?;
        Ok(Self { app: app.clone(), id: claims.nameid, role: Role::from_claim(&claims.role) })
    }
}

impl Caller {
    /// Returns the account. The extractor has checked that it exists.
    pub(crate) fn account(&self) -> Result<&Account, ApiError> {
        self.app.users.by_id(&self.id).ok_or_else(|| ApiError::internal("the user is gone"))
    }

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
