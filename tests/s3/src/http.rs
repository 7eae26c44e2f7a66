//! The part of HTTP/1.1 that S3 clients use.

use std::io;

use bytes::{Buf as _, Bytes, BytesMut};
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The longest head of a request.
const LONGEST: usize = 64 << 10;

#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Decoded, `/BUCKET/KEY`.
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(held, _)| held == name);
        found.next().map(|(_, value)| value.as_str())
    }

    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        let mut found = self.query.iter().filter(|(held, _)| held == name);
        found.next().map(|(_, value)| value.as_str())
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Bytes,
    /// Whether the body is only announced, as for HEAD.
    pub(crate) head: bool,
}

impl Answer {
    pub(crate) fn new(status: u16, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
            head: false,
        }
    }

    /// S3's way to say what went wrong.
    pub(crate) fn error(status: u16, code: &str) -> Self {
        Self::new(status, format!("<Error><Code>{code}</Code></Error>"))
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn head_text(&self) -> String {
        let mut text = format!("HTTP/1.1 {} -\r\n", self.status);
        text += &format!("content-length: {}\r\n", self.body.len());
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}\r\n");
        }
        text + "\r\n"
    }
}

pub(crate) struct Connection {
    stream: TcpStream,
    read: BytesMut,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            read: BytesMut::new(),
        }
    }

    /// The next request; nothing when the client has gone.
    pub(crate) async fn receive(&mut self) -> io::Result<Option<Request>> {
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break at;
            }
            if self.read.len() > LONGEST || self.stream.read_buf(&mut self.read).await? == 0 {
                return Ok(None);
            }
        };
        let head = self.read.split_to(end);
        self.read.advance(4);
        let Some(mut request) = parse(&String::from_utf8_lossy(&head)) else {
            return Ok(None);
        };
        let length = request
            .header("content-length")
            .and_then(|text| text.parse().ok());
        let length: usize = length.unwrap_or(0);
        // Clients that ask first would else wait a second before they send.
        let asks = request.header("expect") == Some("100-continue");
        if asks && self.read.len() < length {
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        while self.read.len() < length {
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Ok(None);
            }
        }
        request.body = self.read.split_to(length).freeze();
        Ok(Some(request))
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Ends the connection at once, in the midst of what was sent.
    pub(crate) fn reset(&mut self) -> io::Error {
        let _ = self.stream.set_zero_linger();
        io::ErrorKind::ConnectionReset.into()
    }
}

fn parse(head: &str) -> Option<Request> {
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?, first.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let headers = lines.filter_map(|line| line.split_once(':'));
    Some(Request {
        method: method.to_owned(),
        path: percent_decode_str(path).decode_utf8_lossy().into_owned(),
        query: url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect(),
        headers: headers
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect(),
        body: Bytes::new(),
    })
}
