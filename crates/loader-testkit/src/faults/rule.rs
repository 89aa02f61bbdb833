//! The text that describes faults.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// What is done to requests, by rules of which the first that applies counts.
///
/// ```text
/// faults = rule *(";" rule)
/// rule   = kind ["@" size] *("," option)
/// size   = number ["K" | "M" | "G"], also written KiB, MiB, GiB; powers of 1024
/// ```
///
/// `@size` counts bytes of an answer's body, of a request's for the `-upload`
/// kinds, and of the connection over TLS, which is passed on unopened. Without it
/// the answer is lost, head and all, after the server has made it.
///
/// | kind | what happens |
/// | --- | --- |
/// | `reset` | the connection is reset |
/// | `short` | the connection ends in order, before the announced length; over TLS without close_notify |
/// | `stall` | nothing more comes, and the connection stays |
/// | `trickle` | the rest comes at `rate` |
/// | `reset-upload`, `stall-upload` | the same on the way to the server, which sees a request that is cut |
/// | `400` to `599` | that status without the server, with `retry-after` where it is given |
/// | `wrong-range` | `Content-Range` is off by one |
/// | `ignore-range` | the whole object comes with 200 where a range was asked for |
/// | `new-etag` | the object has another ETag, also for `If-Range` |
/// | `no-etag`, `weak-etag`, `bare-etag` | the ETag is absent, weak, or without quotes, the last also in a list of parts |
/// | `no-length` | the body comes in chunks, without `Content-Length` |
/// | `no-total` | `Content-Range` does not name the size of the object |
/// | `less` | a range gets its first bytes only, 64K or `@size` |
/// | `flip` | one bit of the body, its first or the one at `@size`, is changed |
/// | `no-checksum` | a PUT without `x-amz-checksum-…` or `Content-MD5` gets 400, as with Object Lock |
/// | `late-error` | 200 without the server, with `InternalError` in the body |
/// | `other-region` | 301 without `Location`, which names the region eu-west-1 |
/// | `redirect` | 307 to another port, which gives the object without secrets and counts any that come |
/// | `redirect-loop` | 307 to the same URL |
/// | `gzip` | the body is encoded though nobody asked |
/// | `mix` | rules picked by `seed` |
///
/// | option | of the requests that fit a rule |
/// | --- | --- |
/// | `every=N` | it takes each Nth; 1 |
/// | `after=N` | it leaves the first N alone; 0 |
/// | `times=N` | it takes N at most |
/// | `on=api`, `on=cdn` | it fits those to one server |
/// | `method=NAME` | it fits those with this method |
/// | `rate=SIZE` | bytes a second of a trickle; 64K |
/// | `retry-after=N` | seconds |
/// | `seed=N` | of a mix |
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults(pub(crate) Vec<Rule>);

/// What a text of faults cannot mean.
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
pub(crate) enum Kind {
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
    Less,
    Flip,
    NoChecksum,
    LateError,
    OtherRegion,
}

const NAMES: [(&str, Kind); 22] = [
    ("reset", Kind::Reset),
    ("short", Kind::Short),
    ("stall", Kind::Stall),
    ("trickle", Kind::Trickle),
    ("reset-upload", Kind::ResetUpload),
    ("stall-upload", Kind::StallUpload),
    ("wrong-range", Kind::WrongRange),
    ("ignore-range", Kind::IgnoreRange),
    ("new-etag", Kind::NewEtag),
    ("redirect", Kind::Redirect),
    ("redirect-loop", Kind::RedirectLoop),
    ("gzip", Kind::Gzip),
    ("no-etag", Kind::NoEtag),
    ("weak-etag", Kind::WeakEtag),
    ("bare-etag", Kind::BareEtag),
    ("no-length", Kind::NoLength),
    ("no-total", Kind::NoTotal),
    ("less", Kind::Less),
    ("flip", Kind::Flip),
    ("no-checksum", Kind::NoChecksum),
    ("late-error", Kind::LateError),
    ("other-region", Kind::OtherRegion),
];

/// Bytes a second of a trickle.
const RATE: u64 = 64 << 10;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) kind: Kind,
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
    pub(crate) fn new(kind: Kind) -> Self {
        Self { kind, at: None, every: 1, after: 0, times: None, on: None, method: None, rate: RATE, retry_after: None }
    }

    /// True for a request that the rule is about.
    pub(crate) fn fits(&self, side: Side, method: &str) -> bool {
        self.on.is_none_or(|on| on == side) && self.method.as_deref().is_none_or(|wanted| wanted == method)
    }

    /// True where the rule takes request number `seen` of those that fit, counted
    /// from 0, having taken `taken` before.
    pub(crate) fn takes(&self, seen: u64, taken: u64) -> bool {
        let behind = seen.checked_sub(self.after);
        behind.is_some_and(|behind| (behind + 1).is_multiple_of(self.every))
            && self.times.is_none_or(|times| taken < times)
    }
}

impl FromStr for Faults {
    type Err = FaultsError;

    fn from_str(text: &str) -> Result<Self, FaultsError> {
        let mut rules = Vec::new();
        for text in text.split(';').map(str::trim).filter(|rule| !rule.is_empty()) {
            let fail = |why| FaultsError { rule: text.to_owned(), why };
            if let Some(seed) = text.strip_prefix("mix,seed=") {
                let seed = seed.parse().map_err(|_| fail("a mix needs its seed alone: mix,seed=7"))?;
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
    let kind = status.map(Kind::Status).or(known).ok_or("no such kind of fault")?;
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
            "on" => rule.on = Some(side(value).ok_or("on is api or cdn")?),
            "method" => rule.method = Some(value.to_owned()),
            _ => return Err("no such option"),
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

/// A size in the largest unit that it is a whole number of.
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
            Kind::Status(status) => write!(f, "{status}")?,
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
    fn what_is_written_is_read_again() {
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
    fn what_means_nothing_is_refused() {
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
    fn a_rule_takes_each_nth_behind_the_first_few() {
        let Faults(rules) = "reset,every=3,after=2,times=2".parse().unwrap();
        let mut taken = 0;
        let took: Vec<u64> = (0..20)
            .filter(|seen| {
                let takes = rules[0].takes(*seen, taken);
                taken += u64::from(takes);
                takes
            })
            .collect();
        assert_eq!(took, [4, 7]);
        assert!(rules[0].fits(Side::Api, "PUT"));
        let Faults(rules) = "reset,on=cdn,method=GET".parse().unwrap();
        assert!(
            !rules[0].fits(Side::Api, "GET") && !rules[0].fits(Side::Cdn, "PUT") && rules[0].fits(Side::Cdn, "GET")
        );
    }
}
