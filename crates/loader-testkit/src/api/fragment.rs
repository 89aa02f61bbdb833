//! `GET /binary-split/key-fragment`.

use super::App;
use super::auth::Caller;
use super::error::ApiError;
use super::resource::{Plaintext, Sealed, seal_answer};
use crate::FragmentForm;
use crate::sealing::Recipient;
use axum::extract::State;
use axum::http::{StatusCode, header};
use loader_seal::device::SealedKind;
use std::sync::Arc;

/// The server's fragment in the form that the settings name. The sealed form
/// goes to the password and hardware in `users.json`: the call has neither.
pub(crate) async fn get(State(app): State<Arc<App>>, caller: Caller) -> Result<Sealed, ApiError> {
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
            seal_answer(&app, to, Plaintext::Bytes(fragment), SealedKind::Fragment).await
        }
    }
}
