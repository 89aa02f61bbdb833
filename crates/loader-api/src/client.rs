//! The API client.

use crate::form::Form;
use crate::{Error, Token, describe_response};
use loader_http::header::{AUTHORIZATION, CONTENT_TYPE};
use loader_http::{BaseUrl, BufferedResponse, HeaderValue, Http, HttpRequest, Method, Notify, ProbeResult};
use loader_model::{Credentials, ResourceName};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::SystemTime;
use zeroize::Zeroizing;

/// Maximum size of a JSON response in bytes.
const JSON_MAX: u64 = 1 << 20;

/// Maximum size of a resource in bytes.
pub const RESOURCE_MAX: u64 = 16 << 20;

/// Maximum size of the server's fragment in bytes.
const FRAGMENT_MAX: u64 = 64 << 10;

/// Address of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiConfig {
    /// `https://host[:port][/prefix]`.
    pub base_url: String,
    /// Paths below the base URL.
    pub paths: ApiPaths,
}

/// Paths of the API calls, each beginning with a slash. `{folder}` is replaced by the
/// directory of a resource. If that is empty, `/{folder}` is removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiPaths {
    /// Log in.
    pub login: String,
    /// Get a resource.
    pub get: String,
    /// List a directory.
    pub list: String,
    /// Put a resource.
    pub put: String,
    /// Get the server's fragment of the key.
    pub key_fragment: String,
}

impl Default for ApiPaths {
    fn default() -> Self {
        Self {
            login: "/login".to_owned(),
            get: "/resources/get/{folder}".to_owned(),
            list: "/resources/list/{folder}".to_owned(),
            put: "/resources/{folder}".to_owned(),
            key_fragment: "/binary-split/key-fragment".to_owned(),
        }
    }
}

/// A resource in a directory listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceEntry {
    /// Name, without the directory.
    pub name: String,
    /// Size in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// SHA-256 in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

#[derive(Serialize)]
struct Login<'a> {
    email: &'a str,
    password: &'a str,
}

#[derive(Deserialize)]
struct LoggedIn {
    #[serde(deserialize_with = "loader_model::deserialize_zeroizing")]
    token: Zeroizing<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GetResource<'a> {
    file_name: &'a str,
    hardware: &'a str,
    password: &'a str,
}

/// Client of the API. All calls are idempotent, so each is retried after a temporary
/// failure. Redirects are not followed.
#[derive(Clone)]
pub struct Client<'n> {
    http: Http,
    notify: Notify<'n>,
    base: BaseUrl,
    paths: ApiPaths,
}

impl<'n> Client<'n> {
    /// Creates a client of the API at `config`, which calls `notify` before each retry.
    /// Opens no connection.
    ///
    /// # Errors
    /// [`Error::Http`] if the base URL is invalid, or is plain http to another machine.
    pub fn new(config: ApiConfig, http: Http, notify: Notify<'n>) -> Result<Self, Error> {
        let base = BaseUrl::parse(&config.base_url)?;
        http.check(base.origin())?;
        Ok(Self { http, notify, base, paths: config.paths })
    }

    /// Checks whether the API is reachable, without sending any secret.
    ///
    /// # Errors
    /// [`Error::Http`].
    pub fn probe(&self) -> Result<ProbeResult, Error> {
        Ok(self.http.probe(&self.base, self.notify)?)
    }

    /// Returns the host of the API, for messages.
    pub fn host(&self) -> String {
        self.base.origin().to_string()
    }

    /// Logs in and returns the token. The text is wiped on drop.
    ///
    /// # Errors
    /// [`Error::LoginRefused`] for 401, [`Error::Locked`] for 403 or 409,
    /// [`Error::Protocol`] for any other response without a token, [`Error::Http`].
    pub fn login(&self, credentials: &Credentials) -> Result<Zeroizing<String>, Error> {
        let body = json(&Login { email: &credentials.email, password: &credentials.password });
        let call = HttpRequest::new(Method::POST, self.base.join(&self.paths.login))
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(&body);
        let response = self.http.exchange(&call, JSON_MAX, self.notify)?;
        let email = loader_model::printable(&credentials.email);
        match response.status {
            200 => {}
            401 => return Err(Error::LoginRefused { email }),
            403 | 409 => return Err(Error::Locked { email }),
            _ => return Err(protocol_error("login", &response, &[&credentials.password])),
        }
        let logged_in: Option<LoggedIn> = serde_json::from_slice(&response.body).ok();
        let token = logged_in.map(|response| response.token).filter(|token| Token::parse(token).is_ok());
        // The response may contain an unreadable token, so it is never quoted.
        token.ok_or_else(|| Error::Protocol {
            call: "login".to_owned(),
            response: "HTTP 200 without a usable token".to_owned(),
        })
    }

    /// Gets a resource sealed to the token's user and to the hardware id `hardware`
    /// (64 hexadecimal digits). Returns at most [`RESOURCE_MAX`] bytes, wiped on drop.
    ///
    /// # Errors
    /// [`Error::Unauthorized`], [`Error::Clock`], [`Error::Forbidden`], [`Error::Denied`],
    /// [`Error::OtherHardware`], [`Error::NotFound`], [`Error::Protocol`],
    /// [`Error::Http`].
    pub fn get_resource(
        &self,
        token: &Token,
        name: &ResourceName,
        hardware: &str,
        password: &str,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let body = json(&GetResource { file_name: name.file_name(), hardware, password });
        let call = HttpRequest::new(Method::POST, self.folder_url(&self.paths.get, name.folder()))
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(&body);
        let response = self.authorized(call, token, RESOURCE_MAX)?;
        Ok(check_status(response, token, name.as_str(), &[password])?.body)
    }

    /// Gets the server's fragment of the key, in the form that the server uses.
    /// Returns at most 64 KiB, wiped on drop.
    ///
    /// # Errors
    /// Those of [`Client::get_resource`].
    pub fn key_fragment(&self, token: &Token) -> Result<Zeroizing<Vec<u8>>, Error> {
        let call = HttpRequest::new(Method::GET, self.base.join(&self.paths.key_fragment));
        Ok(check_status(self.authorized(call, token, FRAGMENT_MAX)?, token, "key-fragment", &[])?.body)
    }

    /// Uploads a resource as the multipart field `data` (RFC 7578). Replaces an
    /// existing resource with this name.
    ///
    /// # Errors
    /// Those of [`Client::get_resource`], with [`Error::Conflict`] instead of
    /// [`Error::OtherHardware`].
    pub fn put_resource(&self, token: &Token, name: &ResourceName, content: &[u8]) -> Result<(), Error> {
        let form = Form::new(name, content);
        let call = HttpRequest::new(Method::POST, self.folder_url(&self.paths.put, name.folder()))
            .header(CONTENT_TYPE, form.content_type)
            .body(&form.body);
        let response = self.authorized(call, token, JSON_MAX)?;
        if response.status == 409 {
            let why = describe_response::server_error(&response, &[token.as_str()]).map(|error| error.message);
            let why = why.unwrap_or_else(|| "another resource is in the way".to_owned());
            return Err(Error::Conflict { what: name.to_string(), why });
        }
        match check_status(response, token, name.as_str(), &[]) {
            Err(Error::Forbidden { role, .. }) => Err(Error::Forbidden { role, what: format!("upload {name}") }),
            outcome => outcome.map(drop),
        }
    }

    /// Lists the resources in the directory `folder`; the empty string is the root.
    /// `search` selects the names that contain it.
    ///
    /// # Errors
    /// Those of [`Client::get_resource`].
    pub fn list(&self, token: &Token, folder: &str, search: Option<&str>) -> Result<Vec<ResourceEntry>, Error> {
        let mut url = self.folder_url(&self.paths.list, folder);
        if let Some(search) = search {
            url.push_str(if url.contains('?') { "&search=" } else { "?search=" });
            url.push_str(&percent_encode(search));
        }
        let response = self.authorized(HttpRequest::new(Method::GET, url), token, JSON_MAX)?;
        let response = check_status(response, token, folder, &[])?;
        serde_json::from_slice(&response.body).map_err(|_| protocol_error("list", &response, &[token.as_str()]))
    }

    fn authorized(&self, call: HttpRequest<'_>, token: &Token, cap: u64) -> Result<BufferedResponse, Error> {
        let bearer = Zeroizing::new(["Bearer ", token.as_str()].concat());
        // A token consists of base64url and dots, so it is always a valid header value.
        let mut value = HeaderValue::from_str(&bearer).unwrap_or_else(|_| HeaderValue::from_static(""));
        value.set_sensitive(true);
        Ok(self.http.exchange(&call.header(AUTHORIZATION, value), cap, self.notify)?)
    }

    fn folder_url(&self, path: &str, folder: &str) -> String {
        let path = if folder.is_empty() { path.replace("/{folder}", "") } else { path.to_owned() };
        let path = path.replace("{folder}", folder);
        self.base.join(&path)
    }
}

impl fmt::Debug for Client<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("base", &self.base).field("paths", &self.paths).finish_non_exhaustive()
    }
}

/// Returns the response if its status is 200, otherwise the matching error.
fn check_status(
    response: BufferedResponse,
    token: &Token,
    what: &str,
    secrets: &[&str],
) -> Result<BufferedResponse, Error> {
    let mut all = vec![token.as_str()];
    all.extend(secrets);
    let what = what.to_owned();
    match (response.status, describe_response::server_error(&response, &all)) {
        (200, _) => Ok(response),
        (401, _) => Err(token.unauthorized_error(SystemTime::now())),
        (403, Some(error)) if error.code != "role" => Err(Error::Denied { what, why: error.message }),
        (403, _) => Err(Error::Forbidden { role: token.role().to_string(), what: format!("read {what}") }),
        (404, _) => Err(Error::NotFound(what)),
        (409, Some(error)) => Err(Error::OtherHardware { what, why: error.message }),
        (409, None) => Err(Error::OtherHardware { what, why: "the user belongs to other hardware".to_owned() }),
        _ => Err(protocol_error(&what, &response, &all)),
    }
}

fn protocol_error(call: &str, response: &BufferedResponse, secrets: &[&str]) -> Error {
    Error::Protocol { call: call.to_owned(), response: describe_response::describe(response, secrets) }
}

fn json(value: &impl Serialize) -> Zeroizing<Vec<u8>> {
    // Large enough for the longest password: a reallocation would leave an unwiped copy.
    let mut body = Zeroizing::new(Vec::with_capacity(8 * 1024));
    // Writing strings to memory cannot fail.
    let _ = serde_json::to_writer(&mut *body, value);
    body
}

fn percent_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(byte as char);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
