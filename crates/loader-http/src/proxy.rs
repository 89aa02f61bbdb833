//! The proxy that the environment names.

use crate::Error;
use ureq::{Proxy, ProxyProtocol};

/// In the order of what is asked: nearly all of it goes by https.
const PROXY: [&str; 6] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy"];
const NO_PROXY: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// The proxy of the first variable that is set, with the hosts that are reached
/// without it. ureq would pass over one that it cannot read, without a word.
///
/// # Errors
/// [`Error::Config`]: it is no URL of a proxy. The message names the variable, not its
/// value, which may hold a password.
pub(crate) fn from_env(var: impl Fn(&str) -> Option<String>) -> Result<Option<Proxy>, Error> {
    let first = |names: &[&'static str]| {
        let set = |name: &&'static str| Some((*name, var(name).filter(|value| !value.trim().is_empty())?));
        names.iter().find_map(set)
    };
    let Some((name, url)) = first(&PROXY) else { return Ok(None) };
    let unusable = || Error::config(format!("{name} is no usable URL of a proxy"));
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
        // A domain stands for what is below it too, as for curl.
        if !host.starts_with(['.', '*']) {
            proxy = proxy.no_proxy(&format!(".{host}"));
        }
    }
    proxy.build().map(Some).map_err(|_| unusable())
}

/// Passes where a request can go through `proxy`.
///
/// # Errors
/// [`Error::Config`]: ureq, as it is built here, would go around it without a word.
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

    fn of(vars: &[(&str, &str)]) -> Result<Option<Proxy>, Error> {
        from_env(|name| vars.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn the_proxy_of_https_is_first_and_keeps_its_password() {
        let all = ("ALL_PROXY", "socks5://s:1");
        let proxy = of(&[all, ("HTTPS_PROXY", "http://u%40x:p%3a@proxy.test:3128")]).unwrap().unwrap();
        assert_eq!((proxy.host(), proxy.port()), ("proxy.test", 3128));
        assert_eq!((proxy.username(), proxy.password()), (Some("u@x"), Some("p:")));
        assert!(check(&proxy).is_ok());
        assert!(check(&of(&[all, ("HTTPS_PROXY", " ")]).unwrap().unwrap()).is_err());
        assert_eq!(of(&[("http_proxy", "proxy.test")]).unwrap().unwrap().port(), 80);
        assert!(of(&[]).unwrap().is_none());
    }

    #[test]
    fn one_that_cannot_be_read_is_refused_by_its_name() {
        for url in ["htpp://proxy", "http://user:pa ss@proxy", "http://"] {
            let error = of(&[("https_proxy", url), ("http_proxy", "http://other")]).unwrap_err().to_string();
            assert!(error.contains("https_proxy") && !error.contains("pa ss"), "{error}");
        }
    }

    #[test]
    fn hosts_without_a_proxy_may_stand_with_spaces_and_for_their_domain() {
        let proxy =
            of(&[("HTTPS_PROXY", "http://p"), ("NO_PROXY", "localhost, corp.test ,.x.test,")]).unwrap().unwrap();
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
