//! Where live pictures go: stdout, the input of a player, or a file.
//!
//! A thread of its own writes. Whoever takes them too slowly loses pictures and not time. Where the camera's stream has become
//! another film, as when its resolution has changed, a file ends and a further one begins, for most players take one
//! beginning only; whatever else takes the pictures gets the other beginning behind them. This room must never write over a
//! file that nobody named, and never begin with the middle of a group.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use app_core::AppError;

use super::beginning::Beginning;
use crate::args::LiveOptions;
use crate::run::Failure;

/// Fragments that wait to be written.
const WRITING_MAX: usize = 32;
/// The highest number of a further file.
const FILES_MAX: u32 = 10_000;

/// The camera's stream is another film from here on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Change {
    /// Width and height of its picture in pixels, if they are known.
    pub(super) size: Option<(u16, u16)>,
    /// The further file to which it goes; none if it goes where the one before went.
    pub(super) file: Option<PathBuf>,
}

/// Something to write.
struct Part {
    /// It goes here, and all that follows it.
    into: Option<File>,
    bytes: Vec<u8>,
}

/// Where the pictures go.
pub(super) struct Sink {
    parts: SyncSender<Part>,
    /// Nobody takes them any more.
    pub(super) is_gone: bool,
    /// Fragments that came.
    pub(super) fragments: u64,
    /// A fragment was left out: what follows in its group is of no use.
    is_behind: bool,
    /// What a player needs first, once that is written; a session that needs the same goes on behind it.
    started: Option<Vec<u8>>,
    /// The same, while there was no room for it.
    owed: Option<Vec<u8>>,
    /// The last beginning that came.
    beginning: Option<Beginning>,
    /// The files, if they are files that can be played by themselves.
    files: Option<Files>,
    /// The further file for the beginning that is owed.
    next: Option<File>,
}

impl Sink {
    /// Opens what the command line names, and starts the player that it names.
    pub(super) fn open(options: &LiveOptions) -> Result<(Self, Option<Child>), Failure> {
        let (parts, waiting) = sync_channel(WRITING_MAX);
        let (mut player, mut files) = (None, None);
        match (&options.out, &options.player) {
            (Some(path), _) => {
                let file = File::create(path).map_err(|error| target(path, &error))?;
                // A pipe or a device has nothing beside it that would be read in its place.
                let is_regular = file.metadata().is_ok_and(|found| found.is_file());
                files = is_regular.then(|| Files::behind(path));
                write_to(file, waiting);
            }
            (None, Some(program)) => {
                let mut child = play(program)?;
                if let Some(input) = child.stdin.take() {
                    write_to(input, waiting);
                }
                player = Some(child);
            }
            (None, None) => write_to(io::stdout(), waiting),
        }
        Ok((Self::new(parts, files), player))
    }

    fn new(parts: SyncSender<Part>, files: Option<Files>) -> Self {
        Self {
            parts,
            is_gone: false,
            fragments: 0,
            is_behind: false,
            started: None,
            owed: None,
            beginning: None,
            files,
            next: None,
        }
    }

    /// What a player needs first. Answers what is another film now, if anything was written before that is none of it.
    /// Where no further file can be made it goes where the one before went, and so does all that follows.
    pub(super) fn start(&mut self, init: &[u8]) -> Option<Change> {
        let beginning = Beginning::of(init);
        let before = self.beginning.as_ref();
        let is_another = before.is_some_and(|before| *before != beginning);
        if is_another
            && self.next.is_none()
            && let Some(files) = &mut self.files
        {
            match files.make() {
                Ok(file) => self.next = Some(file),
                Err(error) => {
                    tracing::warn!(%error, "no further file can be made; the pictures go on in the one that is there");
                    self.files = None;
                }
            }
        }
        // A file that was made for it begins with it, whatever was written elsewhere.
        let is_known = self.next.is_none() && self.started.as_deref() == Some(init);
        self.owed = (!is_known).then(|| init.to_vec());
        self.is_behind = !self.put_start();
        let size = beginning.size;
        self.beginning = Some(beginning);
        is_another.then(|| Change {
            size,
            file: self.files.as_ref().map(Files::newest),
        })
    }

    /// A whole fragment.
    pub(super) fn fragment(&mut self, bytes: &[u8], begins_group: bool) {
        self.fragments += 1;
        if begins_group || !self.is_behind {
            self.is_behind = !(self.put_start() && self.put(bytes));
        }
    }

    /// True if no fragment has to wait for it.
    fn put_start(&mut self) -> bool {
        let Some(init) = self.owed.take() else {
            return true;
        };
        let part = Part {
            into: self.next.take(),
            bytes: init.clone(),
        };
        match self.hand_over(part) {
            None => {
                self.started = Some(init);
                true
            }
            Some(part) => {
                (self.owed, self.next) = (Some(init), part.into);
                false
            }
        }
    }

    fn put(&mut self, bytes: &[u8]) -> bool {
        let part = Part {
            into: None,
            bytes: bytes.to_vec(),
        };
        self.hand_over(part).is_none()
    }

    /// A part for which there is no room comes back.
    fn hand_over(&mut self, part: Part) -> Option<Part> {
        match self.parts.try_send(part) {
            Ok(()) => None,
            Err(TrySendError::Full(part)) => Some(part),
            Err(TrySendError::Disconnected(part)) => {
                self.is_gone = true;
                Some(part)
            }
        }
    }
}

/// A file that was named, and those behind it.
struct Files {
    named: PathBuf,
    /// The number of the newest; that of the first is one, and stands nowhere.
    newest: u32,
}

impl Files {
    fn behind(named: &Path) -> Self {
        Self {
            named: named.to_owned(),
            newest: 1,
        }
    }

    /// `door.2.mp4` behind `door.mp4`.
    fn newest(&self) -> PathBuf {
        let mut name = self.named.file_stem().unwrap_or_default().to_os_string();
        name.push(format!(".{}", self.newest));
        if let Some(extension) = self.named.extension() {
            name.push(".");
            name.push(extension);
        }
        self.named.with_file_name(name)
    }

    /// The next one that is not there yet.
    fn make(&mut self) -> io::Result<File> {
        loop {
            if self.newest == FILES_MAX {
                return Err(io::Error::other("there are too many of them"));
            }
            self.newest += 1;
            let path = self.newest();
            match File::options().write(true).create_new(true).open(&path) {
                Ok(file) => return Ok(file),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn target(path: &Path, error: &io::Error) -> Failure {
    Failure::App(AppError::Target {
        path: path.display().to_string(),
        reason: error.to_string(),
    })
}

/// Writes whatever comes, until that ends or nobody takes it.
fn write_to(out: impl Write + Send + 'static, parts: Receiver<Part>) {
    let mut out: Box<dyn Write + Send> = Box::new(out);
    let _writer = tokio::task::spawn_blocking(move || {
        for part in parts {
            if let Some(file) = part.into {
                out = Box::new(file);
            }
            if out
                .write_all(&part.bytes)
                .and_then(|()| out.flush())
                .is_err()
            {
                return;
            }
        }
    });
}

/// A program with its arguments, divided at spaces.
fn play(program: &str) -> Result<Child, Failure> {
    let mut words = program.split_whitespace();
    let Some(name) = words.next() else {
        return Err(Failure::Usage("no player is named".into()));
    };
    let started = Command::new(name).args(words).stdin(Stdio::piped()).spawn();
    started.map_err(|error| Failure::Usage(format!("{name} cannot be started: {error}")))
}

#[cfg(test)]
mod tests {
    use crashtest_canary::Place;

    use super::super::beginning::tests::init;
    use super::*;

    /// A sink for which so many parts may wait.
    fn sink(waiting_max: usize, files: Option<Files>) -> (Sink, Receiver<Part>) {
        let (parts, waiting) = sync_channel(waiting_max);
        (Sink::new(parts, files), waiting)
    }

    /// The next part, which goes where the one before it went.
    fn next(waiting: &Receiver<Part>) -> Vec<u8> {
        let part = waiting.try_recv().unwrap();
        assert!(part.into.is_none());
        part.bytes
    }

    #[test]
    fn who_takes_them_too_slowly_loses_the_rest_of_a_group() {
        let (mut sink, waiting) = sink(2, None);
        assert_eq!(sink.start(b"init"), None);
        sink.fragment(b"a", true);
        sink.fragment(b"lost", false);
        assert_eq!(next(&waiting), b"init");
        sink.fragment(b"of no use", false);
        sink.fragment(b"b", true);
        assert_eq!(next(&waiting), b"a");
        assert_eq!(next(&waiting), b"b");
        // Another session of the same camera goes on in the same file.
        assert_eq!(sink.start(b"init"), None);
        sink.fragment(b"c", true);
        assert_eq!(next(&waiting), b"c");
        // What a player needs is not lost for want of room.
        sink.fragment(b"d", false);
        sink.fragment(b"e", false);
        let change = Change {
            size: None,
            file: None,
        };
        assert_eq!(sink.start(b"another"), Some(change));
        sink.fragment(b"of no use", true);
        assert_eq!(next(&waiting), b"d");
        assert_eq!(next(&waiting), b"e");
        sink.fragment(b"f", true);
        assert_eq!(next(&waiting), b"another");
        assert_eq!(next(&waiting), b"f");
        assert!(!sink.is_gone);
        drop(waiting);
        sink.fragment(b"c", true);
        assert!(sink.is_gone);
    }

    #[test]
    fn another_picture_begins_a_further_file_and_writes_over_none() {
        let place = Place::new();
        let named = place.path().join("door.mp4");
        let others = place.path().join("door.2.mp4");
        std::fs::write(&others, b"somebody's").unwrap();
        let (mut sink, waiting) = sink(2, Some(Files::behind(&named)));
        assert_eq!(sink.start(&init(640, 360, Some(1))), None);
        sink.fragment(b"a", true);
        assert_eq!(next(&waiting), init(640, 360, Some(1)));
        assert_eq!(next(&waiting), b"a");
        // Another session of a camera with sound is no other film.
        assert_eq!(sink.start(&init(640, 360, Some(2))), None);
        assert_eq!(next(&waiting), init(640, 360, Some(2)));
        // There is no room for the next one when it comes: nothing of it is in the file before.
        sink.fragment(b"b", true);
        sink.fragment(b"c", false);
        let further = place.path().join("door.3.mp4");
        let change = Change {
            size: Some((1920, 1080)),
            file: Some(further.clone()),
        };
        let larger = init(1920, 1080, None);
        assert_eq!(sink.start(&larger), Some(change));
        sink.fragment(b"lost", true);
        assert_eq!(next(&waiting), b"b");
        assert_eq!(next(&waiting), b"c");
        sink.fragment(b"d", true);
        let part = waiting.try_recv().unwrap();
        assert_eq!(part.bytes, larger);
        part.into.unwrap().write_all(&part.bytes).unwrap();
        assert_eq!(next(&waiting), b"d");
        assert_eq!(std::fs::read(&further).unwrap(), larger);
        assert_eq!(std::fs::read(&others).unwrap(), b"somebody's");
    }

    /// A camera that is as it was before there was room for what it was meanwhile.
    #[test]
    fn a_further_file_has_a_beginning_whatever_it_is() {
        let place = Place::new();
        let named = place.path().join("door.mp4");
        let (mut sink, waiting) = sink(1, Some(Files::behind(&named)));
        let first = init(640, 360, None);
        assert_eq!(sink.start(&first), None);
        // The first still takes the one place.
        let file = Some(place.path().join("door.2.mp4"));
        for size in [(1920, 1080), (640, 360)] {
            let change = sink.start(&init(size.0, size.1, None)).unwrap();
            assert_eq!((change.size, &change.file), (Some(size), &file));
        }
        assert_eq!(next(&waiting), first);
        sink.fragment(b"lost for want of room", true);
        let part = waiting.try_recv().unwrap();
        assert_eq!(part.bytes, first);
        assert!(part.into.is_some());
    }

    /// A directory in which nothing can be made, or that is gone.
    #[test]
    fn where_no_further_file_can_be_made_the_pictures_go_on_where_they_went() {
        let place = Place::new();
        let named = place.path().join("gone").join("door.mp4");
        let (mut sink, waiting) = sink(4, Some(Files::behind(&named)));
        assert_eq!(sink.start(&init(640, 360, None)), None);
        let larger = init(1920, 1080, None);
        let change = Change {
            size: Some((1920, 1080)),
            file: None,
        };
        assert_eq!(sink.start(&larger), Some(change));
        sink.fragment(b"a", true);
        assert_eq!(next(&waiting), init(640, 360, None));
        assert_eq!(next(&waiting), larger);
        assert_eq!(next(&waiting), b"a");
        let mut files = Files::behind(&place.path().join("door.mp4"));
        files.newest = FILES_MAX;
        assert!(files.make().is_err());
    }

    #[test]
    fn further_files_have_names_like_the_first() {
        for (named, second) in [
            ("door.mp4", "door.2.mp4"),
            ("door", "door.2"),
            ("/a.b/c.d.mp4", "/a.b/c.d.2.mp4"),
        ] {
            let mut files = Files::behind(Path::new(named));
            files.newest = 2;
            assert_eq!(files.newest(), Path::new(second));
        }
    }
}
