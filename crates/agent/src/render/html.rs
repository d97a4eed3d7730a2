//! One HTML page without scripts and without anything from outside.

use crate::research::{Citation, Nearest, Report};

use super::{around, markdown, path, place};

const STYLE: &str = include_str!("report.css");

/// The whole report as a page: a citation number opens the quoted passage in its context.
pub fn html(report: &Report) -> String {
    let mut body = format!(
        "<h1>{}</h1>\n<section class=answer>\n",
        escape(&report.question)
    );
    if report.answered {
        for claim in &report.claims {
            let links: String = claim
                .citations
                .iter()
                .map(|n| format!("<a class=cite href=\"#c{n}\">{n}</a>"))
                .collect();
            let reason = claim.reason.as_deref().unwrap_or_default();
            let mark = if claim.supported {
                String::new()
            } else {
                format!(
                    " <strong class=unsupported title=\"{}\">unsupported</strong>",
                    escape(reason)
                )
            };
            body.push_str(&format!("<p>{} {links}{mark}</p>\n", escape(&claim.text)));
        }
    } else {
        body.push_str("<p class=none>The documents do not answer this question.</p>\n");
    }
    body.push_str("</section>\n");
    plan(report, &mut body);
    if !report.citations.is_empty() {
        body.push_str("<h2>Sources</h2>\n");
        report.citations.iter().for_each(|c| citation(c, &mut body));
    }
    if !report.nearest.is_empty() {
        body.push_str("<h2>Nearest passages</h2>\n");
        report.nearest.iter().for_each(|n| nearest(n, &mut body));
    }
    body.push_str(&format!(
        "<footer>{}</footer>\n",
        escape(&markdown::summary(report))
    ));
    format!(
        "<!doctype html>\n<html lang=en>\n<meta charset=utf-8>\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=viewport content=\"width=device-width, initial-scale=1\">\n\
         <title>{}</title>\n<style>\n{STYLE}</style>\n<main>\n{body}</main>\n</html>\n",
        escape(&report.question)
    )
}

fn plan(report: &Report, body: &mut String) {
    if report.plan.len() < 2 {
        return;
    }
    body.push_str("<h2>Plan</h2>\n<ul>\n");
    for question in &report.plan {
        let open = if report.open.contains(question) {
            " <em>not answered by the documents</em>"
        } else {
            ""
        };
        body.push_str(&format!("<li>{}{open}</li>\n", escape(question)));
    }
    body.push_str("</ul>\n");
}

fn citation(citation: &Citation, body: &mut String) {
    let (before, quote, after) = around(citation);
    let mark = if citation.verified {
        "verified"
    } else {
        "not found in the passage"
    };
    let n = citation.number;
    body.push_str(&format!(
        "<article id=c{n}>\n<h3><span class=number>{n}</span> {}</h3>\n<p class=place>{} · {mark}</p>\n\
         <blockquote>{}</blockquote>\n\
         <div class=context>{}<mark>{}</mark>{}</div>\n</article>\n",
        escape(&path(&citation.title, &citation.headings)),
        escape(&place(&citation.file, citation.page)),
        escape(&citation.quote),
        escape(before),
        escape(quote),
        escape(after),
    ));
}

fn nearest(nearest: &Nearest, body: &mut String) {
    body.push_str(&format!(
        "<article class=near>\n<h3>{}</h3>\n<p class=place>{}</p>\n<div class=context>{}</div>\n</article>\n",
        escape(&path(&nearest.title, &nearest.headings)),
        escape(&place(&nearest.file, nearest.page)),
        escape(&nearest.text),
    ));
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
