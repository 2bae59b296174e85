//! One file, however often the connection breaks.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::{Duration, Instant},
};

use bytesize::ByteSize;
use sha2::{Digest, Sha256};
use ureq::http::header;
use url::Url;

use super::{
    HubError,
    client::{Announced, Client},
};
use crate::{
    error::LibraryError,
    folder::check_room,
    progress::{Obstacle, OnProgress, Progress, tell},
    verify::hex,
};

/// Bytes that are handed on at a time, and how many such chunks may wait for the disk.
const CHUNK: usize = 256 << 10;
const WAITING_CHUNKS: usize = 8;

/// The longest pause that a server can ask for; beyond it, the person decides.
const MAX_PAUSE: Duration = Duration::from_secs(120);

/// How often a person is asked whether to go on while nothing comes.
const GLANCE: Duration = Duration::from_millis(100);

/// How broken connections are opened again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// The pause after a first failure; it doubles with each in a row.
    pub first_pause: Duration,
    /// How often in a row nothing may come before a download is given up.
    pub failures: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self { first_pause: Duration::from_millis(500), failures: 5 }
    }
}

/// A file that is wanted.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// What people know it by.
    pub(super) name: String,
    pub(super) url: Url,
    /// What was published of it.
    pub(super) published: Announced,
    /// What messages about the server's refusals are about.
    pub(super) what: String,
}

/// What came.
#[derive(Debug, Clone, Default)]
pub(super) struct Fetched {
    /// SHA-256 in hexadecimal digits.
    pub(super) sha256: String,
    /// Whether that is the hash that was published.
    pub(super) is_published: bool,
    /// The name that the server gives the file.
    pub(super) name: Option<String>,
}

/// The part of a file that has come, and its hash.
struct Part {
    path: PathBuf,
    file: File,
    length: u64,
    hasher: Sha256,
    /// Whether some of it is of an earlier run, or of a connection before.
    is_resumed: bool,
}

impl Part {
    /// Opens the part, and reads what an earlier run left.
    fn open(path: &Path, on_progress: OnProgress<'_>) -> Result<Self, LibraryError> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let mut file = file.map_err(LibraryError::io(path))?;
        let mut hasher = Sha256::new();
        let mut length = 0;
        let mut chunk = vec![0; CHUNK];
        loop {
            let read = file.read(&mut chunk).map_err(LibraryError::io(path))?;
            if read == 0 {
                break;
            }
            hasher.update(&chunk[..read]);
            length += read as u64;
            tell(on_progress, Progress::Checkpoint)?;
        }
        Ok(Self { path: path.to_owned(), file, length, hasher, is_resumed: length > 0 })
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), LibraryError> {
        self.file.write_all(bytes).map_err(LibraryError::io(&self.path))?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn begin_anew(&mut self) -> Result<(), LibraryError> {
        let begin = |file: &mut File| file.set_len(0).and_then(|()| file.seek(SeekFrom::Start(0)));
        begin(&mut self.file).map_err(LibraryError::io(&self.path))?;
        (self.length, self.hasher, self.is_resumed) = (0, Sha256::new(), false);
        Ok(())
    }

    fn finish(&self) -> Result<String, LibraryError> {
        self.file.sync_all().map_err(LibraryError::io(&self.path))?;
        Ok(hex(&self.hasher.clone().finalize()))
    }
}

/// How one connection ended.
enum Attempt {
    /// With the last byte.
    Whole,
    /// Before it; another one may go on, after a pause that the server asks for.
    Broken { error: HubError, pause: Option<Duration> },
}

/// Fetches a file to `path`, where a part of it may lie already. `before` bytes of the whole work
/// were done before it.
pub(super) fn fetch(
    client: &Client,
    patience: Patience,
    wanted: &Wanted,
    path: &Path,
    before: u64,
    total: Option<u64>,
    on_progress: OnProgress<'_>,
) -> Result<Fetched, LibraryError> {
    tell(on_progress, Progress::File { name: &wanted.name })?;
    let mut part = Part::open(path, on_progress)?;
    let mark = path.with_added_extension("etag");
    let validator = match &wanted.published.sha256 {
        Some(_) => None,
        None => std::fs::read_to_string(&mark).ok(),
    };
    if wanted.published.sha256.is_none() && validator.is_none() {
        // Nothing would tell that the beginning is of another version of the file.
        part.begin_anew()?;
    }
    let mut transfer = Transfer {
        client,
        patience,
        wanted,
        part,
        known: wanted.published.clone(),
        validator,
        name: None,
        before,
        total,
        on_progress,
    };
    let fetched = transfer.run();
    match &transfer.validator {
        Some(validator) if fetched.is_err() => {
            std::fs::write(&mark, validator).map_err(LibraryError::io(&mark))?;
        }
        _ => drop(std::fs::remove_file(&mark)),
    }
    let is_worthless =
        matches!(fetched, Err(LibraryError::Hub(HubError::Size { .. } | HubError::Hash { .. })));
    if is_worthless {
        std::fs::remove_file(path).map_err(LibraryError::io(path))?;
    }
    fetched
}

struct Transfer<'a> {
    client: &'a Client,
    patience: Patience,
    wanted: &'a Wanted,
    part: Part,
    /// What is known of the file by now.
    known: Announced,
    /// Tells the server which version of the file a part is of.
    validator: Option<String>,
    name: Option<String>,
    before: u64,
    total: Option<u64>,
    on_progress: OnProgress<'a>,
}

/// What a connection's thread tells.
enum Message {
    Head(Box<Head>),
    Bytes(Vec<u8>),
    End,
    Failed(HubError),
}

/// What matters of an answer's head.
struct Head {
    status: u16,
    announced: Announced,
    length: Option<u64>,
    /// First byte and whole length by `Content-Range`.
    range: Option<(u64, Option<u64>)>,
    validator: Option<String>,
    name: Option<String>,
    pause: Option<Duration>,
    is_web_page: bool,
}

impl Transfer<'_> {
    fn run(&mut self) -> Result<Fetched, LibraryError> {
        loop {
            self.connect_until_whole()?;
            let sha256 = self.part.finish()?;
            match &self.known.sha256 {
                Some(expected) if *expected != sha256 => {
                    // The beginning may be of another version of the file.
                    if self.part.is_resumed {
                        self.part.begin_anew()?;
                        continue;
                    }
                    let (file, expected) = (self.wanted.name.clone(), expected.clone());
                    return Err(HubError::Hash { file, expected, got: sha256 }.into());
                }
                expected => {
                    let is_published = expected.is_some();
                    return Ok(Fetched { sha256, is_published, name: self.name.take() });
                }
            }
        }
    }

    fn connect_until_whole(&mut self) -> Result<(), LibraryError> {
        let mut failures = 0;
        loop {
            match self.known.size {
                Some(size) if self.part.length > size => self.part.begin_anew()?,
                Some(size) if self.part.length == size && size > 0 => return Ok(()),
                _ => {}
            }
            let before = self.part.length;
            let Attempt::Broken { error, pause } = self.connect()? else { return Ok(()) };
            failures = if self.part.length > before { 1 } else { failures + 1 };
            if failures > self.patience.failures {
                return Err(error.into());
            }
            self.part.is_resumed = self.part.length > 0;
            let pause = pause.unwrap_or(self.patience.first_pause * 2_u32.pow(failures - 1));
            self.wait(&error, pause)?;
        }
    }

    fn wait(&mut self, error: &HubError, pause: Duration) -> Result<(), LibraryError> {
        let (obstacle, reason) = match error {
            HubError::Connection { reason, .. } => (Obstacle::Connection, reason.clone()),
            HubError::TooManyRequests { .. } => (Obstacle::TooManyRequests, error.to_string()),
            other => (Obstacle::Server, other.to_string()),
        };
        tell(self.on_progress, Progress::Waiting { obstacle, reason, pause })?;
        let until = Instant::now() + pause;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            thread::sleep(left.min(GLANCE));
            tell(self.on_progress, Progress::Checkpoint)?;
        }
        Ok(())
    }

    /// Opens one connection, and takes what comes.
    fn connect(&mut self) -> Result<Attempt, LibraryError> {
        let messages = self.open();
        let Some(head) = self.next(&messages)? else { return Ok(self.broken("it was cut off")) };
        let head = match head {
            Message::Head(head) => head,
            Message::Failed(error @ HubError::Connection { .. }) => {
                return Ok(Attempt::Broken { error, pause: None });
            }
            Message::Failed(error) => return Err(error.into()),
            Message::Bytes(_) | Message::End => return Ok(self.broken("it has no head")),
        };
        if let Some(refused) = self.refusal(&head)? {
            return Ok(refused);
        }
        self.take_head(*head)?;
        loop {
            match self.next(&messages)? {
                Some(Message::Bytes(bytes)) => self.take(&bytes)?,
                Some(Message::End) => break,
                Some(Message::Failed(error)) => return Ok(Attempt::Broken { error, pause: None }),
                Some(Message::Head(_)) | None => return Ok(self.broken("it was cut off")),
            }
        }
        match self.known.size {
            Some(size) if self.part.length < size => Ok(self.broken("it ended too early")),
            _ => Ok(Attempt::Whole),
        }
    }

    /// Starts the thread of a connection. It ends by itself when nobody listens any more.
    fn open(&self) -> Receiver<Message> {
        let (sender, messages) = sync_channel(WAITING_CHUNKS);
        let client = self.client.clone();
        let (url, start) = (self.wanted.url.clone(), self.part.length);
        let validator = self.validator.clone();
        let spawned = thread::Builder::new()
            .name("download".to_owned())
            .spawn(move || listen(&client, &url, start, validator.as_deref(), &sender));
        // Without a thread the channel is closed, which reads as a connection that was cut off.
        drop(spawned);
        messages
    }

    /// The next message; `None` where none will come.
    fn next(&mut self, messages: &Receiver<Message>) -> Result<Option<Message>, LibraryError> {
        loop {
            tell(self.on_progress, Progress::Checkpoint)?;
            match messages.recv_timeout(GLANCE) {
                Ok(message) => return Ok(Some(message)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
            }
        }
    }

    fn broken(&self, reason: &str) -> Attempt {
        let (url, reason) = (self.wanted.url.to_string(), reason.to_owned());
        Attempt::Broken { error: HubError::Connection { url, reason }, pause: None }
    }

    /// What an answer means that is not the file. Some refusals pass.
    fn refusal(&mut self, head: &Head) -> Result<Option<Attempt>, LibraryError> {
        let what = self.wanted.what.clone();
        let endpoint = self.client.endpoint().address().to_owned();
        let error = match head.status {
            200 | 206 => return Ok(None),
            // The part is longer than the file, or of another one.
            416 if self.part.length > 0 => {
                self.part.begin_anew()?;
                return Ok(Some(self.broken("it cannot be gone on with")));
            }
            401 => HubError::Unauthorized { what, endpoint },
            403 => HubError::Forbidden { what, endpoint },
            404 => HubError::NotFound { what },
            429 => {
                let pause = head.pause.unwrap_or(self.patience.first_pause);
                let error = HubError::TooManyRequests { what, pause };
                if pause > MAX_PAUSE {
                    return Err(error.into());
                }
                return Ok(Some(Attempt::Broken { error, pause: head.pause }));
            }
            status @ 500..=599 => {
                let pause = head.pause.map(|pause| pause.min(MAX_PAUSE));
                let error = HubError::Status { what, status };
                return Ok(Some(Attempt::Broken { error, pause }));
            }
            status => HubError::Status { what, status },
        };
        Err(error.into())
    }

    /// Compares what the server announces with what is known, before anything is kept.
    fn take_head(&mut self, head: Head) -> Result<(), LibraryError> {
        if head.is_web_page {
            return Err(HubError::Answer {
                what: self.wanted.what.clone(),
                reason: "it is a web page and not a file; the address may need a login".to_owned(),
            }
            .into());
        }
        let start = match (head.status, head.range) {
            (206, Some((start, _))) => start,
            _ => 0,
        };
        if start != self.part.length {
            self.part.begin_anew()?;
            if start != 0 {
                return Err(HubError::Answer {
                    what: self.wanted.what.clone(),
                    reason: format!("it sends bytes from {start} on, which were not asked for"),
                }
                .into());
            }
        }
        let whole = match (head.status, head.range) {
            (206, Some((_, whole))) => whole,
            _ => head.length,
        };
        for size in [head.announced.size, whole].into_iter().flatten() {
            self.check_size(size)?;
        }
        if let Some(hash) = head.announced.sha256
            && self.known.sha256.is_none()
        {
            self.known.sha256 = Some(hash);
        }
        // Where a hash is known it decides, whatever a server calls its copy.
        self.validator = head.validator.filter(|_| self.known.sha256.is_none());
        self.name = head.name;
        Ok(())
    }

    fn check_size(&mut self, size: u64) -> Result<(), LibraryError> {
        match self.known.size {
            Some(known) if known != size => Err(self.wrong_size(known, size)),
            Some(_) => Ok(()),
            None => {
                self.known.size = Some(size);
                let folder = self.part.path.parent().unwrap_or(&self.part.path);
                check_room(folder, size.saturating_sub(self.part.length))
            }
        }
    }

    fn wrong_size(&self, expected: u64, got: u64) -> LibraryError {
        let (expected, got) = (ByteSize(expected), ByteSize(got));
        HubError::Size { file: self.wanted.name.clone(), expected, got }.into()
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), LibraryError> {
        let length = self.part.length + bytes.len() as u64;
        if let Some(size) = self.known.size
            && length > size
        {
            return Err(self.wrong_size(size, length));
        }
        self.part.append(bytes)?;
        let total = self.total.or(self.known.size.map(|size| self.before + size));
        let progress = Progress::Bytes { done: self.before + self.part.length, total };
        tell(self.on_progress, progress)
    }
}

/// Asks for a file and hands on what comes.
fn listen(
    client: &Client,
    url: &Url,
    start: u64,
    validator: Option<&str>,
    sender: &SyncSender<Message>,
) {
    let answer = match client.get(url, start, validator) {
        Ok(answer) => answer,
        Err(error) => {
            let _ = sender.send(Message::Failed(error));
            return;
        }
    };
    let text = |name| answer.header(name).map(str::to_owned);
    let length = text(header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
    let kind = text(header::CONTENT_TYPE).unwrap_or_default();
    let head = Head {
        status: answer.status,
        announced: answer.announced.clone(),
        length,
        range: answer.header(header::CONTENT_RANGE).and_then(range),
        validator: text(header::ETAG).filter(|tag| !tag.starts_with("W/")),
        name: answer.header(header::CONTENT_DISPOSITION).and_then(file_name),
        pause: text(header::RETRY_AFTER)
            .and_then(|seconds| seconds.trim().parse().ok())
            .map(Duration::from_secs),
        is_web_page: kind.starts_with("text/html"),
    };
    if sender.send(Message::Head(Box::new(head))).is_err() {
        return;
    }
    let mut reader = answer.into_reader();
    loop {
        let mut chunk = vec![0; CHUNK];
        let message = match reader.read(&mut chunk) {
            Ok(0) => Message::End,
            Ok(read) => {
                chunk.truncate(read);
                Message::Bytes(chunk)
            }
            Err(error) => Message::Failed(HubError::Connection {
                url: url.to_string(),
                reason: error.to_string(),
            }),
        };
        let is_last = !matches!(message, Message::Bytes(_));
        if sender.send(message).is_err() || is_last {
            return;
        }
    }
}

/// `bytes 5-9/10`: the first byte, and the whole length where it is told.
fn range(text: &str) -> Option<(u64, Option<u64>)> {
    let (span, whole) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = span.split_once('-')?;
    Some((start.trim().parse().ok()?, whole.trim().parse().ok()))
}

/// The file name of `attachment; filename="a.safetensors"`.
fn file_name(disposition: &str) -> Option<String> {
    let (_, name) = disposition.split_once("filename=")?;
    let name = name.trim_start();
    let name = match name.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => name.split(';').next(),
    };
    name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read() {
        assert_eq!(range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(range("bytes 5-9/*"), Some((5, None)));
        assert_eq!(range("bytes */10"), None);
        let name = |text| file_name(text).unwrap();
        assert_eq!(name(r#"attachment; filename="a b.safetensors"; x=1"#), "a b.safetensors");
        assert_eq!(name("inline; filename=a.pt; x=1"), "a.pt");
        assert_eq!(file_name("inline"), None);
    }
}
