//! The client of a request; the limit of its time; its lines in metrics and audit log.

use super::error::{ApiError, ErrorKind};
use super::{App, UPLOAD_BODY_MAX};
use crate::ClientAddress;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// The client of a request, an extension of it.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) address: IpAddr,
    user: Arc<Mutex<Option<String>>>,
    target: Arc<Mutex<Option<String>>>,
}

impl Client {
    /// Sets the user for the audit log.
    pub(crate) fn set_user(&self, email: &str) {
        *self.user.lock().unwrap_or_else(PoisonError::into_inner) = Some(email.to_owned());
    }

    /// Sets the resource for the audit log.
    pub(crate) fn set_target(&self, name: &str) {
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = Some(name.to_owned());
    }

    pub(super) fn user(&self) -> Option<String> {
        self.user.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Returns the address of the client: that of the connection, or, if a proxy on this machine
/// forwards the request, the last one that the proxy names. The addresses before it come from the
/// client.
fn address_of(connection: Option<ClientAddress>, headers: &HeaderMap, behind_proxy: bool) -> IpAddr {
    let connection = connection.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.0);
    if !(behind_proxy && connection.is_loopback()) {
        return connection;
    }
    let forwarded = headers.get_all("x-forwarded-for").iter().next_back().and_then(|value| value.to_str().ok());
    forwarded.and_then(|list| list.rsplit(',').next()?.trim().parse().ok()).unwrap_or(connection)
}

/// Middleware: bounds the time of a request, counts its response, and writes the audit line.
pub(super) async fn bound_and_record(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let connection = request.extensions().get::<ClientAddress>().copied();
    let address = address_of(connection, request.headers(), app.config.behind_proxy);
    let client = Client { address, user: Arc::default(), target: Arc::default() };
    request.extensions_mut().insert(client.clone());
    let call = call_name(request.method(), request.uri().path());
    let response = if declares_too_much(request.headers()) {
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the body is too large").into_response()
    } else {
        let answered = tokio::time::timeout(app.config.request_time, next.run(request)).await;
        answered.unwrap_or_else(|_| {
            ApiError::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the request took too long").into_response()
        })
    };
    app.metrics.response(call, response.status().as_u16());
    if let Some(action) = audited(call) {
        let result = response.extensions().get::<ErrorKind>().map_or("ok", |kind| kind.0);
        let target = client.target.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let app = app.clone();
        // A log on a slow disk must not stop the other requests.
        let _ = tokio::task::spawn_blocking(move || app.audit(&client, action, target.as_deref(), result)).await;
    }
    response
}

/// Returns true for a body longer than every call accepts. Its client does not wait until the
/// limit is reached, and the server does not read that far.
fn declares_too_much(headers: &HeaderMap) -> bool {
    let len = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    len.is_some_and(|len| len > UPLOAD_BODY_MAX as u64)
}

/// Returns the name of a call in metrics and audit log.
fn call_name(method: &Method, path: &str) -> &'static str {
    let is_below =
        |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    match path {
        "/login" => "login",
        "/binary-split/key-fragment" => "fragment",
        "/.well-known/jwks.json" => "jwks",
        "/healthz" => "healthz",
        "/openapi.json" => "openapi",
        _ if is_below("/resources/get") => "get",
        _ if is_below("/resources/list") => "list",
        _ if is_below("/resources") && *method == Method::POST => "upload",
        _ => "unknown",
    }
}

fn audited(call: &'static str) -> Option<&'static str> {
    ["login", "fragment", "get", "list", "upload"].contains(&call).then_some(call)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_proxy_on_this_machine_names_an_address() {
        let mut headers = HeaderMap::new();
        headers.append("x-forwarded-for", "192.0.2.9, 192.0.2.1".parse().unwrap());
        let from = |text: &str| Some(ClientAddress(text.parse().unwrap()));
        let address = |connection, behind| address_of(connection, &headers, behind).to_string();
        assert_eq!(address(from("127.0.0.1"), true), "192.0.2.1");
        assert_eq!(address(from("::1"), true), "192.0.2.1");
        assert_eq!(address(from("127.0.0.1"), false), "127.0.0.1");
        assert_eq!(address(from("198.51.100.1"), true), "198.51.100.1");
        headers.append("x-forwarded-for", "nonsense".parse().unwrap());
        assert_eq!(address_of(from("127.0.0.1"), &headers, true).to_string(), "127.0.0.1");
    }
}
