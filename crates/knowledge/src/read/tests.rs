#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::io::Write as _;

use proptest::prelude::*;

use super::*;
use crate::document::BlockKind;

fn blocks(name: &str, text: &str) -> Vec<(BlockKind, String)> {
    let document = read_file(Path::new(name), text.as_bytes()).unwrap();
    let text = |block: &crate::document::Block| document.text[block.range.clone()].to_owned();
    document
        .blocks
        .iter()
        .map(|block| (block.kind, text(block)))
        .collect()
}

#[test]
fn html_loses_its_surroundings_and_nothing_else() {
    let page = r##"<!DOCTYPE html><html><head><title>20.3. Connections</title><style>p{}</style></head><body>
        <div class="navheader"><a href="a.html">Prev</a></div><nav>Menu</nav>
        <h2>20.3. Connections<a class="headerlink" href="#x">¶</a></h2>
        <p>The default is <code>5432</code>,
           see <a href="x.html">there</a>.</p>
        <dl><dt><code>port</code> (<code>integer</code>)</dt><dd><p>The TCP port.</p></dd></dl>
        <ul><li>one</li><li><p>two</p></li></ul>
        <table><tr><th>Name</th><th>Size</th></tr><tr><td>bigint</td><td>8 bytes</td></tr></table>
        <pre>a  b
c</pre><script>alert(1)</script>
        <ul class="menu"><li><a href="1">One</a></li></ul>
        <p><a href="next.html">Next chapter</a></p>
        <div class="navfooter">Next</div></body></html>"##;
    use BlockKind::*;
    let expected = [
        (Heading(2), "20.3. Connections"),
        (Paragraph, "The default is 5432, see there."),
        (ListItem, "port (integer)"),
        (Paragraph, "The TCP port."),
        (ListItem, "one"),
        (ListItem, "two"),
        (Table, "Name | Size\nbigint | 8 bytes"),
        (Code, "a  b\nc"),
    ];
    let expected: Vec<_> = expected
        .into_iter()
        .map(|(kind, text)| (kind, text.to_owned()))
        .collect();
    assert_eq!(blocks("page.html", page), expected);
}

#[test]
fn markdown_keeps_the_files_own_text() {
    let text = "---\ntitle: x\n---\n# Top\n\nOne *two*.\n\n- a\n  - b\n- c\n\n```sh\nls\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n";
    use BlockKind::*;
    let found = blocks("x.md", text);
    let kinds: Vec<BlockKind> = found.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(
        kinds,
        [Heading(1), Paragraph, ListItem, ListItem, Code, Table]
    );
    assert_eq!(found[1].1, "One *two*.");
    assert_eq!(found[2].1, "- a\n  - b");
    assert_eq!(
        read_file(Path::new("x.md"), text.as_bytes()).unwrap().title,
        "Top"
    );
}

#[test]
fn restructured_text_has_headings_and_literal_blocks() {
    let text = "=====\nTitle\n=====\n\nPart\n----\n\nSome text::\n\n    code here\n\n.. a comment\n\n- item\n";
    use BlockKind::*;
    let kinds: Vec<BlockKind> = blocks("x.rst", text)
        .into_iter()
        .map(|(kind, _)| kind)
        .collect();
    assert_eq!(kinds, [Heading(1), Heading(2), Paragraph, Code, ListItem]);
}

#[test]
fn compressed_files_and_old_encodings_are_read() {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(b"caf\xe9 au lait").unwrap();
    let packed = packed.finish().unwrap();
    assert_eq!(
        read_file(Path::new("a.txt.gz"), &packed).unwrap().text,
        "café au lait"
    );
    assert!(matches!(
        read_file(Path::new("a.txt.gz"), &packed[..20]),
        Err(ReadError::Broken(_))
    ));
    let page = b"<html><head><meta charset=\"iso-8859-2\"></head><body><p>\xb1</p></body></html>";
    assert_eq!(read_file(Path::new("a.html"), page).unwrap().text, "ą");
}

#[test]
fn what_is_no_document_says_why() {
    let error = |name: &str, bytes: &[u8]| read_file(Path::new(name), bytes).unwrap_err();
    assert_eq!(error("a.txt", b"a\0b"), ReadError::Binary);
    assert_eq!(error("a.md", b" \n"), ReadError::NoText);
    assert!(matches!(error("a.pdf", b"hello"), ReadError::Pdf(_)));
    assert!(matches!(
        error("a.pdf", b"%PDF-1.4\nrubbish"),
        ReadError::Pdf(_)
    ));
}

proptest! {
    #[test]
    fn blocks_of_anything_are_in_order_and_inside(name in "x\\.(html|md|rst|txt)", text in "[<>/a-z=\"# .|\\-*\n\t]{0,300}|\\PC{0,200}") {
        if let Ok(document) = read_file(Path::new(&name), text.as_bytes()) {
            let mut end = 0;
            for block in &document.blocks {
                prop_assert!(block.range.start >= end && block.range.end > block.range.start);
                prop_assert!(document.text.get(block.range.clone()).is_some());
                end = block.range.end;
            }
        }
    }
}
