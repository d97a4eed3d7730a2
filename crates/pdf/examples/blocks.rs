//! Prints the blocks of a PDF: `cargo run -p plumb-pdf --example blocks -- FILE [FIRST [LAST]]`.

#![allow(clippy::print_stdout, reason = "a program that prints")]

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().ok_or("pass a PDF file")?;
    let first: u32 = arguments.next().map_or(Ok(1), |number| number.parse())?;
    let last: u32 = arguments
        .next()
        .map_or(Ok(first + 1), |number| number.parse())?;
    let pdf = plumb_pdf::read(&std::fs::read(file)?, &plumb_pdf::Options::default())?;
    println!(
        "{:?}, {} pages, damaged {:?}",
        pdf.title,
        pdf.pages.len(),
        pdf.damaged
    );
    for page in pdf
        .pages
        .iter()
        .filter(|page| (first..=last).contains(&page.number))
    {
        println!("== page {} ({} x {})", page.number, page.width, page.height);
        for block in &page.blocks {
            println!("-- {:?} {:.3?}\n{}", block.kind, block.bounds, block.text());
        }
    }
    Ok(())
}
