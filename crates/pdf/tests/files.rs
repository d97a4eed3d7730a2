//! Whole files, written here, read back.

#![allow(
    clippy::expect_used,
    dead_code,
    reason = "tests; each uses a part of the writer"
)]

mod writer;

use plumb_pdf::{Block, Error, Kind, Options, Pdf, read};
use writer::{Sheet, file, file_with, sheet};

fn read_sheets(sheets: &[Sheet]) -> Pdf {
    read(&file(sheets), &Options::default()).expect("a file that can be read")
}

/// Kind and text of all blocks of a page, one a line.
fn show(blocks: &[Block]) -> String {
    let lines: Vec<String> = blocks
        .iter()
        .map(|block| format!("{:?}: {}", block.kind, block.text()))
        .collect();
    lines.join("\n")
}

#[test]
fn words_have_boxes_on_the_page() {
    let pdf = read_sheets(&[sheet(&[(72, 700, 20, "Hello World")])]);
    let page = &pdf.pages[0];
    assert_eq!((page.number, page.width, page.height), (1, 612.0, 792.0));
    let words = &page.blocks[0].lines[0].words;
    assert_eq!(
        words
            .iter()
            .map(|word| word.text.as_str())
            .collect::<Vec<_>>(),
        ["Hello", "World"]
    );
    let [left, top, right, bottom] = words[0].bounds.map(f64::from);
    // Hello in Helvetica at 20 points is 45.6 points wide.
    assert!((left - 72.0 / 612.0).abs() < 0.001);
    assert!((right - (72.0 + 45.56) / 612.0).abs() < 0.002);
    let baseline = 92.0 / 792.0;
    assert!(top < baseline - 0.015 && bottom > baseline && bottom < baseline + 0.01);
}

#[test]
fn a_turned_page_reads_as_displayed() {
    // Text that runs up the sheet is upright on a page that is turned by 90 degrees clockwise.
    let content = "BT /F1 12 Tf 0 1 -1 0 100 200 Tm (Turned text) Tj ET".to_owned();
    let pdf = read_sheets(&[Sheet {
        entries: "/Rotate 90".to_owned(),
        content,
    }]);
    let page = &pdf.pages[0];
    assert_eq!((page.width, page.height), (792.0, 612.0));
    let line = &page.blocks[0].lines[0];
    assert_eq!(line.text(), "Turned text");
    // Its start is 200 points from the left and its baseline 100 points from the top.
    assert!((line.bounds[0] - 200.0 / 792.0).abs() < 0.001);
    assert!(line.bounds[1] < 100.0 / 612.0 && line.bounds[3] > 100.0 / 612.0);
}

#[test]
fn every_rotation_keeps_the_place_on_the_page() {
    // A word at the same displayed place for all rotations: drawn upright after the rotation.
    let matrices = [
        (0, "1 0 0 1 72 720"),
        (90, "0 1 -1 0 72 72"),
        (180, "-1 0 0 -1 540 72"),
        (270, "0 -1 1 0 540 720"),
    ];
    for (angle, matrix) in matrices {
        let content = format!("BT /F1 12 Tf {matrix} Tm (Corner) Tj ET");
        let pdf = read_sheets(&[Sheet {
            entries: format!("/Rotate {angle}"),
            content,
        }]);
        let page = &pdf.pages[0];
        let bounds = page.blocks[0].bounds;
        assert!(
            (bounds[0] * page.width - 72.0).abs() < 0.5,
            "{angle}: {bounds:?}"
        );
        assert!(
            bounds[1] * page.height < 72.0 && bounds[3] * page.height > 72.0,
            "{angle}: {bounds:?}"
        );
    }
}

#[test]
fn the_crop_box_is_the_page() {
    let mut cropped = sheet(&[(120, 650, 10, "inside"), (10, 10, 10, "outside")]);
    cropped.entries = "/CropBox [100 600 300 700]".to_owned();
    let pdf = read_sheets(&[cropped]);
    let page = &pdf.pages[0];
    assert_eq!((page.width, page.height), (200.0, 100.0));
    assert_eq!(show(&page.blocks), "Paragraph: inside");
    assert!((page.blocks[0].bounds[0] - 0.1).abs() < 0.001);
    assert!(page.blocks[0].bounds[1] < 0.5 && page.blocks[0].bounds[3] > 0.5);
}

#[test]
fn columns_headings_lists_and_code_are_found() {
    let mut content = String::from("BT /F2 18 Tf 72 740 Td (1. A Title) Tj ET\n");
    for (x, name) in [(72, "left"), (330, "right")] {
        for line in 0..6 {
            let y = 700 - 14 * line;
            content.push_str(&format!(
                "BT /F1 11 Tf {x} {y} Td (the {name} column has line number {line} here) Tj ET\n"
            ));
        }
    }
    content.push_str("BT /F1 11 Tf 72 560 Td (\\225 an item of a list) Tj ET\n");
    content.push_str(
        "BT /F3 10 Tf 72 530 Td (if x {) Tj 0 -12 Td (    run\\(\\)) Tj 0 -12 Td (}) Tj ET\n",
    );
    let pdf = read_sheets(&[Sheet {
        entries: String::new(),
        content,
    }]);
    insta::assert_snapshot!(show(&pdf.pages[0].blocks), @r"
    Heading(1): 1. A Title
    Paragraph: the left column has line number 0 here the left column has line number 1 here the left column has line number 2 here the left column has line number 3 here the left column has line number 4 here the left column has line number 5 here
    Paragraph: the right column has line number 0 here the right column has line number 1 here the right column has line number 2 here the right column has line number 3 here the right column has line number 4 here the right column has line number 5 here
    ListItem: • an item of a list
    Code: if x {
        run()
    }
    ");
}

#[test]
fn hyphens_of_line_ends_go_and_others_stay() {
    let pdf = read_sheets(&[sheet(&[
        (72, 700, 10, "The infor-"),
        (72, 688, 10, "mation is well-"),
        (72, 676, 10, "known; a well-known option is --update-"),
        (72, 664, 10, "index, and more infor-"),
        (72, 652, 10, "mation"),
    ])]);
    let text = "The information is well-known; a well-known option is --update-index, and more information";
    assert_eq!(pdf.pages[0].blocks[0].text(), text);
}

#[test]
fn a_name_that_is_broken_at_its_underscore_is_one_word() {
    let pdf = read_sheets(&[sheet(&[
        (72, 700, 10, "During development add -UNDEBUG to PKG_"),
        (72, 688, 10, "CPPFLAGS and leave __"),
        (72, 676, 10, "as it is."),
    ])]);
    let text = "During development add -UNDEBUG to PKG_CPPFLAGS and leave __ as it is.";
    assert_eq!(pdf.pages[0].blocks[0].text(), text);
}

#[test]
fn running_heads_and_page_numbers_are_set_apart() {
    let sheets: Vec<Sheet> = (1..=5)
        .map(|page| {
            let (head, number) = (format!("Manual, version {page}.0"), page.to_string());
            let body = [
                "Alpha says this.",
                "Beta says that.",
                "Gamma is silent.",
                "Delta too.",
                "The end.",
            ];
            sheet(&[
                (72, 760, 10, &head),
                (72, 735, 10, body[page - 1]),
                (300, 30, 10, &number),
            ])
        })
        .collect();
    let pdf = read_sheets(&sheets);
    for page in &pdf.pages {
        let kinds: Vec<Kind> = page.blocks.iter().map(|block| block.kind).collect();
        assert_eq!(
            kinds,
            [Kind::Boilerplate, Kind::Paragraph, Kind::Boilerplate],
            "page {}",
            page.number
        );
    }
}

#[test]
fn replacement_text_is_honoured() {
    let content =
        "BT /F1 12 Tf 72 700 Td (e) Tj /Span << /ActualText (ffi) >> BDC (X) Tj EMC (cient) Tj ET"
            .to_owned();
    let pdf = read_sheets(&[Sheet {
        entries: String::new(),
        content,
    }]);
    assert_eq!(pdf.pages[0].blocks[0].text(), "efficient");
}

#[test]
fn a_password_is_asked_for() {
    let key = "00".repeat(32);
    let trailer = format!(
        "/ID [<00><00>] /Encrypt << /Filter /Standard /V 2 /R 3 /Length 128 /P -4 /O <{key}> /U <{key}> >>"
    );
    let bytes = file_with(&[sheet(&[(72, 700, 10, "secret")])], &trailer);
    assert!(matches!(
        read(&bytes, &Options::default()),
        Err(Error::Encrypted { .. })
    ));
}

#[test]
fn what_is_no_text_is_an_error_that_says_so() {
    let empty = Sheet {
        entries: String::new(),
        content: "q 100 0 0 100 0 0 cm Q".to_owned(),
    };
    assert_eq!(
        read(&file(&[empty]), &Options::default()),
        Err(Error::NoText { pages: 1 })
    );
    assert_eq!(
        read(b"<html></html>", &Options::default()),
        Err(Error::NotPdf)
    );
    assert_eq!(read(b"", &Options::default()), Err(Error::NotPdf));
    let broken = read(b"%PDF-1.4\nnothing more", &Options::default());
    assert!(matches!(broken, Err(Error::Broken { .. })), "{broken:?}");
}

#[test]
fn limits_are_kept() {
    let bytes = file(&[
        sheet(&[(72, 700, 10, "one")]),
        sheet(&[(72, 700, 10, "two")]),
    ]);
    let few_bytes = Options {
        max_bytes: 100,
        ..Options::default()
    };
    assert!(matches!(
        read(&bytes, &few_bytes),
        Err(Error::TooLarge { unit: "bytes", .. })
    ));
    let few_pages = Options {
        max_pages: 1,
        ..Options::default()
    };
    let expected = Error::TooLarge {
        actual: 2,
        limit: 1,
        unit: "pages",
    };
    assert_eq!(read(&bytes, &few_pages), Err(expected));
}

#[test]
fn a_truncated_file_gives_what_is_left() {
    let sheets: Vec<Sheet> = (0..4)
        .map(|_| sheet(&[(72, 700, 10, "still here")]))
        .collect();
    let bytes = file(&sheets);
    let cut = bytes
        .windows(4)
        .position(|window| window == b"xref")
        .expect("a table");
    let pdf =
        read(&bytes[..cut], &Options::default()).expect("objects can be found without the table");
    assert_eq!(pdf.pages.len(), 4);
    assert_eq!(pdf.pages[3].blocks[0].text(), "still here");
}

#[test]
fn forms_that_draw_themselves_end() {
    let looping = Sheet {
        entries: "/Resources << /Font << /F1 3 0 R >> /XObject << /X 7 0 R >> >>".to_owned(),
        content: "BT /F1 12 Tf 72 700 Td (once) Tj ET /X Do".to_owned(),
    };
    let mut bytes = file(&[looping]);
    // Make the content stream a form, so that it draws itself.
    let text = String::from_utf8(bytes.clone()).expect("ASCII");
    bytes = text
        .replace(
            "<< /Length",
            "<< /Subtype /Form /BBox [0 0 612 792] /Length",
        )
        .into_bytes();
    let pdf = read(&bytes, &Options::default()).expect("a file that can be read");
    assert!(pdf.pages[0].blocks[0].text().contains("once"));
}

#[test]
fn bitmap_fonts_without_names_are_read_by_their_codes() {
    // A font as dvips writes it: glyphs `a72` and `a105` for the codes of H and i.
    let font = "/T << /Type /Font /Subtype /Type3 /FontMatrix [0.01 0 0 0.01 0 0] /FontBBox [0 -20 100 80] /FirstChar 72 \
                /LastChar 105 /Widths [60 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 30] \
                /Encoding << /Differences [72 /a72 105 /a105] >> /CharProcs << /a72 7 0 R /a105 7 0 R >> >>";
    let sheet = Sheet {
        entries: format!("/Resources << /Font << {font} >> >>"),
        content: "BT /T 20 Tf 72 700 Td (Hi) Tj ET".to_owned(),
    };
    let pdf = read_sheets(&[sheet]);
    assert_eq!(pdf.pages[0].blocks[0].text(), "Hi");
}
