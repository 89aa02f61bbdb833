//! Fault rules and their text format.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Rules that inject faults into requests. The first rule that applies is used.
///
/// ```text
/// faults = rule *(";" rule)
/// rule   = kind ["@" size] *("," option)
/// size   = number ["K" | "M" | "G"], also written KiB, MiB, GiB; powers of 1024
/// ```
///
/// `@size` is an offset in bytes: in the response body, in the request body for the
/// `-upload` kinds, and in the encrypted stream for TLS. Without it the server processes
/// the request, but the complete response, including its header, is lost.
///
/// | kind | effect |
/// | --- | --- |
/// | `reset` | the connection is reset |
/// | `short` | the connection is closed normally before the announced length; over TLS without close_notify |
/// | `stall` | nothing more is sent, and the connection stays open |
/// | `trickle` | the rest is sent at `rate` |
/// | `reset-upload`, `stall-upload` | the same for the request body; the server receives a truncated request |
/// | `400` to `599` | response with that status without the server, with `retry-after` if given |
/// | `wrong-range` | `Content-Range` is off by one |
/// | `ignore-range` | 200 and the whole object for a range request |
/// | `new-etag` | the object has another ETag, also for `If-Range` |
/// | `no-etag`, `weak-etag`, `bare-etag` | the ETag is absent, weak, or without quotes, the last also in a list of parts |
/// | `no-length` | the body is chunked, without `Content-Length` |
/// | `no-total` | `Content-Range` does not contain the size of the object |
/// | `less` | a range is shortened to its first 64K or `@size` bytes |
/// | `flip` | one bit is flipped, in the first byte of the body or at `@size` |
/// | `no-checksum` | a PUT without `x-amz-checksum-…` or `Content-MD5` gets 400, as with Object Lock |
/// | `late-error` | 200 without the server, with `InternalError` in the body |
/// | `other-region` | 301 without `Location` and with the region eu-west-1 |
/// | `redirect` | 307 to another port, which serves the object without credentials and counts requests that contain secrets |
/// | `redirect-loop` | 307 to the same URL |
/// | `gzip` | the body is compressed although the client did not request it |
/// | `mix` | random rules from `seed` |
///
/// | option | effect; default |
/// | --- | --- |
/// | `every=N` | applies to every Nth matching request; 1 |
/// | `after=N` | skips the first N matching requests; 0 |
/// | `times=N` | applies to at most N requests |
/// | `on=api`, `on=cdn` | matches requests to one server |
/// | `method=NAME` | matches requests with this method |
/// | `rate=SIZE` | bytes per second of `trickle`; 64K |
/// | `retry-after=N` | seconds in `Retry-After` |
/// | `seed=N` | seed of `mix` |
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults(pub(crate) Vec<Rule>);

/// Invalid fault text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule:?}: {why}")]
pub struct FaultsError {
    rule: String,
    why: &'static str,
}

/// One of the two servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The HTTP API.
    Api,
    /// The S3 store.
    Cdn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultKind {
    Reset,
    Short,
    Stall,
    Trickle,
    ResetUpload,
    StallUpload,
    Status(u16),
    WrongRange,
    IgnoreRange,
    NewEtag,
    Redirect,
    RedirectLoop,
    Gzip,
    NoEtag,
    WeakEtag,
    BareEtag,
    NoLength,
    NoTotal,
    ShortRange,
    Flip,
    NoChecksum,
    LateError,
    OtherRegion,
}

const NAMES: [(&str, FaultKind); 22] = [
    ("reset", FaultKind::Reset),
    ("short", FaultKind::Short),
    ("stall", FaultKind::Stall),
    ("trickle", FaultKind::Trickle),
    ("reset-upload", FaultKind::ResetUpload),
    ("stall-upload", FaultKind::StallUpload),
    ("wrong-range", FaultKind::WrongRange),
    ("ignore-range", FaultKind::IgnoreRange),
    ("new-etag", FaultKind::NewEtag),
    ("redirect", FaultKind::Redirect),
    ("redirect-loop", FaultKind::RedirectLoop),
    ("gzip", FaultKind::Gzip),
    ("no-etag", FaultKind::NoEtag),
    ("weak-etag", FaultKind::WeakEtag),
    ("bare-etag", FaultKind::BareEtag),
    ("no-length", FaultKind::NoLength),
    ("no-total", FaultKind::NoTotal),
    ("less", FaultKind::ShortRange),
    ("flip", FaultKind::Flip),
    ("no-checksum", FaultKind::NoChecksum),
    ("late-error", FaultKind::LateError),
    ("other-region", FaultKind::OtherRegion),
];

/// Default rate of `trickle` in bytes per second.
const RATE: u64 = 64 << 10;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) kind: FaultKind,
    pub(crate) at: Option<u64>,
    pub(crate) every: u64,
    pub(crate) after: u64,
    pub(crate) times: Option<u64>,
    pub(crate) on: Option<Side>,
    pub(crate) method: Option<String>,
    pub(crate) rate: u64,
    pub(crate) retry_after: Option<Duration>,
}

impl Rule {
    pub(crate) fn new(kind: FaultKind) -> Self {
        Self { kind, at: None, every: 1, after: 0, times: None, on: None, method: None, rate: RATE, retry_after: None }
    }

    /// Returns true if the rule is for such requests.
    pub(crate) fn matches(&self, side: Side, method: &str) -> bool {
        self.on.is_none_or(|on| on == side) && self.method.as_deref().is_none_or(|wanted| wanted == method)
    }

    /// Returns true if the rule applies to matching request number `seen`, counted from
    /// 0, after it applied to `applied` requests.
    pub(crate) fn applies_to(&self, seen: u64, applied: u64) -> bool {
        let index = seen.checked_sub(self.after);
        index.is_some_and(|index| (index + 1).is_multiple_of(self.every))
            && self.times.is_none_or(|times| applied < times)
    }
}

impl FromStr for Faults {
    type Err = FaultsError;

    fn from_str(text: &str) -> Result<Self, FaultsError> {
        let mut rules = Vec::new();
        for text in text.split(';').map(str::trim).filter(|rule| !rule.is_empty()) {
            let fail = |why| FaultsError { rule: text.to_owned(), why };
            if let Some(seed) = text.strip_prefix("mix,seed=") {
                let seed = seed.parse().map_err(|_| fail("mix takes only a seed: mix,seed=7"))?;
                rules.extend(Self::mix(seed).0);
                continue;
            }
            rules.push(rule(text).map_err(fail)?);
        }
        Ok(Self(rules))
    }
}

fn rule(text: &str) -> Result<Rule, &'static str> {
    let mut parts = text.split(',').map(str::trim);
    let front = parts.next().unwrap_or_default();
    let (name, at) = front.split_once('@').map_or((front, None), |(name, at)| (name, Some(at)));
    let status = name.parse().ok().filter(|status| (400..600).contains(status));
    let known = NAMES.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind);
    let kind = status.map(FaultKind::Status).or(known).ok_or("unknown kind of fault")?;
    let mut rule = Rule::new(kind);
    rule.at = at.map(|at| size(at).ok_or("@ needs a size, such as 3MiB")).transpose()?;
    for part in parts {
        let (key, value) = part.split_once('=').ok_or("an option is written key=value")?;
        let number = value.parse::<u32>().map(u64::from).map_err(|_| "the option needs a number");
        match key {
            "every" => rule.every = number.ok().filter(|every| *every > 0).ok_or("every needs a number from 1")?,
            "after" => rule.after = number?,
            "times" => rule.times = Some(number?),
            "rate" => rule.rate = size(value).filter(|rate| *rate > 0).ok_or("rate needs a size, such as 64K")?,
            "retry-after" => rule.retry_after = Some(Duration::from_secs(number?)),
            "on" => rule.on = Some(side(value).ok_or("on must be api or cdn")?),
            "method" => rule.method = Some(value.to_owned()),
            _ => return Err("unknown option"),
        }
    }
    Ok(rule)
}

fn side(text: &str) -> Option<Side> {
    [Side::Api, Side::Cdn].into_iter().find(|side| side.to_string() == text)
}

fn size(text: &str) -> Option<u64> {
    let text = text.strip_suffix("iB").unwrap_or(text);
    let units = [('K', 10), ('M', 20), ('G', 30)];
    let unit = units.into_iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, shift)));
    let (digits, shift) = unit.unwrap_or((text, 0));
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// Writes a size in the largest unit that divides it.
fn write_size(f: &mut fmt::Formatter<'_>, size: u64) -> fmt::Result {
    match size {
        1.. if size.is_multiple_of(1 << 20) => write!(f, "{}MiB", size >> 20),
        1.. if size.is_multiple_of(1 << 10) => write!(f, "{}KiB", size >> 10),
        _ => write!(f, "{size}"),
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Api => "api",
            Self::Cdn => "cdn",
        })
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, rule) in self.0.iter().enumerate() {
            f.write_str(if i > 0 { ";" } else { "" })?;
            rule.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            FaultKind::Status(status) => write!(f, "{status}")?,
            kind => f.write_str(NAMES.iter().find(|(_, known)| *known == kind).map_or("", |(name, _)| name))?,
        }
        if let Some(at) = self.at {
            f.write_str("@")?;
            write_size(f, at)?;
        }
        for (key, value, usual) in [("every", self.every, 1), ("after", self.after, 0)] {
            if value != usual {
                write!(f, ",{key}={value}")?;
            }
        }
        if let Some(times) = self.times {
            write!(f, ",times={times}")?;
        }
        if let Some(on) = self.on {
            write!(f, ",on={on}")?;
        }
        if let Some(method) = &self.method {
            write!(f, ",method={method}")?;
        }
        if self.rate != RATE {
            f.write_str(",rate=")?;
            write_size(f, self.rate)?;
        }
        self.retry_after.map_or(Ok(()), |wait| write!(f, ",retry-after={}", wait.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn displayed_faults_parse_to_the_same_faults() {
        for text in [
            "reset@3MiB,every=2",
            "503,after=1,times=2,retry-after=1;trickle@100,rate=8KiB",
            "short;stall@0,on=cdn,method=GET;reset-upload@5KiB,on=api",
        ] {
            assert_eq!(text.parse::<Faults>().unwrap().to_string(), text);
        }
        assert_eq!("reset@2M ; gzip".parse::<Faults>().unwrap().to_string(), "reset@2MiB;gzip");
        assert_eq!("".parse::<Faults>().unwrap(), Faults::default());
        for seed in 0..500 {
            let mix = Faults::mix(seed);
            assert_eq!(mix.to_string().parse::<Faults>().unwrap(), mix, "{seed}");
            assert_eq!(format!("mix,seed={seed}").parse::<Faults>().unwrap(), mix);
        }
    }

    #[test]
    fn invalid_faults_are_refused() {
        for (text, why) in [
            ("rest", "kind"),
            ("302", "kind"),
            ("reset@", "size"),
            ("reset@x", "size"),
            ("reset,every=0", "from 1"),
            ("reset,every", "key=value"),
            ("reset,colour=red", "option"),
            ("reset,on=disk", "api or cdn"),
            ("trickle,rate=0", "rate"),
            ("mix", "kind"),
            ("mix,seed=x", "seed"),
        ] {
            let error = text.parse::<Faults>().unwrap_err().to_string();
            assert!(error.contains(why) && error.contains(text), "{error}");
        }
    }

    #[test]
    fn a_rule_applies_to_every_nth_request_after_the_first() {
        let Faults(rules) = "reset,every=3,after=2,times=2".parse().unwrap();
        let mut applied = 0;
        let selected: Vec<u64> = (0..20)
            .filter(|seen| {
                let applies = rules[0].applies_to(*seen, applied);
                applied += u64::from(applies);
                applies
            })
            .collect();
        assert_eq!(selected, [4, 7]);
        assert!(rules[0].matches(Side::Api, "PUT"));
        let Faults(rules) = "reset,on=cdn,method=GET".parse().unwrap();
        assert!(
            !rules[0].matches(Side::Api, "GET")
                && !rules[0].matches(Side::Cdn, "PUT")
                && rules[0].matches(Side::Cdn, "GET")
        );
    }
}
