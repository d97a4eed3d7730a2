//! Writes small PDF files: pages of content streams over the standard fonts.

/// One page to be written.
#[derive(Clone, Default)]
pub(crate) struct Sheet {
    /// Entries of the page dictionary besides its type, parent, resources and contents.
    pub(crate) entries: String,
    /// The content stream. Fonts: F1 Helvetica, F2 Helvetica-Bold, F3 Courier.
    pub(crate) content: String,
}

/// A page of US Letter size with lines of text: x, y from the bottom, size, text.
pub(crate) fn sheet(lines: &[(i32, i32, i32, &str)]) -> Sheet {
    let text = |(x, y, size, text): &(i32, i32, i32, &str)| {
        format!("BT /F1 {size} Tf {x} {y} Td ({text}) Tj ET\n")
    };
    Sheet {
        entries: String::new(),
        content: lines.iter().map(text).collect(),
    }
}

/// The file. The media box is inherited from the page tree.
pub(crate) fn file(sheets: &[Sheet]) -> Vec<u8> {
    file_with(sheets, "")
}

/// The file with more entries in its trailer.
pub(crate) fn file_with(sheets: &[Sheet], trailer: &str) -> Vec<u8> {
    let pages: Vec<String> = (0..sheets.len())
        .map(|index| format!("{} 0 R", 6 + 2 * index))
        .collect();
    let fonts = "/Font << /F1 3 0 R /F2 4 0 R /F3 5 0 R >>";
    let mut objects = vec![
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        format!(
            "<< /Type /Pages /Kids [{}] /Count {} /MediaBox [0 0 612 792] /Resources << {fonts} >> >>",
            pages.join(" "),
            sheets.len()
        ),
    ];
    for name in ["Helvetica", "Helvetica-Bold", "Courier"] {
        objects.push(format!(
            "<< /Type /Font /Subtype /Type1 /BaseFont /{name} /Encoding /WinAnsiEncoding >>"
        ));
    }
    for (index, sheet) in sheets.iter().enumerate() {
        objects.push(format!(
            "<< /Type /Page /Parent 2 0 R /Contents {} 0 R {} >>",
            7 + 2 * index,
            sheet.entries
        ));
        objects.push(format!(
            "<< /Length {} >>\nstream\n{}\nendstream",
            sheet.content.len(),
            sheet.content
        ));
    }
    write(&objects, trailer)
}

fn write(objects: &[String], trailer: &str) -> Vec<u8> {
    let mut bytes = b"%PDF-1.7\n".to_vec();
    let mut offsets = Vec::new();
    for (index, object) in objects.iter().enumerate() {
        offsets.push(bytes.len());
        bytes.extend_from_slice(format!("{} 0 obj\n{object}\nendobj\n", index + 1).as_bytes());
    }
    let start = bytes.len();
    let count = objects.len() + 1;
    bytes.extend_from_slice(format!("xref\n0 {count}\n0000000000 65535 f \n").as_bytes());
    for offset in offsets {
        bytes.extend_from_slice(format!("{offset:010} 00000 n \n").as_bytes());
    }
    let end =
        format!("trailer\n<< /Size {count} /Root 1 0 R {trailer} >>\nstartxref\n{start}\n%%EOF\n");
    bytes.extend_from_slice(end.as_bytes());
    bytes
}
