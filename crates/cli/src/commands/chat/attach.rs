//! Files that go with what a person says: text as text, pictures and PDFs as they are, or as text where the
//! model takes no files.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::{Media, MediaSource, Part};

/// The longest text, in bytes.
const MOST_TEXT_BYTES: u64 = 200_000;
/// The largest picture or PDF, in bytes.
const MOST_MEDIA_BYTES: u64 = 20_000_000;

/// Reads a file for `model`.
pub fn attach(path: &Path, model: &str) -> Result<Part> {
    let name = path.display();
    let bytes = std::fs::metadata(path)
        .with_context(|| format!("cannot read {name}"))?
        .len();
    let ending = path
        .extension()
        .and_then(|ending| ending.to_str())
        .unwrap_or_default();
    let media_type = match ending.to_ascii_lowercase().as_str() {
        "png" => Some("image/png"),
        "jpg" | "jpeg" => Some("image/jpeg"),
        "gif" => Some("image/gif"),
        "webp" => Some("image/webp"),
        "pdf" => Some("application/pdf"),
        _ => None,
    };
    let is_local = model.split(',').any(|name| name.starts_with("local:"));
    match media_type {
        Some("application/pdf") if is_local => document(path),
        Some(_) if is_local => {
            bail!("{model} takes no pictures\nhint: switch with /model to one that does")
        }
        Some(media_type) => {
            check(path, bytes, MOST_MEDIA_BYTES)?;
            let content = std::fs::read(path).with_context(|| format!("cannot read {name}"))?;
            Ok(Part::Media(Media {
                media_type: media_type.to_owned(),
                source: MediaSource::Data(STANDARD.encode(content)),
                name: path
                    .file_name()
                    .map(|name| name.to_string_lossy().into_owned()),
            }))
        }
        None => {
            check(path, bytes, MOST_TEXT_BYTES)?;
            let content = std::fs::read(path).with_context(|| format!("cannot read {name}"))?;
            match String::from_utf8(content) {
                Ok(text) if !text.contains('\0') => Ok(as_text(path, &text)),
                _ => bail!(
                    "{name} is neither text nor a picture nor a PDF\nhint: turn it into one of these"
                ),
            }
        }
    }
}

fn check(path: &Path, bytes: u64, most: u64) -> Result<()> {
    if bytes > most {
        bail!(
            "{} has {bytes} bytes; at most {most} can be attached",
            path.display()
        );
    }
    Ok(())
}

/// The text of a document, as the library reads it.
fn document(path: &Path) -> Result<Part> {
    let failed = || format!("cannot read {}", path.display());
    let bytes = std::fs::read(path).with_context(failed)?;
    let document = knowledge::read::read_file(path, &bytes).with_context(failed)?;
    let most = usize::try_from(MOST_TEXT_BYTES)?;
    if document.text.len() > most {
        bail!(
            "{} has {} bytes of text; at most {most} can be attached\nhint: plumb research answers questions from long documents",
            path.display(),
            document.text.len()
        );
    }
    Ok(as_text(path, &document.text))
}

fn as_text(path: &Path, text: &str) -> Part {
    let name = path
        .file_name()
        .map_or_else(Default::default, |name| name.to_string_lossy());
    let text = format!("The file {name}:\n{}\n(end of {name})\n\n", text.trim_end());
    Part::Text { text }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use super::*;

    #[test]
    fn files_are_attached_as_the_model_takes_them() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        let text = attach(&file("a.txt", b"Four chairs.\n"), "local:a").unwrap();
        assert_eq!(
            text,
            Part::Text {
                text: "The file a.txt:\nFour chairs.\n(end of a.txt)\n\n".to_owned()
            }
        );
        let picture = file("a.PNG", b"\x89PNG");
        let Part::Media(media) = attach(&picture, "openai:a").unwrap() else {
            unreachable!("a picture is media");
        };
        assert_eq!(media.media_type, "image/png");
        let refused = |path: &Path, model: &str| attach(path, model).unwrap_err().to_string();
        assert!(refused(&picture, "local:a").starts_with("local:a takes no pictures"));
        assert!(refused(&file("a.bin", b"\0\x01"), "openai:a").contains("neither text nor"));
        let long = file("long.txt", &vec![b'a'; 200_001]);
        assert!(refused(&long, "openai:a").contains("at most 200000"));
        assert!(refused(&folder.path().join("none"), "openai:a").contains("cannot read"));
    }
}
