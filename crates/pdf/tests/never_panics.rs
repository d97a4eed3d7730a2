//! Whatever the bytes, reading ends with a result, and boxes lie on the page.

#![allow(
    clippy::expect_used,
    dead_code,
    reason = "tests; each uses a part of the writer"
)]

mod writer;

use plumb_pdf::{Options, read};
use proptest::prelude::*;
use writer::{Sheet, file};

/// Reads and checks what every result must keep.
fn check(bytes: &[u8]) {
    let Ok(pdf) = read(bytes, &Options::default()) else {
        return;
    };
    for page in &pdf.pages {
        assert!(page.width > 0.0 && page.height > 0.0);
        for block in &page.blocks {
            assert!(!block.lines.is_empty());
            check_box(block.bounds);
            for line in &block.lines {
                check_box(line.bounds);
                assert!(!line.words.is_empty());
                assert!(line.cells.iter().all(|cell| *cell < line.words.len()));
                line.words.iter().for_each(|word| check_box(word.bounds));
            }
            let _ = block.text();
        }
    }
}

fn check_box(bounds: [f32; 4]) {
    assert!(
        bounds.iter().all(|value| (0.0..=1.0).contains(value)),
        "{bounds:?}"
    );
    assert!(
        bounds[0] <= bounds[2] && bounds[1] <= bounds[3],
        "{bounds:?}"
    );
}

/// Operators with numbers of every size, in any order.
fn content() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        (-1000i32..1000).prop_map(|number| number.to_string()),
        (-9.0f64..9.0).prop_map(|number| format!("{number:.3}")),
        Just("999999999999".to_owned()),
        Just("0".to_owned()),
    ];
    let operator = prop::sample::select(vec![
        "q", "Q", "cm", "BT", "ET", "Tf", "Td", "TD", "Tm", "T*", "Tc", "Tw", "Tz", "TL", "Ts",
        "Tj", "'", "\"", "re", "m", "l", "h", "S", "f", "B", "n", "Do", "BDC", "EMC", "gs",
    ]);
    let text = "[a-zA-Z ,.-]{0,12}".prop_map(|text| format!("({text}) Tj"));
    let step = prop_oneof![
        3 => text,
        1 => Just("/F1 12 Tf".to_owned()),
        1 => Just("/F3 9 Tf".to_owned()),
        4 => (prop::collection::vec(number, 0..7), operator).prop_map(|(numbers, operator)| format!("{} {operator}", numbers.join(" "))),
    ];
    prop::collection::vec(step, 0..60)
        .prop_map(|steps| format!("BT /F1 10 Tf 100 500 Td {}", steps.join("\n")))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        check(&bytes);
        check(&[b"%PDF-1.5\n".as_slice(), &bytes].concat());
    }

    #[test]
    fn random_operators(contents in prop::collection::vec(content(), 1..4), rotate in -400i32..400, edges in prop::array::uniform4(-900i32..900)) {
        let [x0, y0, x1, y1] = edges;
        let entries = format!("/Rotate {rotate} /CropBox [{x0} {y0} {x1} {y1}]");
        let sheets: Vec<Sheet> = contents.into_iter().map(|content| Sheet { entries: entries.clone(), content }).collect();
        check(&file(&sheets));
    }

    #[test]
    fn changed_files(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20), cut in any::<prop::sample::Index>()) {
        let sheets: Vec<Sheet> = (0..3).map(|_| writer::sheet(&[(72, 700, 12, "Some text to break"), (72, 680, 12, "and more of it")])).collect();
        let mut bytes = file(&sheets);
        for (index, byte) in changes {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        check(&bytes);
        check(&bytes[..cut.index(bytes.len())]);
    }
}
