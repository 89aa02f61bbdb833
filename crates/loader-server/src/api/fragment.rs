//! `GET /binary-split/key-fragment`.

use super::App;
use super::auth::Caller;
use super::error::ApiError;
use super::resource::SealedResponse;
use crate::FragmentForm;
use crate::state::SealedFragment;
use axum::extract::State;
use axum::http::{StatusCode, header};
use std::sync::Arc;

/// Returns the server's fragment in the form set by `fragment_form`. The sealed form was
/// made when the password was known, because the request does not contain it.
pub(crate) async fn get(State(app): State<Arc<App>>, caller: Caller) -> Result<SealedResponse, ApiError> {
    caller.needs_rank(app.settings.fragment_min_rank(), "key-fragment")?;
    let not_found = || ApiError::not_found("key-fragment");
    let account = caller.account;
    let octets = "application/octet-stream";
    let content_type =
        if app.settings.fragment_form == FragmentForm::Text { "text/plain; charset=utf-8" } else { octets };
    let bytes = if app.settings.fragment_form == FragmentForm::Sealed {
        match app.blocking(move |app| app.state.sealed_fragment(&account)).await?? {
            SealedFragment::Sealed(sealed) => sealed,
            SealedFragment::None => return Err(not_found()),
            SealedFragment::NoHardware => {
                let message = "the user has no hardware to seal to";
                return Err(ApiError::new(StatusCode::CONFLICT, "hardware_unknown", message));
            }
            // The client logs in again, if it can, and the login seals the fragment.
            SealedFragment::Outdated => {
                let message = "the fragment has changed since the login; log in again";
                return Err(ApiError::new(StatusCode::UNAUTHORIZED, "login_again", message));
            }
        }
    } else {
        let found = app.blocking(move |app| app.state.fragment(&account)).await??;
        found.ok_or_else(not_found)?.to_vec()
    };
    Ok(([(header::CONTENT_TYPE, content_type)], bytes))
}
