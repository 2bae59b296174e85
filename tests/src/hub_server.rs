//! A hub of models on this machine, which behaves as badly as it is told to.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The commit of every repository.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What goes wrong with an answer. Each happens once, unless it is said otherwise.
#[derive(Debug, Clone)]
pub enum Mischief {
    /// The connection ends after so many bytes of the body.
    Drop(usize),
    /// It does so each time.
    AlwaysDrop(usize),
    /// The answer is this status, with these headers.
    Refuse(u16, Vec<(&'static str, String)>),
    /// It always is.
    AlwaysRefuse(u16),
    /// The head announces so many bytes more than there are, each time.
    ClaimMore(u64),
    /// Another byte stands in the middle of the body, each time.
    Spoil,
    /// The bytes are on another server, each time.
    SendTo(String),
    /// Ranges are not understood, each time.
    IgnoreRange,
    /// After so many bytes nothing comes for a second, each time.
    Stall(usize),
    /// The file name is told in a header, each time.
    Named(&'static str),
    /// The body is said to be a web page, each time.
    WebPage,
}

impl Mischief {
    fn is_once(&self) -> bool {
        matches!(self, Self::Drop(_) | Self::Refuse(..))
    }
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Path and query.
    pub target: String,
    /// The first byte that was asked for.
    pub start: u64,
    /// The header `Authorization`.
    pub authorization: Option<String>,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    /// Lies about files: length and hash, by path in the listing.
    lies: BTreeMap<String, (Option<u64>, Option<String>)>,
    mischief: BTreeMap<String, Vec<Mischief>>,
    asked: Vec<Asked>,
}

/// The server. It runs until the test ends.
pub struct HubServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl HubServer {
    /// Starts a server without any files.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("address");
        let state = Arc::new(Mutex::new(State::default()));
        let served = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&served);
                thread::spawn(move || answer(stream, &state));
            }
        });
        Self { address, state }
    }

    /// The address, for `HF_ENDPOINT`.
    pub fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes a file at a path such as `owner/name/resolve/…/file`, or any other.
    pub fn publish(&self, path: &str, content: &[u8]) {
        self.state().files.insert(path.to_owned(), content.to_vec());
    }

    /// Publishes every file of a folder as a repository.
    pub fn publish_folder(&self, repository: &str, folder: &Path) {
        let mut folders = vec![folder.to_owned()];
        while let Some(inside) = folders.pop() {
            for entry in std::fs::read_dir(inside).expect("folder").flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let below = path.strip_prefix(folder).expect("below").to_str().expect("Unicode");
                let content = std::fs::read(&path).expect("file");
                self.publish(&in_repository(repository, below), &content);
            }
        }
    }

    /// Has the next answer for a path go wrong.
    pub fn mischief(&self, path: &str, mischief: Mischief) {
        self.state().mischief.entry(path.to_owned()).or_default().push(mischief);
    }

    /// Ends all mischief.
    pub fn behave(&self) {
        self.state().mischief.clear();
        self.state().lies.clear();
    }

    /// Has the listing tell another length or hash of a file.
    pub fn lie(&self, path: &str, size: Option<u64>, sha256: Option<String>) {
        self.state().lies.insert(path.to_owned(), (size, sha256));
    }

    /// What was asked for since the last time.
    pub fn take_asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.state().asked)
    }
}

/// The path under which a file of a repository is published.
pub fn in_repository(repository: &str, file: &str) -> String {
    format!("{repository}/resolve/{COMMIT}/{file}")
}

fn answer(stream: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(&stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
            break;
        }
        lines.push(line.trim().to_owned());
    }
    let Some(target) = lines.first().and_then(|line| line.split(' ').nth(1)) else { return };
    let header = |name: &str| {
        lines.iter().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    };
    let start = header("range")
        .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok())
        .unwrap_or(0);
    let path = target.split('?').next().unwrap_or(target).trim_start_matches('/').to_owned();
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let authorization = header("authorization");
    state.asked.push(Asked { target: target.to_owned(), start, authorization });
    let mischief = state.take_mischief(&path);
    let content = state.content(&path);
    let hash = state.hash(&path);
    drop(state);
    // A part is of use only while the file is the one that it is a part of.
    let etag = content.as_deref().map(etag).unwrap_or_default();
    let start = if header("if-range").is_none_or(|tag| tag == etag) { start } else { 0 };
    let _ = respond(stream, mischief, content, hash, start);
}

/// What tells one content of a file from another.
fn etag(content: &[u8]) -> String {
    let digits: String =
        Sha256::digest(content).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{digits}\"")
}

impl State {
    fn take_mischief(&mut self, path: &str) -> Option<Mischief> {
        let planned = self.mischief.get_mut(path)?;
        let first = planned.first()?.clone();
        if first.is_once() {
            planned.remove(0);
        }
        Some(first)
    }

    fn content(&self, path: &str) -> Option<Vec<u8>> {
        let Some(asked) = path.strip_prefix("api/models/") else {
            return self.files.get(path).cloned();
        };
        let (repository, _revision) = asked.split_once("/revision/")?;
        let begin = in_repository(repository, "");
        let files: Vec<Value> = self
            .files
            .iter()
            .filter_map(|(path, content)| Some((path.strip_prefix(&begin)?, path, content)))
            .map(|(name, path, content)| self.listed(name, path, content))
            .collect();
        let listing = json!({ "id": repository, "sha": COMMIT, "siblings": files });
        (!files.is_empty()).then(|| listing.to_string().into_bytes())
    }

    fn listed(&self, name: &str, path: &str, content: &[u8]) -> Value {
        let size = self.lies.get(path).and_then(|lie| lie.0).unwrap_or(content.len() as u64);
        match self.hash(path) {
            Some(sha256) => json!({
                "rfilename": name, "size": size,
                "lfs": { "sha256": sha256, "size": size, "pointerSize": 134 },
            }),
            None => json!({ "rfilename": name, "size": size, "blobId": "0" }),
        }
    }

    /// Hashes are published of weights alone, as hubs do.
    fn hash(&self, path: &str) -> Option<String> {
        if let Some((_, Some(lie))) = self.lies.get(path) {
            return Some(lie.clone());
        }
        let is_large = path.ends_with(".safetensors");
        let content = self.files.get(path).filter(|_| is_large)?;
        Some(Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

fn respond(
    mut stream: TcpStream,
    mischief: Option<Mischief>,
    content: Option<Vec<u8>>,
    hash: Option<String>,
    start: u64,
) -> std::io::Result<()> {
    let refuse = |status: u16, headers: &[(&str, String)]| {
        let mut head =
            format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head + "\r\n"
    };
    match &mischief {
        Some(Mischief::Refuse(status, headers)) => {
            return stream.write_all(refuse(*status, headers).as_bytes());
        }
        Some(Mischief::AlwaysRefuse(status)) => {
            return stream.write_all(refuse(*status, &[]).as_bytes());
        }
        Some(Mischief::SendTo(location)) => {
            let mut headers = vec![("Location", location.clone())];
            headers.extend(hash.map(|hash| ("X-Linked-Etag", format!("\"{hash}\""))));
            return stream.write_all(refuse(302, &headers).as_bytes());
        }
        _ => {}
    }
    let Some(mut content) = content else {
        return stream.write_all(refuse(404, &[]).as_bytes());
    };
    let etag = etag(&content);
    if let Some(Mischief::Spoil) = mischief {
        let middle = content.len() / 2;
        content[middle] ^= 1;
    }
    let whole = content.len() as u64;
    let is_part = start > 0 && !matches!(mischief, Some(Mischief::IgnoreRange));
    if is_part && start >= whole {
        let headers = [("Content-Range", format!("bytes */{whole}"))];
        return stream.write_all(refuse(416, &headers).as_bytes());
    }
    let body = if is_part { &content[start as usize..] } else { &content };
    let more = if let Some(Mischief::ClaimMore(more)) = mischief { more } else { 0 };
    let mut head = format!(
        "HTTP/1.1 {}\r\nContent-Length: {}\r\nConnection: close\r\nETag: {etag}\r\n",
        if is_part { "206 Part" } else { "200 OK" },
        body.len() as u64 + more,
    );
    if is_part {
        let whole = whole + more;
        head.push_str(&format!("Content-Range: bytes {start}-{}/{whole}\r\n", whole - 1));
    }
    if let Some(Mischief::WebPage) = mischief {
        head.push_str("Content-Type: text/html; charset=utf-8\r\n");
    }
    if let Some(Mischief::Named(name)) = mischief {
        head.push_str(&format!("Content-Disposition: attachment; filename=\"{name}\"\r\n"));
    }
    stream.write_all((head + "\r\n").as_bytes())?;
    match mischief {
        Some(Mischief::Drop(bytes) | Mischief::AlwaysDrop(bytes)) => {
            stream.write_all(&body[..bytes.min(body.len())])
        }
        Some(Mischief::Stall(bytes)) => {
            let bytes = bytes.min(body.len());
            stream.write_all(&body[..bytes])?;
            thread::sleep(std::time::Duration::from_secs(1));
            stream.write_all(&body[bytes..])
        }
        _ => stream.write_all(body),
    }
}
