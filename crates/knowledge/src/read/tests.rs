#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::io::Write as _;

use proptest::prelude::*;

use super::*;
use crate::document::BlockKind;

/// Reads a text; one line for each block: its kind and its text.
fn blocks(name: &str, text: &str) -> String {
    let document = read_file(Path::new(name), text.as_bytes()).unwrap();
    let line = |block: &crate::document::Block| {
        let kind = match block.kind {
            BlockKind::Heading(level) => format!("h{level}"),
            BlockKind::Paragraph => "p".to_owned(),
            BlockKind::ListItem => "li".to_owned(),
            BlockKind::Table => "table".to_owned(),
            BlockKind::Code => "code".to_owned(),
        };
        format!(
            "{kind}: {}",
            document.text[block.range.clone()].replace('\n', "⏎")
        )
    };
    document
        .blocks
        .iter()
        .map(line)
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn markdown_keeps_the_files_own_text() {
    let text = "---\ntitle: In front\n---\n# Top\n\n[![badge](b.svg)](ci)\n\nOne *two*.\n<!-- no -->\n\n- a\n  - b\n\n    more\n- c\n\n> [!NOTE]\n> Mind it.\n\n```sh\nls\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n";
    insta::assert_snapshot!(blocks("x.md", text), @"
    h1: # Top
    p: One *two*.
    li: - a
    li: - b
    p: more
    li: - c
    p: Mind it.
    code: ```sh⏎ls⏎```
    table: | a | b |⏎|---|---|⏎| 1 | 2 |
    ");
    let document = read_file(Path::new("x.md"), text.as_bytes()).unwrap();
    assert_eq!(document.title, "In front");
    assert!(!document.text.contains("badge"), "{}", document.text);
}

#[test]
fn sources_that_sphinx_copies_are_read_as_what_they_were() {
    let source = ".. index:: Docker\n\nTitle\n=====\n\nText.\n";
    assert_eq!(blocks("page.rst.txt", source), "h1: Title⏎=====\np: Text.");
    assert_eq!(
        blocks("page.txt", source),
        "p: .. index:: Docker\nh1: Title⏎=====\np: Text."
    );
    assert_eq!(
        blocks("page.md.txt", "# Top\n\nText."),
        "h1: # Top\np: Text."
    );
    assert!(is_markdown(Path::new("page.md.txt.gz")) && is_html(Path::new("a/b.HTM")));
    assert!(!is_markdown(Path::new("page.txt")) && !is_html(Path::new("html")));
}

#[test]
fn restructured_text_is_read_by_its_layout() {
    let text = "=====\nTitle\n=====\n\n.. _target:\n\nPart\n----\n\n.. toctree::\n   :maxdepth: 2\n\n   one\n   two\n\nSome text::\n\n    code here\n\n    more code\n\n.. a comment\n   of two lines\n\n- item\n- other\n  goes on\n\n.. note:: Mind\n   this.\n\n.. code-block:: c\n   :linenos:\n\n   int x;\n\n.. versionadded:: 3.4\n\nterm\n  What it is.\n\n=====  ====\nName   Size\n=====  ====\nint    4\n=====  ====\n\nThe end.\n";
    insta::assert_snapshot!(blocks("x.rst", text), @"
    h1: =====⏎Title⏎=====
    h2: Part⏎----
    p: Some text::
    code:     code here
    code:     more code
    li: - item
    li: - other⏎  goes on
    p: Mind⏎   this.
    code:    int x;
    p: versionadded:: 3.4
    li: term⏎  What it is.
    table: =====  ====⏎Name   Size⏎=====  ====⏎int    4⏎=====  ====
    p: The end.
    ");
}

#[test]
fn plain_text_is_read_by_its_layout() {
    let text = "Guide to frobs\n==============\n\nA frob is a thing\nthat frobs.  Kinds:\n- small\n- large\n\nINSTALLING\n\n    $ make install\n\n1.2 Files and places\n\n/etc/frob    settings     text\n/var/frob    data         binary\n\nIn version\n2. it was not so.\n\nIntroduction ........... 3\nDetails ................ 4\n";
    insta::assert_snapshot!(blocks("x.txt", text), @"
    h1: Guide to frobs⏎==============
    p: A frob is a thing⏎that frobs.  Kinds:
    li: - small
    li: - large
    h2: INSTALLING
    code:     $ make install
    h3: 1.2 Files and places
    code: /etc/frob    settings     text⏎/var/frob    data         binary
    p: In version⏎2. it was not so.
    ");
}

#[test]
fn heads_and_feet_of_pages_are_no_text() {
    let page = |number: u32, text: &str| {
        format!(
            "   {text} are used.\n\n\n\nBradner    Best Practice    [Page {number}]\n\u{c}\nRFC 2119    Key Words    March 1997\n\n"
        )
    };
    let text: String = (1..5)
        .map(|number| page(number, &format!("Words of page {number}")))
        .collect();
    insta::assert_snapshot!(blocks("rfc.txt", &text), @"
    p: Words of page 1 are used.
    p: Words of page 2 are used.
    p: Words of page 3 are used.
    p: Words of page 4 are used.
    ");
}

#[test]
fn the_content_decides_where_the_name_is_wrong() {
    assert_eq!(
        blocks("page.txt", "<!DOCTYPE html><p>Hello <b>there</b>"),
        "p: Hello there"
    );
    assert_eq!(blocks("page", "<html><p>Hello"), "p: Hello");
    assert_eq!(blocks("notes.unknown", "Hello there"), "p: Hello there");
}

#[test]
fn compressed_files_and_old_encodings_are_read() {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(b"caf\xe9 au lait").unwrap();
    let packed = packed.finish().unwrap();
    let text = |name: &str, bytes: &[u8]| read_file(Path::new(name), bytes).unwrap().text;
    assert_eq!(text("a.txt.gz", &packed), "café au lait");
    let cut = read_file(Path::new("a.txt.gz"), &packed[..20]).unwrap_err();
    assert!(matches!(cut.problem, Problem::Broken(_)), "{cut}");
    assert_eq!(
        text(
            "a.html",
            b"<html><head><meta charset=\"iso-8859-2\"></head><body><p>\xb1</p></body></html>"
        ),
        "ą"
    );
    assert_eq!(
        text(
            "a.html",
            b"<?xml version=\"1.0\" encoding=\"iso-8859-5\"?><html><p>\xbf</p></html>"
        ),
        "П"
    );
    assert_eq!(text("a.txt", b"\xef\xbb\xbfno mark"), "no mark");
    assert_eq!(text("a.txt", b"\xff\xfeh\0i\0"), "hi");
    assert_eq!(text("a.txt", b"w\0i\0d\0e\0"), "wide");
    assert_eq!(
        text("a.txt", "äöüßäöüßäöüß \u{fffd}".as_bytes()),
        "äöüßäöüßäöüß \u{fffd}"
    );
    let damaged = [b"x\xff".as_slice(), "äöüßäöüßäöüß".as_bytes()].concat();
    assert_eq!(text("a.txt", &damaged), "x\u{fffd}äöüßäöüßäöüß");
}

#[test]
fn what_is_no_document_says_why() {
    let error = |name: &str, bytes: &[u8]| read_file(Path::new(name), bytes).unwrap_err();
    assert!(matches!(
        error("a.txt", b"a\0bcdefg\xff\0\0").problem,
        Problem::Binary
    ));
    assert!(matches!(error("a.md", b" \n").problem, Problem::NoText));
    assert!(matches!(
        error("a.html", b"<nav><a href=x>Home</a></nav><script>x</script>").problem,
        Problem::NoText
    ));
    assert!(matches!(
        error("a.pdf", b"hello").problem,
        Problem::Broken(_)
    ));
    assert!(matches!(
        error("a.pdf", b"%PDF-1.4\nrubbish").problem,
        Problem::Broken(_)
    ));
    let deep = "<div>".repeat(5000);
    assert!(matches!(
        error("a.html", deep.as_bytes()).problem,
        Problem::Broken(_)
    ));
    let message = error("folder/a.md", b"").to_string();
    assert_eq!(
        message,
        "folder/a.md: it has no text; if it is a scan, run it through OCR first"
    );
}

#[test]
fn decompression_is_bounded() {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(&vec![b' '; 3 << 20]).unwrap();
    let packed = packed.finish().unwrap();
    let options = ReadOptions { max_bytes: 1 << 20 };
    let error = read_file_with(Path::new("a.txt.gz"), &packed, &options).unwrap_err();
    assert!(
        matches!(error.problem, Problem::TooLarge { limit: 1_048_576 }),
        "{error}"
    );
    let error = read_file_with(Path::new("a.txt"), &vec![b'a'; 2 << 20], &options).unwrap_err();
    assert!(matches!(error.problem, Problem::TooLarge { .. }), "{error}");
}

#[test]
fn a_walk_takes_documents_in_a_fixed_order() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let write = |name: &str, text: &str| {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let names = [
        "b.html",
        "a/c.md.gz",
        "a/README",
        "a/README.Debian",
        "a/x.rs",
        "a/changelog.gz",
        ".hidden/d.md",
        ".plumb/e.md",
        "ignored/f.md",
        "z.pdf",
        "given.conf",
        "tool",
    ];
    names.iter().for_each(|name| write(name, "text"));
    write(".gitignore", "ignored/\n");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(root, root.join("a/loop")).unwrap();
        std::os::unix::fs::symlink(root.join("b.html"), root.join("same.html")).unwrap();
        std::os::unix::fs::symlink(root.join("nowhere"), root.join("broken.html")).unwrap();
    }
    let found = |paths: &[&str], options| {
        let paths: Vec<_> = paths.iter().map(|path| root.join(path)).collect();
        let show = |entry: Result<FileEntry, Obstacle>| match entry {
            Ok(entry) => entry.path.strip_prefix(root).unwrap().display().to_string(),
            Err(obstacle) => format!("! {}", obstacle.path.strip_prefix(root).unwrap().display()),
        };
        walk(&paths, options).map(show).collect::<Vec<_>>()
    };
    let all = [
        "a/README",
        "a/README.Debian",
        "a/c.md.gz",
        "a/changelog.gz",
        "b.html",
        "! broken.html",
        "z.pdf",
    ];
    assert_eq!(found(&["."], WalkOptions::default()), all);
    assert_eq!(
        found(
            &["given.conf", "b.html", "b.html", "none"],
            WalkOptions::default()
        ),
        ["given.conf", "b.html", "! none"]
    );
    let options = WalkOptions {
        take_ignored: true,
        take_hidden: true,
    };
    assert_eq!(
        found(&["ignored", ".hidden", "."], options)[..2],
        ["ignored/f.md", ".hidden/d.md"]
    );
    assert!(
        !found(&["."], options)
            .iter()
            .any(|name| name.contains(".plumb"))
    );
}

proptest! {
    #[test]
    fn blocks_of_anything_are_in_order_and_inside(name in "x\\.(html|md|rst|txt)", text in "[<>/a-z=\"# .|\\-*:0-9\n\t]{0,300}|\\PC{0,200}") {
        if let Ok(document) = read_file(Path::new(&name), text.as_bytes()) {
            prop_assert!(is_sound(&document));
        }
    }

    #[test]
    fn any_page_is_read_without_losing_what_is_said(parts in proptest::collection::vec("(<p>|<div>|<li>|<ul>|<td>|<tr>|<table>|<dl>|<dt>|<dd>|<b>|</p>|</div>|</ul>|</table>|</b>|<h2>|</h2>|<pre>|</pre>|<br>)?[a-z]{12,14} ", 0..40)) {
        let page = parts.concat();
        let Ok(document) = read_file(Path::new("x.html"), page.as_bytes()) else { return Ok(()) };
        for part in &parts {
            let word = part.rsplit('>').next().unwrap_or_default().trim();
            prop_assert!(document.text.contains(word), "{word} is missing in {}", document.text);
        }
    }

    #[test]
    fn bytes_never_panic(name in "x\\.(html|md|rst|txt|pdf|gz|bin)", bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read_file(Path::new(&name), &bytes);
    }
}
