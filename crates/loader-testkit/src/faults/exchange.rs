//! One request and its response, with at most one fault.

use super::head::{BodyFraming, BodyReader, ChunkedWriter, Head};
use super::log::FaultLog;
use super::rule::{FaultKind, Rule, Side};
use super::wire::{ClientStream, ended_by_fault};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

/// Prefix for the ETag of an object that is presented as changed.
const NEW_ETAG_PREFIX: &str = "\"new-";

/// ETag that no object has.
const NO_ETAG: &str = "\"none\"";

/// Default length in bytes of a shortened range.
const SHORT_RANGE_LEN: u64 = 64 << 10;

/// Error body of a response with status 200.
const LATE_ERROR: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>InternalError</Code>\
                          <Message>We encountered an internal error. Please try again.</Message></Error>";

/// Error body for a part without a checksum.
const NO_CHECKSUM: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>InvalidRequest</Code>\
                           <Message>Content-MD5 or x-amz-checksum- header is required</Message></Error>";

/// Path prefix of a ticket on the redirect port.
const TICKET: &str = "/ticket/";

/// Connections to a client and to the server.
pub(crate) struct Connection<'a> {
    pub(crate) log: &'a FaultLog,
    pub(crate) side: Side,
    pub(crate) client: &'a TcpStream,
    pub(crate) requests: BufReader<&'a TcpStream>,
    pub(crate) server: SocketAddr,
    /// Port that redirects point to; `None` if this connection is on that port.
    pub(crate) redirect_port: Option<SocketAddr>,
    pub(crate) upstream: Option<BufReader<TcpStream>>,
}

impl Connection<'_> {
    fn wire(&self) -> ClientStream<'_> {
        ClientStream { stream: self.client, log: self.log, side: self.side }
    }

    /// Serves the next request. Returns `false` at the end of the connection.
    ///
    /// # Errors
    /// A fault that ended the connection, or an I/O error.
    pub(crate) fn next(&mut self) -> io::Result<bool> {
        let Some(mut request) = Head::read(&mut self.requests)? else { return Ok(false) };
        let rule = match self.redirect_port {
            Some(_) => self.log.select_rule(self.side, request.word(0)),
            None => {
                request = self.redeem(&request)?;
                None
            }
        };
        if request.get("expect").is_some() {
            self.wire().write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            request.remove("expect");
        }
        if let Some((response, body)) = rule.as_ref().and_then(|rule| self.generated_response(rule, &request)) {
            let framing = request.request_body();
            let read = io::copy(&mut BodyReader::new(&mut self.requests, framing), &mut io::sink())?;
            self.log.add_received(self.side, read);
            response.write(&mut self.wire())?;
            if request.word(0) != "HEAD" {
                self.wire().write_all(body.as_bytes())?;
            }
            return Ok(true);
        }
        let rewritten = rule.as_ref().is_some_and(|rule| rewrite(rule, &mut request));
        self.forward(&request, rule.as_ref())?;
        let Some(upstream) = &mut self.upstream else { return Ok(false) };
        let Some(mut response) = Head::read(upstream)? else { return Ok(false) };
        while response.status() == 100 {
            response = Head::read(upstream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        }
        if rewritten && let Some(etag) = response.get("etag").map(|etag| etag.replacen('"', NEW_ETAG_PREFIX, 1)) {
            response.set("ETag", &etag);
        }
        self.send_response(&request, response, rule.as_ref())
    }

    /// Returns the redirected request for the ticket in `request`.
    fn redeem(&self, request: &Head) -> io::Result<Head> {
        if request.get("authorization").is_some() || request.get("x-amz-date").is_some() {
            self.log.add_leak();
        }
        let ticket = request.word(1).strip_prefix(TICKET).and_then(|number| number.parse().ok());
        let head = ticket.and_then(|number| self.log.redeem(number)).ok_or_else(ended_by_fault)?;
        Head::read(&mut &head[..])?.ok_or_else(ended_by_fault)
    }

    /// Returns a response that is generated without the server, with its body.
    fn generated_response(&self, rule: &Rule, request: &Head) -> Option<(Head, &'static str)> {
        let mut response = Head::new("HTTP/1.1 307 Temporary Redirect");
        let body = match rule.kind {
            FaultKind::LateError => LATE_ERROR,
            FaultKind::NoChecksum if request.word(0) == "PUT" && !request.has_checksum() => NO_CHECKSUM,
            _ => "",
        };
        response.set("Content-Length", &body.len().to_string());
        match rule.kind {
            FaultKind::LateError => response.first = "HTTP/1.1 200 OK".to_owned(),
            FaultKind::NoChecksum if !body.is_empty() => response.first = "HTTP/1.1 400 Bad Request".to_owned(),
            FaultKind::OtherRegion => {
                response.first = "HTTP/1.1 301 Moved Permanently".to_owned();
                response.set("x-amz-bucket-region", "eu-west-1");
            }
            FaultKind::Status(status) => {
                response.first = format!("HTTP/1.1 {status} Fault");
                if let Some(wait) = rule.retry_after {
                    response.set("Retry-After", &wait.as_secs().to_string());
                }
            }
            FaultKind::Redirect => {
                let mut head = Vec::new();
                request.write(&mut head).ok()?;
                let ticket = self.log.issue(head);
                response.set("Location", &format!("http://{}{TICKET}{ticket}", self.redirect_port?));
            }
            FaultKind::RedirectLoop => {
                let own = self.client.local_addr().ok()?;
                response.set("Location", &format!("http://{own}{}", request.word(1)));
            }
            _ => return None,
        }
        Some((response, body))
    }

    /// Sends the request to the server, truncated if the rule says so.
    fn forward(&mut self, request: &Head, rule: Option<&Rule>) -> io::Result<()> {
        if self.upstream.is_none() {
            let stream = TcpStream::connect(self.server)?;
            stream.set_nodelay(true)?;
            self.upstream = Some(BufReader::with_capacity(64 * 1024, stream));
        }
        let Some(upstream) = &self.upstream else { return Ok(()) };
        let mut to = upstream.get_ref();
        request.write(&mut to)?;
        let mut wire = ClientStream { stream: self.client, log: self.log, side: self.side };
        let framing = request.request_body();
        let mut body = BodyReader::new(&mut self.requests, framing);
        let upload = rule.filter(|rule| matches!(rule.kind, FaultKind::ResetUpload | FaultKind::StallUpload));
        let cut = upload.map(|rule| Rule { at: Some(rule.at.unwrap_or(0)), ..rule.clone() });
        let mut chunks = ChunkedWriter(to);
        wire.copy_with_fault(&mut body, cut.as_ref(), |wire, piece| {
            wire.log.add_received(wire.side, piece.len() as u64);
            match framing {
                BodyFraming::Chunked => chunks.write_all(piece),
                _ => to.write_all(piece),
            }
        })?;
        if framing == BodyFraming::Chunked { chunks.end() } else { Ok(()) }
    }

    /// Sends the response to the client with the fault of the rule.
    fn send_response(&mut self, request: &Head, mut response: Head, rule: Option<&Rule>) -> io::Result<bool> {
        let mut wire = ClientStream { stream: self.client, log: self.log, side: self.side };
        let framing = response.response_body(request.word(0));
        let has_body = framing != BodyFraming::Length(0);
        let down = rule.filter(|rule| {
            matches!(rule.kind, FaultKind::Reset | FaultKind::Short | FaultKind::Stall | FaultKind::Trickle)
        });
        if let Some(rule) = down.filter(|rule| rule.at.is_none()) {
            wire.inject(rule)?;
        }
        let kind = rule.map(|rule| rule.kind);
        if kind == Some(FaultKind::WrongRange)
            && let Some(moved) = response.get("content-range").and_then(shift_range)
        {
            response.set("Content-Range", &moved);
        }
        match kind {
            Some(FaultKind::NoEtag) => response.remove("etag"),
            Some(FaultKind::WeakEtag) => response.change("etag", |etag| Some(format!("W/{etag}"))),
            Some(FaultKind::BareEtag) => response.change("etag", |etag| Some(etag.replace('"', ""))),
            Some(FaultKind::NoTotal) => {
                response.change("content-range", |range| Some(format!("{}/*", range.split('/').next()?)))
            }
            _ => {}
        }
        let Some(upstream) = &mut self.upstream else { return Ok(false) };
        let mut body = BodyReader::new(upstream, framing);
        if kind == Some(FaultKind::NoLength) && (has_body || request.word(0) == "HEAD") {
            response.remove("content-length");
            if has_body {
                response.set("Transfer-Encoding", "chunked");
            }
            response.write(&mut wire)?;
            if has_body {
                io::copy(&mut body, &mut ChunkedWriter(&mut wire))?;
                ChunkedWriter(&mut wire).end()?;
            }
            return Ok(true);
        }
        if kind == Some(FaultKind::BareEtag) && response.get("content-type").is_some_and(|kind| kind.contains("xml")) {
            let mut text = String::new();
            body.read_to_string(&mut text)?;
            let text = text.replace("&quot;", "").replace("<ETag>\"", "<ETag>").replace("\"</ETag>", "</ETag>");
            response.remove("transfer-encoding");
            response.set("Content-Length", &text.len().to_string());
            response.write(&mut wire)?;
            wire.write_all(text.as_bytes())?;
            return Ok(true);
        }
        if kind == Some(FaultKind::ShortRange)
            && let Some((range, len)) = response
                .get("content-range")
                .and_then(|range| shorten_range(range, rule?.at.unwrap_or(SHORT_RANGE_LEN)))
        {
            response.set("Content-Range", &range);
            response.set("Content-Length", &len.to_string());
            response.write(&mut wire)?;
            io::copy(&mut body.by_ref().take(len), &mut wire)?;
            io::copy(&mut body, &mut io::sink())?;
            return Ok(true);
        }
        if kind == Some(FaultKind::Gzip) && has_body {
            response.remove("content-length");
            response.set("Content-Encoding", "gzip");
            response.set("Transfer-Encoding", "chunked");
            response.write(&mut wire)?;
            let mut encoder = GzEncoder::new(ChunkedWriter(&mut wire), Compression::fast());
            io::copy(&mut body, &mut encoder)?;
            encoder.finish()?.end()?;
            return Ok(true);
        }
        response.write(&mut wire)?;
        if framing == BodyFraming::Chunked {
            wire.copy_with_fault(&mut body, down, |wire, piece| ChunkedWriter(wire).write_all(piece))?;
            ChunkedWriter(&mut wire).end()?;
        } else {
            let mut flip = rule.filter(|rule| rule.kind == FaultKind::Flip).map(|rule| rule.at.unwrap_or(0));
            wire.copy_with_fault(&mut body, down, |wire, piece| {
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
        let closes = response.get("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        if closes || framing == BodyFraming::ToEnd {
            self.upstream = None;
            return Ok(false);
        }
        Ok(true)
    }

    /// Forwards the bytes of a TLS connection in both directions without decrypting them.
    ///
    /// # Errors
    /// A fault that ended the connection, or an I/O error.
    pub(crate) fn tunnel(&mut self) -> io::Result<()> {
        let rule = self.log.select_rule(self.side, "CONNECT");
        let server = TcpStream::connect(self.server)?;
        server.set_nodelay(true)?;
        let (mut from_client, mut to_server) = (self.client.try_clone()?, server.try_clone()?);
        std::thread::Builder::new().spawn(move || {
            let _ = io::copy(&mut from_client, &mut to_server);
            let _ = to_server.shutdown(Shutdown::Write);
        })?;
        let mut server = server;
        let passed = self.wire().copy_with_fault(&mut server, rule.as_ref(), |wire, piece| wire.write_all(piece));
        // Ends the thread of the other direction, which keeps the connection open.
        let _ = self.client.shutdown(Shutdown::Read);
        passed
    }
}

/// Changes a request to provoke a faulty response. Returns `true` if the ETag of the
/// response must be replaced.
fn rewrite(rule: &Rule, request: &mut Head) -> bool {
    match rule.kind {
        FaultKind::IgnoreRange => {
            // Range is signed, so it cannot be removed. This If-Range makes the server ignore it.
            if request.get("range").is_some() {
                request.set("If-Range", NO_ETAG);
            }
            false
        }
        FaultKind::NewEtag => {
            if let Some(if_range) = request.get("if-range").map(str::to_owned) {
                let known =
                    if_range.strip_prefix(NEW_ETAG_PREFIX).map_or(NO_ETAG.to_owned(), |rest| format!("\"{rest}"));
                request.set("If-Range", &known);
            }
            true
        }
        _ => false,
    }
}

/// Shortens `bytes FIRST-LAST/TOTAL` to at most `len` bytes. Returns the new value and
/// its length.
fn shorten_range(range: &str, len: u64) -> Option<(String, u64)> {
    let (first, rest) = range.strip_prefix("bytes ")?.split_once('-')?;
    let (last, total) = rest.split_once('/')?;
    let (first, last) = (first.parse::<u64>().ok()?, last.parse::<u64>().ok()?);
    let last = last.min(first + len - 1);
    Some((format!("bytes {first}-{last}/{total}"), last + 1 - first))
}

/// Moves `bytes FIRST-LAST/TOTAL` by one byte.
fn shift_range(range: &str) -> Option<String> {
    let (first, rest) = range.strip_prefix("bytes ")?.split_once('-')?;
    let (last, total) = rest.split_once('/')?;
    Some(format!("bytes {}-{}/{total}", first.parse::<u64>().ok()? + 1, last.parse::<u64>().ok()? + 1))
}
