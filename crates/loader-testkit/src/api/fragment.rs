//! `GET /binary-split/key-fragment`.

use super::App;
use super::auth::Caller;
use super::error::ApiError;
use super::resource::{Plaintext, SealedResponse, seal_response};
use crate::FragmentForm;
use crate::sealing::Recipient;
use axum::extract::State;
use axum::http::{StatusCode, header};
use loader_seal::device::SealedKind;
use std::sync::Arc;

/// Returns the server's fragment in the form set by `fragment_form`. The sealed form
/// uses the password and hardware in `users.json`, because the request contains neither.
pub(crate) async fn get(State(app): State<Arc<App>>, caller: Caller) -> Result<SealedResponse, ApiError> {
    caller.needs_rank(app.settings.fragment_min_rank(), "key-fragment")?;
    let fragment = app.fragment.clone().ok_or_else(|| ApiError::not_found("key-fragment"))?;
    match app.settings.fragment_form {
        FragmentForm::Text => Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], fragment)),
        FragmentForm::Raw => Ok(([(header::CONTENT_TYPE, "application/octet-stream")], fragment)),
        FragmentForm::Sealed => {
            let account = caller.account()?;
            let hardware = account.hardware.ok_or_else(|| {
                ApiError::new(StatusCode::CONFLICT, "hardware_unknown", "the user has no hardware to seal to")
            })?;
            let password = account.record.password.clone();
            let to = Recipient { user: account.id, password, hardware, secret: account.secret };
            seal_response(&app, to, Plaintext::Bytes(fragment), SealedKind::Fragment).await
        }
    }
}
