//! One request and its answer, with at most one fault.

use super::head::{Chunks, Framing, Head, Unframed};
use super::log::FaultLog;
use super::rule::{Kind, Rule, Side};
use super::wire::{Wire, ended};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

/// What stands before the ETag of an object that is said to have changed.
const NEW: &str = "\"new-";

/// An ETag that no object has.
const NO_ETAG: &str = "\"none\"";

/// Bytes of a range that is not sent whole.
const LESS: u64 = 64 << 10;

/// The body of an answer that is an error in spite of its status.
const LATE_ERROR: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>InternalError</Code>\
                          <Message>We encountered an internal error. Please try again.</Message></Error>";

/// The body of the answer to a part without a checksum.
const NO_CHECKSUM: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>InvalidRequest</Code>\
                           <Message>Content-MD5 or x-amz-checksum- header is required</Message></Error>";

/// Path of a ticket on the port that redirects lead to.
const TICKET: &str = "/ticket/";

/// A client's connection and the one to the server behind it.
pub(crate) struct Connection<'a> {
    pub(crate) log: &'a FaultLog,
    pub(crate) side: Side,
    pub(crate) client: &'a TcpStream,
    pub(crate) requests: BufReader<&'a TcpStream>,
    pub(crate) server: SocketAddr,
    /// The port that redirects lead to; `None` where this is it.
    pub(crate) elsewhere: Option<SocketAddr>,
    pub(crate) upstream: Option<BufReader<TcpStream>>,
}

impl Connection<'_> {
    fn wire(&self) -> Wire<'_> {
        Wire { stream: self.client, log: self.log, side: self.side }
    }

    /// Serves the next request; `false` where the connection has come to its end.
    ///
    /// # Errors
    /// A fault that ended it, or what the system says.
    pub(crate) fn next(&mut self) -> io::Result<bool> {
        let Some(mut request) = Head::read(&mut self.requests)? else { return Ok(false) };
        let rule = match self.elsewhere {
            Some(_) => self.log.take(self.side, request.word(0)),
            None => {
                request = self.redeem(&request)?;
                None
            }
        };
        if request.get("expect").is_some() {
            self.wire().write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            request.remove("expect");
        }
        if let Some((answer, body)) = rule.as_ref().and_then(|rule| self.without_server(rule, &request)) {
            let framing = request.request_body();
            let read = io::copy(&mut Unframed::new(&mut self.requests, framing), &mut io::sink())?;
            self.log.add_received(self.side, read);
            answer.write(&mut self.wire())?;
            if request.word(0) != "HEAD" {
                self.wire().write_all(body.as_bytes())?;
            }
            return Ok(true);
        }
        let rewritten = rule.as_ref().is_some_and(|rule| rewrite(rule, &mut request));
        self.forward(&request, rule.as_ref())?;
        let Some(upstream) = &mut self.upstream else { return Ok(false) };
        let Some(mut answer) = Head::read(upstream)? else { return Ok(false) };
        while answer.status() == 100 {
            answer = Head::read(upstream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        }
        if rewritten && let Some(etag) = answer.get("etag").map(|etag| etag.replacen('"', NEW, 1)) {
            answer.set("ETag", &etag);
        }
        self.give(&request, answer, rule.as_ref())
    }

    /// The request that was sent elsewhere under this ticket.
    fn redeem(&self, request: &Head) -> io::Result<Head> {
        if request.get("authorization").is_some() || request.get("x-amz-date").is_some() {
            self.log.add_leak();
        }
        let ticket = request.word(1).strip_prefix(TICKET).and_then(|number| number.parse().ok());
        let head = ticket.and_then(|number| self.log.redeem(number)).ok_or_else(ended)?;
        Head::read(&mut &head[..])?.ok_or_else(ended)
    }

    /// The answer that is made without asking the server, with its body.
    fn without_server(&self, rule: &Rule, request: &Head) -> Option<(Head, &'static str)> {
        let mut answer = Head::new("HTTP/1.1 307 Temporary Redirect");
        let body = match rule.kind {
            Kind::LateError => LATE_ERROR,
            Kind::NoChecksum if request.word(0) == "PUT" && !request.has_checksum() => NO_CHECKSUM,
            _ => "",
        };
        answer.set("Content-Length", &body.len().to_string());
        match rule.kind {
            Kind::LateError => answer.first = "HTTP/1.1 200 OK".to_owned(),
            Kind::NoChecksum if !body.is_empty() => answer.first = "HTTP/1.1 400 Bad Request".to_owned(),
            Kind::OtherRegion => {
                answer.first = "HTTP/1.1 301 Moved Permanently".to_owned();
                answer.set("x-amz-bucket-region", "eu-west-1");
            }
            Kind::Status(status) => {
                answer.first = format!("HTTP/1.1 {status} Fault");
                if let Some(wait) = rule.retry_after {
                    answer.set("Retry-After", &wait.as_secs().to_string());
                }
            }
            Kind::Redirect => {
                let mut head = Vec::new();
                request.write(&mut head).ok()?;
                let ticket = self.log.issue(head);
                answer.set("Location", &format!("http://{}{TICKET}{ticket}", self.elsewhere?));
            }
            Kind::RedirectLoop => {
                let own = self.client.local_addr().ok()?;
                answer.set("Location", &format!("http://{own}{}", request.word(1)));
            }
            _ => return None,
        }
        Some((answer, body))
    }

    /// Sends the request to the server, cut where the rule says so.
    fn forward(&mut self, request: &Head, rule: Option<&Rule>) -> io::Result<()> {
        if self.upstream.is_none() {
            let stream = TcpStream::connect(self.server)?;
            stream.set_nodelay(true)?;
            self.upstream = Some(BufReader::with_capacity(64 * 1024, stream));
        }
        let Some(upstream) = &self.upstream else { return Ok(()) };
        let mut to = upstream.get_ref();
        request.write(&mut to)?;
        let mut wire = Wire { stream: self.client, log: self.log, side: self.side };
        let framing = request.request_body();
        let mut body = Unframed::new(&mut self.requests, framing);
        let upload = rule.filter(|rule| matches!(rule.kind, Kind::ResetUpload | Kind::StallUpload));
        let cut = upload.map(|rule| Rule { at: Some(rule.at.unwrap_or(0)), ..rule.clone() });
        let mut chunks = Chunks(to);
        wire.pass(&mut body, cut.as_ref(), |wire, piece| {
            wire.log.add_received(wire.side, piece.len() as u64);
            match framing {
                Framing::Chunked => chunks.write_all(piece),
                _ => to.write_all(piece),
            }
        })?;
        if framing == Framing::Chunked { chunks.end() } else { Ok(()) }
    }

    /// Sends the answer to the client, as the rule spoils it.
    fn give(&mut self, request: &Head, mut answer: Head, rule: Option<&Rule>) -> io::Result<bool> {
        let mut wire = Wire { stream: self.client, log: self.log, side: self.side };
        let framing = answer.answer_body(request.word(0));
        let has_body = framing != Framing::Length(0);
        let down = rule.filter(|rule| matches!(rule.kind, Kind::Reset | Kind::Short | Kind::Stall | Kind::Trickle));
        if let Some(rule) = down.filter(|rule| rule.at.is_none()) {
            wire.hit(rule)?;
        }
        let kind = rule.map(|rule| rule.kind);
        if kind == Some(Kind::WrongRange)
            && let Some(moved) = answer.get("content-range").and_then(moved)
        {
            answer.set("Content-Range", &moved);
        }
        match kind {
            Some(Kind::NoEtag) => answer.remove("etag"),
            Some(Kind::WeakEtag) => answer.change("etag", |etag| Some(format!("W/{etag}"))),
            Some(Kind::BareEtag) => answer.change("etag", |etag| Some(etag.replace('"', ""))),
            Some(Kind::NoTotal) => {
                answer.change("content-range", |range| Some(format!("{}/*", range.split('/').next()?)))
            }
            _ => {}
        }
        let Some(upstream) = &mut self.upstream else { return Ok(false) };
        let mut body = Unframed::new(upstream, framing);
        if kind == Some(Kind::NoLength) && (has_body || request.word(0) == "HEAD") {
            answer.remove("content-length");
            if has_body {
                answer.set("Transfer-Encoding", "chunked");
            }
            answer.write(&mut wire)?;
            if has_body {
                io::copy(&mut body, &mut Chunks(&mut wire))?;
                Chunks(&mut wire).end()?;
            }
            return Ok(true);
        }
        if kind == Some(Kind::BareEtag) && answer.get("content-type").is_some_and(|kind| kind.contains("xml")) {
            let mut text = String::new();
            body.read_to_string(&mut text)?;
            let text = text.replace("&quot;", "").replace("<ETag>\"", "<ETag>").replace("\"</ETag>", "</ETag>");
            answer.remove("transfer-encoding");
            answer.set("Content-Length", &text.len().to_string());
            answer.write(&mut wire)?;
            wire.write_all(text.as_bytes())?;
            return Ok(true);
        }
        if kind == Some(Kind::Less)
            && let Some((range, len)) =
                answer.get("content-range").and_then(|range| first_of(range, rule?.at.unwrap_or(LESS)))
        {
            answer.set("Content-Range", &range);
            answer.set("Content-Length", &len.to_string());
            answer.write(&mut wire)?;
            io::copy(&mut body.by_ref().take(len), &mut wire)?;
            io::copy(&mut body, &mut io::sink())?;
            return Ok(true);
        }
        if kind == Some(Kind::Gzip) && has_body {
            answer.remove("content-length");
            answer.set("Content-Encoding", "gzip");
            answer.set("Transfer-Encoding", "chunked");
            answer.write(&mut wire)?;
            let mut encoder = GzEncoder::new(Chunks(&mut wire), Compression::fast());
            io::copy(&mut body, &mut encoder)?;
            encoder.finish()?.end()?;
            return Ok(true);
        }
        answer.write(&mut wire)?;
        if framing == Framing::Chunked {
            wire.pass(&mut body, down, |wire, piece| Chunks(wire).write_all(piece))?;
            Chunks(&mut wire).end()?;
        } else {
            let mut flip = rule.filter(|rule| rule.kind == Kind::Flip).map(|rule| rule.at.unwrap_or(0));
            wire.pass(&mut body, down, |wire, piece| {
                let mut piece = piece.to_vec();
                flip = flip.and_then(|at| match usize::try_from(at).ok().and_then(|at| piece.get_mut(at)) {
                    Some(byte) => {
                        *byte ^= 1;
                        None
                    }
                    None => at.checked_sub(piece.len() as u64),
                });
                wire.write_all(&piece)
            })?;
        }
        let closes = answer.get("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        if closes || framing == Framing::ToEnd {
            self.upstream = None;
            return Ok(false);
        }
        Ok(true)
    }

    /// Passes bytes on that cannot be read, TLS for one, in both directions.
    ///
    /// # Errors
    /// A fault that ended it, or what the system says.
    pub(crate) fn tunnel(&mut self) -> io::Result<()> {
        let rule = self.log.take(self.side, "CONNECT");
        let server = TcpStream::connect(self.server)?;
        server.set_nodelay(true)?;
        let (mut from_client, mut to_server) = (self.client.try_clone()?, server.try_clone()?);
        std::thread::Builder::new().spawn(move || {
            let _ = io::copy(&mut from_client, &mut to_server);
            let _ = to_server.shutdown(Shutdown::Write);
        })?;
        let mut server = server;
        let passed = self.wire().pass(&mut server, rule.as_ref(), |wire, piece| wire.write_all(piece));
        // Ends the other direction, whose handle would keep the connection open.
        let _ = self.client.shutdown(Shutdown::Read);
        passed
    }
}

/// Changes a request so that the server's answer is spoiled; `true` where the
/// ETag of the answer is to be another.
fn rewrite(rule: &Rule, request: &mut Head) -> bool {
    match rule.kind {
        Kind::IgnoreRange => {
            // The range is part of the signature, so it stays, and does not apply.
            if request.get("range").is_some() {
                request.set("If-Range", NO_ETAG);
            }
            false
        }
        Kind::NewEtag => {
            if let Some(if_range) = request.get("if-range").map(str::to_owned) {
                let known = if_range.strip_prefix(NEW).map_or(NO_ETAG.to_owned(), |rest| format!("\"{rest}"));
                request.set("If-Range", &known);
            }
            true
        }
        _ => false,
    }
}

/// The first `len` bytes of `bytes FIRST-LAST/TOTAL`, and how many there are.
fn first_of(range: &str, len: u64) -> Option<(String, u64)> {
    let (first, rest) = range.strip_prefix("bytes ")?.split_once('-')?;
    let (last, total) = rest.split_once('/')?;
    let (first, last) = (first.parse::<u64>().ok()?, last.parse::<u64>().ok()?);
    let last = last.min(first + len - 1);
    Some((format!("bytes {first}-{last}/{total}"), last + 1 - first))
}

/// `bytes FIRST-LAST/TOTAL`, one byte further on.
fn moved(range: &str) -> Option<String> {
    let (first, rest) = range.strip_prefix("bytes ")?.split_once('-')?;
    let (last, total) = rest.split_once('/')?;
    Some(format!("bytes {}-{}/{total}", first.parse::<u64>().ok()? + 1, last.parse::<u64>().ok()? + 1))
}
