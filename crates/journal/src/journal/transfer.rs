//! Taking runs from one journal to another, as a file of lines.

use std::io::{BufRead, Write};

use super::Journal;
use crate::records::RunId;
use crate::store::Staging;
use crate::{Error, Result};

/// Pieces of an export that may wait to be written.
const PIECES: usize = 16;

impl Journal {
    /// Writes a run, by its id or a prefix, and its descendants as one file of JSON lines that stands
    /// by itself: what a fork shares with its source is written as its own. The file holds all that
    /// the journal does, inputs and outputs included. It is described in
    /// `docs/reference/journal-format.md`.
    ///
    /// A run that is being worked on is written as it stands now.
    ///
    /// Errors: [`Error::Damaged`], and [`Error::File`] when `out` fails; what has been written until
    /// then is no export, and [`Journal::import`] refuses it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), journal::Error> {
    /// use journal::{Journal, NewRun};
    ///
    /// let journal = Journal::in_memory()?;
    /// let run = journal.start(NewRun::new("greeter", "Ada".into())).await?;
    /// run.finish(&"Hello, Ada".into()).await?;
    /// let mut file = Vec::new();
    /// journal.export(run.id().as_str(), &mut file).await?;
    ///
    /// let other = Journal::in_memory()?;
    /// let runs = other.import(std::io::Cursor::new(file)).await?;
    /// assert_eq!(other.run(runs[0].as_str()).await?.output, Some("Hello, Ada".into()));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn export(&self, run: &str, out: &mut (dyn Write + Send)) -> Result<()> {
        let asked = run.to_string();
        let (sender, mut pieces) = tokio::sync::mpsc::channel::<Vec<u8>>(PIECES);
        let reading = self.store.read_apart(move |reader| {
            reader.export(&asked, &mut |piece| {
                // Whoever writes it has given up; that has its own error.
                sender.blocking_send(piece).map_err(|_| Error::Gone)
            })
        });
        let failed = |error: std::io::Error| Error::File {
            path: "the export".into(),
            message: format!("it cannot be written: {error}"),
        };
        while let Some(piece) = pieces.recv().await {
            out.write_all(&piece).map_err(failed)?;
        }
        reading.await.map_err(|_| Error::Gone)??;
        out.flush().map_err(failed)
    }

    /// Adds the runs of a file that [`Journal::export`] has written: all of them or, when anything
    /// about the file is not as it must be, none. Gives their ids, parents before their children.
    ///
    /// A run that had not ended is parked, with the reason `imported`: nobody but a person takes it up.
    /// Its open questions stay open, and it can be resumed, replayed and forked like any other.
    ///
    /// The file is trusted no more than any input: its hash only tells that it is whole. Whoever may
    /// write one may make up runs.
    ///
    /// Errors: [`Error::Import`] with the line; [`Error::Exists`] when the journal has a run with the
    /// id of one of them.
    pub async fn import(&self, from: impl BufRead + Send + 'static) -> Result<Vec<RunId>> {
        // Read and checked apart, so that the journal can be written meanwhile.
        let staging = tokio::task::spawn_blocking(move || Staging::read(from));
        let staging = staging.await.map_err(|_| Error::Gone)??;
        self.store
            .write(move |ground| {
                let adopted = ground.adopt(&staging)?;
                Ok(adopted.map(|runs| (runs, Vec::new())))
            })
            .await
    }
}
