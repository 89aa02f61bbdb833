//! The proxy from the environment.

use crate::Error;
use ureq::{Proxy, ProxyProtocol};

/// Variables in order of precedence. HTTPS_PROXY is first because nearly all requests use https.
const PROXY: [&str; 6] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy"];
const NO_PROXY: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// Returns the proxy of the first variable that is set, with the hosts in `NO_PROXY`
/// as exceptions. ureq's own function silently ignores an invalid URL.
///
/// # Errors
/// [`Error::Config`] if the value is not a proxy URL. The message names the variable,
/// not its value, which may contain a password.
pub(crate) fn from_env(var: impl Fn(&str) -> Option<String>) -> Result<Option<Proxy>, Error> {
    let first = |names: &[&'static str]| {
        let set = |name: &&'static str| Some((*name, var(name).filter(|value| !value.trim().is_empty())?));
        names.iter().find_map(set)
    };
    let Some((name, url)) = first(&PROXY) else { return Ok(None) };
    let unusable = || Error::config(format!("{name} is not a usable proxy URL"));
    let named = Proxy::new(url.trim()).map_err(|_| unusable())?;
    let mut proxy = Proxy::builder(named.protocol()).host(named.host()).port(named.port());
    if let Some(user) = named.username() {
        proxy = proxy.username(user);
    }
    if let Some(password) = named.password() {
        proxy = proxy.password(password);
    }
    let direct = first(&NO_PROXY).map(|(_, hosts)| hosts).unwrap_or_default();
    for host in direct.split(',').map(str::trim).filter(|host| !host.is_empty()) {
        proxy = proxy.no_proxy(host);
        // A domain includes its subdomains, as in curl.
        if !host.starts_with(['.', '*']) {
            proxy = proxy.no_proxy(&format!(".{host}"));
        }
    }
    proxy.build().map(Some).map_err(|_| unusable())
}

/// Checks that the protocol of `proxy` is supported.
///
/// # Errors
/// [`Error::Config`] for a SOCKS proxy: ureq is built without SOCKS here and would
/// silently connect directly.
pub(crate) fn check(proxy: &Proxy) -> Result<(), Error> {
    match proxy.protocol() {
        ProxyProtocol::Http | ProxyProtocol::Https => Ok(()),
        _ => Err(Error::config("the proxy in the environment is a socks proxy; only http and https are supported")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ureq::http::Uri;

    fn proxy_from(vars: &[(&str, &str)]) -> Result<Option<Proxy>, Error> {
        from_env(|name| vars.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn https_proxy_has_precedence_and_keeps_its_password() {
        let all = ("ALL_PROXY", "socks5://s:1");
        let proxy = proxy_from(&[all, ("HTTPS_PROXY", "http://u%40x:p%3a@proxy.test:3128")]).unwrap().unwrap();
        assert_eq!((proxy.host(), proxy.port()), ("proxy.test", 3128));
        assert_eq!((proxy.username(), proxy.password()), (Some("u@x"), Some("p:")));
        assert!(check(&proxy).is_ok());
        assert!(check(&proxy_from(&[all, ("HTTPS_PROXY", " ")]).unwrap().unwrap()).is_err());
        assert_eq!(proxy_from(&[("http_proxy", "proxy.test")]).unwrap().unwrap().port(), 80);
        assert!(proxy_from(&[]).unwrap().is_none());
    }

    #[test]
    fn an_invalid_proxy_is_refused_with_the_name_of_its_variable() {
        for url in ["htpp://proxy", "http://user:pa ss@proxy", "http://"] {
            let error = proxy_from(&[("https_proxy", url), ("http_proxy", "http://other")]).unwrap_err().to_string();
            assert!(error.contains("https_proxy") && !error.contains("pa ss"), "{error}");
        }
    }

    #[test]
    fn no_proxy_allows_spaces_and_includes_subdomains() {
        let proxy = proxy_from(&[("HTTPS_PROXY", "http://p"), ("NO_PROXY", "localhost, corp.test ,.x.test,")])
            .unwrap()
            .unwrap();
        for (host, direct) in [
            ("corp.test", true),
            ("api.corp.test", true),
            ("othercorp.test", false),
            ("a.x.test", true),
            ("x.test", false),
            ("y.test", false),
        ] {
            let uri: Uri = format!("https://{host}/a").parse().unwrap();
            assert_eq!(proxy.is_no_proxy(&uri), direct, "{host}");
        }
    }
}
