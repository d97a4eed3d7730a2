//! What surrounds the text of a page: navigation, running heads and feet, search boxes, buttons.
//!
//! Told by element, role, and the names that documentation generators (DocBook, Sphinx, doxygen,
//! texinfo, javadoc, LaTeX2HTML, AsciiDoc, MkDocs) and web sites give to such parts. Names that also
//! stand for text somewhere (doxygen's `contents` is the page itself) count only where most of the
//! part is links or it is but a few words.

use super::tree::{Id, Tree, is_invisible};

/// How much is taken for navigation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strictness {
    /// Lists of contents are left out.
    Strict,
    /// Lists of contents are kept, for pages that are nothing else.
    Lenient,
}

/// Words in a class or an id that name navigation wherever they stand.
const SURROUNDINGS: &[&str] = &[
    "navheader",
    "navfooter",
    "navbar",
    "navigation",
    "navpath",
    "nav-path",
    "node-nav",
    "nav-panel",
    "headnav",
    "footnav",
    "sphinxsidebar",
    "sphinxsidebarwrapper",
    "wy-nav-side",
    "wy-side-nav",
    "wy-nav-top",
    "rst-versions",
    "rst-footer-buttons",
    "bd-sidebar",
    "bd-toc",
    "breadcrumb",
    "breadcrumbs",
    "crumbs",
    "headerlink",
    "permalink",
    "skip-link",
    "skiplink",
    "skip-to-content",
    "skip-nav",
    "skipnav",
    "topnav",
    "bottomnav",
    "subnav",
    "navlist",
    "navlistsearch",
    "fixednav",
    "legalcopy",
    "viewcode-link",
    "viewcode-back",
    "mainmenu",
    "submenu",
    "menubar",
    "menu-bar",
    "topmenu",
    "searchmenu",
    "searchbox",
    "search-box",
    "quicksearch",
    "msearchbox",
    "msearchselectwindow",
    "msearchresultswindow",
    "side-nav",
    "cookie-banner",
    "cookie-consent",
    "pagination",
    "pager",
    "prev-next",
    "prevnext",
    "prev_next",
    "nosearch",
    "copy-button",
    "copybtn",
    "edit-link",
    "linenos",
    "lineno",
    "indexdiv",
    "genindextable",
    "index-cp",
    "index-fn",
    "index-vr",
    "index-ky",
    "index-pg",
    "index-entries-block",
    "noprint",
    "printfooter",
    "mw-editsection",
    "mw-jump-link",
    "catlinks",
    "social-share",
    "share-buttons",
    "site-footer",
    "page-footer",
    "site-header",
    "global-nav",
    "footer-nav",
    "tabset",
    "titlearea",
    "md-sidebar",
    "md-header",
    "md-footer",
    "md-tabs",
    "sidebar-nav",
    "nav-side",
    "menu-wrapper",
    "theme-doc-sidebar-container",
    "theme-doc-toc-desktop",
];
/// Words that name navigation where most of the element is links, or it is but a few words.
const PERHAPS: &[&str] = &[
    "nav",
    "header",
    "footer",
    "head",
    "foot",
    "sidebar",
    "menu",
    "toc",
    "contents",
    "shortcontents",
    "table-of-contents",
    "toctree-wrapper",
    "localtoc",
    "local-toc",
    "section-toc",
    "related",
    "search",
    "banner",
    "aside",
    "minitoc",
    "summary",
    "links",
    "toplinks",
    "bottom",
    "top",
    "rightbar",
    "leftbar",
    "mini-toc",
    "page-toc",
    "table_of_contents",
    "_table_of_contents",
    "tags",
    "metadata",
    "copyright",
    "credits",
    "tableofcontents",
];
/// The same in `role`.
const ROLES: &[&str] = &[
    "navigation",
    "banner",
    "contentinfo",
    "search",
    "menu",
    "menubar",
    "directory",
    "doc-toc",
    "doc-index",
    "doc-pagelist",
    "toolbar",
    "dialog",
    "alertdialog",
    "tooltip",
    "button",
];
/// Parts with at most so many letters are small: a line or two.
const SMALL: u32 = 240;

/// Whether an element is not text of the page. `page` is how many letters the whole page has.
pub(super) fn is_surrounding(tree: &Tree, id: Id, page: u32, strictness: Strictness) -> bool {
    let name = tree.name(id);
    if is_never_text(tree, id, name) {
        return true;
    }
    let measure = tree.measure(id);
    // What holds most of the page is the page, whatever it is called.
    if matches!(name, "body" | "main" | "html") || measure.letters * 5 > page * 3 {
        return false;
    }
    let small = measure.letters <= SMALL && measure.headings == 0;
    let linked = measure.linked * 10 >= measure.letters * 4 && measure.links > 1;
    match name {
        "nav" => return strictness == Strictness::Strict || !is_contents(tree, id),
        "footer" => {
            return tree
                .parent(id)
                .is_none_or(|parent| tree.name(parent) != "blockquote");
        }
        "form" => return small,
        "header" => return measure.headings == 0 && (small || linked),
        "aside" => return linked || (small && measure.links > 0),
        _ => {}
    }
    if let Some(role) = tree.attribute(id, "role")
        && ROLES.contains(&role)
    {
        let is_title = role == "banner" && measure.headings > 0;
        return !is_title && (strictness == Strictness::Strict || !is_contents(tree, id));
    }
    if tree
        .attribute(id, "summary")
        .is_some_and(|summary| summary.starts_with("Navigation"))
    {
        return true;
    }
    match called(tree, id) {
        Called::Nothing => false,
        Called::Surrounding => true,
        Called::Section => measure.headings == 0 || linked,
        // Doxygen sets the title of a page beside links to its parts.
        Called::Perhaps
            if tree
                .children(id)
                .any(|child| tree.has_class(child, "headertitle")) =>
        {
            false
        }
        Called::Perhaps if strictness == Strictness::Lenient && is_contents(tree, id) => false,
        Called::Perhaps => {
            let few =
                measure.headings == 0 && measure.letters <= SMALL / 2 && !is_text_element(name);
            measure.letters == 0 || linked || (few && (measure.links > 0 || is_foot(tree, id)))
        }
    }
}

/// Elements that are not shown as text, or not to everybody.
fn is_never_text(tree: &Tree, id: Id, name: &str) -> bool {
    if is_invisible(name)
        || matches!(
            name,
            "button" | "select" | "dialog" | "datalist" | "textarea" | "rp" | "menu"
        )
    {
        return true;
    }
    if tree.attribute(id, "hidden").is_some() || tree.attribute(id, "aria-hidden") == Some("true") {
        return true;
    }
    let style = tree.attribute(id, "style").unwrap_or_default();
    !style.is_empty()
        && style
            .replace(' ', "")
            .to_ascii_lowercase()
            .contains("display:none")
}

enum Called {
    Surrounding,
    /// By its id, which generators also make of the headings of sections.
    Section,
    Perhaps,
    Nothing,
}

/// What an element is, by the words of its class and id.
fn called(tree: &Tree, id: Id) -> Called {
    let words = |name| {
        tree.attribute(id, name)
            .unwrap_or_default()
            .split_ascii_whitespace()
    };
    let mut called = Called::Nothing;
    let marked = words("class")
        .map(|word| (word, true))
        .chain(words("id").map(|word| (word, false)));
    for (word, is_class) in marked {
        let lower;
        let word = if word.bytes().any(|byte| byte.is_ascii_uppercase()) {
            lower = word.to_ascii_lowercase();
            &lower
        } else {
            word
        };
        if SURROUNDINGS.contains(&word) {
            return if is_class {
                Called::Surrounding
            } else {
                Called::Section
            };
        }
        if PERHAPS.contains(&word) {
            called = Called::Perhaps;
        }
    }
    called
}

/// Whether an element lists what a page or book contains.
fn is_contents(tree: &Tree, id: Id) -> bool {
    let names = [
        tree.attribute(id, "class"),
        tree.attribute(id, "id"),
        tree.attribute(id, "role"),
    ];
    let named = |word: &str| word.contains("toc") || word.contains("contents") || word == "menu";
    names
        .into_iter()
        .flatten()
        .flat_map(str::split_ascii_whitespace)
        .any(|word| named(&word.to_ascii_lowercase()))
}

fn is_foot(tree: &Tree, id: Id) -> bool {
    let names = [tree.attribute(id, "class"), tree.attribute(id, "id")];
    names
        .into_iter()
        .flatten()
        .any(|name| name.contains("foot") || name.contains("copyright"))
}

/// Elements that only hold text; a short one of these is a sentence, not a bar.
fn is_text_element(name: &str) -> bool {
    matches!(
        name,
        "p" | "li"
            | "dt"
            | "dd"
            | "td"
            | "th"
            | "span"
            | "a"
            | "code"
            | "h1"
            | "h2"
            | "h3"
            | "h4"
            | "h5"
            | "h6"
    )
}
