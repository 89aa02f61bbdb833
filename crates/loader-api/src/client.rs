//! The calls of the API.

use crate::form::Form;
use crate::{Error, Token, seen};
use loader_http::header::{AUTHORIZATION, CONTENT_TYPE};
use loader_http::{Answer, BaseUrl, Call, HeaderValue, Http, Method, Notify, Reached};
use loader_model::{Credentials, ResourceName};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::SystemTime;
use zeroize::Zeroizing;

/// Most bytes of a JSON answer.
const JSON_MAX: u64 = 1 << 20;

/// Most bytes of a resource.
pub const RESOURCE_MAX: u64 = 16 << 20;

/// Most bytes of the server's fragment.
const FRAGMENT_MAX: u64 = 64 << 10;

/// Where the API is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiConfig {
    /// `https://host[:port][/prefix]`.
    pub base_url: String,
    /// Paths below it.
    pub paths: ApiPaths,
}

/// The paths of the calls, each beginning with a slash. `{folder}` stands for
/// the folder of a resource; where that is empty, it goes together with the
/// slash before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiPaths {
    /// Log in.
    pub login: String,
    /// Get a resource.
    pub get: String,
    /// List a folder.
    pub list: String,
    /// Put a resource.
    pub put: String,
    /// The server's fragment of the key.
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

/// One entry of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Name below the folder.
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

/// The API. Every call here may be made twice without harm, so each is repeated
/// where that may help; no redirect is followed.
#[derive(Clone)]
pub struct Client<'n> {
    http: Http,
    notify: Notify<'n>,
    base: BaseUrl,
    paths: ApiPaths,
}

impl<'n> Client<'n> {
    /// A client of the API at `config`, which calls `notify` before each
    /// repetition of a request. Makes no connection.
    ///
    /// # Errors
    /// [`Error::Http`]: the base URL cannot be used, or is plain http to another machine.
    pub fn new(config: ApiConfig, http: Http, notify: Notify<'n>) -> Result<Self, Error> {
        let base = BaseUrl::parse(&config.base_url)?;
        http.check(base.origin())?;
        Ok(Self { http, notify, base, paths: config.paths })
    }

    /// Asks whether the API is there, without any secret.
    ///
    /// # Errors
    /// [`Error::Http`].
    pub fn reach(&self) -> Result<Reached, Error> {
        Ok(self.http.reach(&self.base, self.notify)?)
    }

    /// What messages call the API: its host.
    pub fn host(&self) -> String {
        self.base.origin().to_string()
    }

    /// Logs in and gives the token. The text is wiped on drop.
    ///
    /// # Errors
    /// [`Error::LoginRefused`]: 401. [`Error::Locked`]: 403 or 409.
    /// [`Error::Protocol`]: anything but a token. [`Error::Http`].
    pub fn login(&self, credentials: &Credentials) -> Result<Zeroizing<String>, Error> {
        let body = json(&Login { email: &credentials.email, password: &credentials.password });
        let call = Call::new(Method::POST, self.base.join(&self.paths.login))
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(&body);
        let answer = self.http.exchange(&call, JSON_MAX, self.notify)?;
        let email = loader_model::printable(&credentials.email);
        match answer.status {
            200 => {}
            401 => return Err(Error::LoginRefused { email }),
            403 | 409 => return Err(Error::Locked { email }),
            _ => return Err(protocol("login", &answer, &[&credentials.password])),
        }
        let logged_in: Option<LoggedIn> = serde_json::from_slice(&answer.body).ok();
        let token = logged_in.map(|answer| answer.token).filter(|token| Token::parse(token).is_ok());
        // The answer may hold a token that cannot be read, so nothing of it is quoted.
        token.ok_or_else(|| Error::Protocol {
            call: "login".to_owned(),
            seen: "HTTP 200 without a usable token".to_owned(),
        })
    }

    /// Gets a resource sealed to the token's user and to the hardware id, which
    /// is 64 hexadecimal digits. At most [`RESOURCE_MAX`] bytes; wiped on drop.
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
        let call = Call::new(Method::POST, self.folder_url(&self.paths.get, name.folder()))
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(&body);
        let answer = self.authorized(call, token, RESOURCE_MAX)?;
        Ok(accept(answer, token, name.as_str(), &[password])?.body)
    }

    /// Gets the server's fragment of the key, in whatever form the server keeps
    /// it. At most 64 KiB; wiped on drop.
    ///
    /// # Errors
    /// As [`Client::get_resource`].
    pub fn key_fragment(&self, token: &Token) -> Result<Zeroizing<Vec<u8>>, Error> {
        let call = Call::new(Method::GET, self.base.join(&self.paths.key_fragment));
        Ok(accept(self.authorized(call, token, FRAGMENT_MAX)?, token, "key-fragment", &[])?.body)
    }

    /// Puts a resource in place of the one with this name, if any: `content` as
    /// the multipart field `data` (RFC 7578).
    ///
    /// # Errors
    /// As [`Client::get_resource`], and [`Error::Taken`] in place of
    /// [`Error::OtherHardware`].
    pub fn put_resource(&self, token: &Token, name: &ResourceName, content: &[u8]) -> Result<(), Error> {
        let form = Form::new(name, content);
        let call = Call::new(Method::POST, self.folder_url(&self.paths.put, name.folder()))
            .header(CONTENT_TYPE, form.content_type)
            .body(&form.body);
        let answer = self.authorized(call, token, JSON_MAX)?;
        if answer.status == 409 {
            let why = seen::server_words(&answer, &[token.as_str()]).map(|(_, why)| why);
            let why = why.unwrap_or_else(|| "something else is there".to_owned());
            return Err(Error::Taken { what: name.to_string(), why });
        }
        match accept(answer, token, name.as_str(), &[]) {
            Err(Error::Forbidden { role, .. }) => Err(Error::Forbidden { role, what: format!("upload {name}") }),
            outcome => outcome.map(drop),
        }
    }

    /// Lists a folder, of which `search` picks names. The empty folder is the
    /// one above all.
    ///
    /// # Errors
    /// As [`Client::get_resource`].
    pub fn list(&self, token: &Token, folder: &str, search: Option<&str>) -> Result<Vec<Listed>, Error> {
        let mut url = self.folder_url(&self.paths.list, folder);
        if let Some(search) = search {
            url.push_str(if url.contains('?') { "&search=" } else { "?search=" });
            url.push_str(&percent_encode(search));
        }
        let answer = self.authorized(Call::new(Method::GET, url), token, JSON_MAX)?;
        let answer = accept(answer, token, folder, &[])?;
        serde_json::from_slice(&answer.body).map_err(|_| protocol("list", &answer, &[token.as_str()]))
    }

    fn authorized(&self, call: Call<'_>, token: &Token, cap: u64) -> Result<Answer, Error> {
        let bearer = Zeroizing::new(["Bearer ", token.as_str()].concat());
        // A token is base64url and dots, which every header may hold.
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

/// The answer where its status is 200, else the error it stands for.
fn accept(answer: Answer, token: &Token, what: &str, secrets: &[&str]) -> Result<Answer, Error> {
    let mut all = vec![token.as_str()];
    all.extend(secrets);
    let what = what.to_owned();
    match (answer.status, seen::server_words(&answer, &all)) {
        (200, _) => Ok(answer),
        (401, _) => Err(token.refusal(SystemTime::now())),
        (403, Some((code, why))) if code != "role" => Err(Error::Denied { what, why }),
        (403, _) => Err(Error::Forbidden { role: token.role().to_string(), what: format!("read {what}") }),
        (404, _) => Err(Error::NotFound(what)),
        (409, Some((_, why))) => Err(Error::OtherHardware { what, why }),
        (409, None) => Err(Error::OtherHardware { what, why: "the user belongs to other hardware".to_owned() }),
        _ => Err(protocol(&what, &answer, &all)),
    }
}

fn protocol(call: &str, answer: &Answer, secrets: &[&str]) -> Error {
    Error::Protocol { call: call.to_owned(), seen: seen::describe(answer, secrets) }
}

fn json(value: &impl Serialize) -> Zeroizing<Vec<u8>> {
    // Room for the longest password, so that no growing leaves a copy behind.
    let mut body = Zeroizing::new(Vec::with_capacity(8 * 1024));
    // Strings into memory cannot fail.
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
