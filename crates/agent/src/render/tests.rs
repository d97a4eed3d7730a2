#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use super::*;
use crate::research::{Claim, Nearest, Report, Usage};

fn citation(number: usize, quote: &str, context: &str) -> Citation {
    let start = context.find(quote);
    Citation {
        number,
        file: "docs/server.pdf".to_owned(),
        title: "Server guide".to_owned(),
        headings: vec!["Server guide".to_owned(), "Sessions".to_owned()],
        page: Some(12),
        places: Vec::new(),
        passage: "0123456789abcdef".to_owned(),
        quote: quote.to_owned(),
        context: context.to_owned(),
        range: start.map(|start| (start, start + quote.len())),
        offset: 0,
        verified: start.is_some(),
    }
}

fn report() -> Report {
    let claim = |text: &str, citations: Vec<usize>, reason: Option<&str>| Claim {
        text: text.to_owned(),
        citations,
        supported: reason.is_none(),
        reason: reason.map(str::to_owned),
    };
    let mut report = Report {
        run: "01run".to_owned(),
        question: "How long are <b>sessions</b> kept?".to_owned(),
        answered: true,
        answer: String::new(),
        plan: vec![
            "How long are sessions kept?".to_owned(),
            "Can it be changed?".to_owned(),
        ],
        open: vec!["Can it be changed?".to_owned()],
        claims: vec![
            claim(
                "A session is kept for 30 minutes.\n# it can be changed:\n• server --keep 60 <id>",
                vec![1],
                None,
            ),
            claim(
                "It costs 5 dollars.",
                vec![2],
                Some("not in what it cites: 5"),
            ),
        ],
        citations: vec![
            citation(
                1,
                "removed after 30 minutes",
                "A session is removed after 30 minutes. <script>x</script>",
            ),
            citation(
                2,
                "words that are not there",
                "![x](http://example.org/x.png)",
            ),
        ],
        nearest: vec![Nearest {
            file: "docs/a.md".to_owned(),
            title: "A".to_owned(),
            headings: Vec::new(),
            page: None,
            text: "Something *near*.".to_owned(),
        }],
        unsupported: 1,
        usage: Usage {
            model_calls: 7,
            prompt_tokens: 900,
            cached_tokens: 400,
            output_tokens: 60,
        },
        seconds: 12.3,
    };
    report.answer = answer(&report);
    report
}

#[test]
fn markdown_shows_claims_sources_and_what_is_open() {
    insta::assert_snapshot!(markdown(&report()));
}

#[test]
fn html_is_one_page_without_markup_of_documents() {
    let page = html(&report());
    assert!(
        !page.contains("<script"),
        "text of a document became markup"
    );
    assert!(!page.contains("<b>"), "text of a question became markup");
    assert!(page.contains("<mark>removed after 30 minutes</mark>"));
    assert!(page.contains("default-src 'none'"));
    insta::assert_snapshot!(page);
}

#[test]
fn text_of_documents_cannot_become_an_image_in_markdown() {
    let text = markdown(&report());
    let context = report().citations.pop().unwrap().context;
    assert!(context.starts_with("![x]("));
    assert!(!text.contains("![x]("));
}
