//! The tree of an HTML page, as small as reading needs it.
//!
//! The parser is html5ever, so broken pages come out as browsers show them; this is the tree that it
//! builds into. Every element is measured once (letters, links), so that the rules for what is
//! navigation cost nothing when they ask.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};

use html5ever::interface::{ElemName, ElementFlags, NodeOrText, QuirksMode, TreeSink};
use html5ever::tendril::{StrTendril, TendrilSink};
use html5ever::{Attribute, LocalName, Namespace, ParseOpts, QualName, parse_document};

/// Elements nested deeper than this make the parser slow beyond reason; no page for people has them.
const DEEPEST: u32 = 1000;
/// The page is given to the parser in pieces of about so many bytes, and its depth looked at in between.
const PIECE: usize = 64 << 10;

/// Names a node; the index of its record.
pub(super) type Id = usize;

/// A parsed page.
pub(super) struct Tree {
    nodes: Vec<Node>,
}

struct Node {
    parent: Option<Id>,
    previous: Option<Id>,
    next: Option<Id>,
    first: Option<Id>,
    last: Option<Id>,
    depth: u32,
    content: Content,
    measure: Measure,
}

enum Content {
    Element {
        name: QualName,
        attributes: Vec<Attribute>,
        /// Where the content of a `template` goes, which is no part of the page.
        template: Option<Id>,
    },
    Text(StrTendril),
    Other,
}

/// How much text an element holds, with all that is in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Measure {
    /// Characters that are not white space.
    pub(super) letters: u32,
    /// Those of them that are the text of a link.
    pub(super) linked: u32,
    /// Links.
    pub(super) links: u32,
    /// Headings `h1` to `h6`.
    pub(super) headings: u32,
}

/// Elements whose content is never shown as text.
pub(super) fn is_invisible(name: &str) -> bool {
    matches!(
        name,
        "head" | "script" | "style" | "template" | "svg" | "iframe" | "object" | "video" | "audio"
    )
}

impl Tree {
    /// Parses a page; `None` when it nests deeper than any page should.
    pub(super) fn parse(html: &str) -> Option<Tree> {
        let mut parser = parse_document(Sink::default(), ParseOpts::default());
        let mut rest = html;
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.floor_char_boundary(PIECE.min(rest.len())));
            let (piece, after) = if piece.is_empty() {
                (after, "")
            } else {
                (piece, after)
            };
            parser.process(StrTendril::from(piece));
            if parser.tokenizer.sink.sink.deepest.get() > DEEPEST {
                return None;
            }
            rest = after;
        }
        let mut tree = Tree {
            nodes: parser.finish(),
        };
        tree.measure_all();
        Some(tree)
    }

    /// The root of all nodes.
    pub(super) fn root(&self) -> Id {
        0
    }

    /// The element's name, empty for what is no element.
    pub(super) fn name(&self, id: Id) -> &str {
        match self.nodes.get(id).map(|node| &node.content) {
            Some(Content::Element { name, .. }) => &name.local,
            _ => "",
        }
    }

    /// The text of a text node.
    pub(super) fn text(&self, id: Id) -> Option<&str> {
        match self.nodes.get(id).map(|node| &node.content) {
            Some(Content::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The value of an attribute.
    pub(super) fn attribute(&self, id: Id, wanted: &str) -> Option<&str> {
        match self.nodes.get(id).map(|node| &node.content) {
            Some(Content::Element { attributes, .. }) => attributes
                .iter()
                .find(|attribute| &*attribute.name.local == wanted)
                .map(|attribute| &*attribute.value),
            _ => None,
        }
    }

    /// Whether the class of an element has this word.
    pub(super) fn has_class(&self, id: Id, wanted: &str) -> bool {
        self.attribute(id, "class")
            .is_some_and(|class| class.split_ascii_whitespace().any(|word| word == wanted))
    }

    /// How much text is in a node.
    pub(super) fn measure(&self, id: Id) -> Measure {
        self.nodes
            .get(id)
            .map(|node| node.measure)
            .unwrap_or_default()
    }

    /// What an element lies in.
    pub(super) fn parent(&self, id: Id) -> Option<Id> {
        self.nodes.get(id)?.parent
    }

    /// The next element beside this one.
    pub(super) fn next_element(&self, id: Id) -> Option<Id> {
        let next = |id: &Id| self.nodes.get(*id).and_then(|node| node.next);
        std::iter::successors(next(&id), next).find(|id| !self.name(*id).is_empty())
    }

    /// What is in an element, in order.
    pub(super) fn children(&self, id: Id) -> impl Iterator<Item = Id> + '_ {
        let next = |id: &Id| self.nodes.get(*id).and_then(|node| node.next);
        std::iter::successors(self.nodes.get(id).and_then(|node| node.first), next)
    }

    /// The node and all below it, in document order.
    pub(super) fn descendants(&self, top: Id) -> impl Iterator<Item = Id> + '_ {
        std::iter::successors(Some(top), move |&id| {
            let node = self.nodes.get(id)?;
            node.first.or_else(|| self.after(id, top))
        })
    }

    /// The next node in document order that is not in `id`, inside `top`.
    fn after(&self, mut id: Id, top: Id) -> Option<Id> {
        while id != top {
            let node = self.nodes.get(id)?;
            if node.next.is_some() {
                return node.next;
            }
            id = node.parent?;
        }
        None
    }

    /// The first element with this name.
    pub(super) fn find(&self, name: &str) -> Option<Id> {
        self.descendants(self.root())
            .find(|id| self.name(*id) == name)
    }

    /// The text of a node and all in it, as it stands in the file.
    pub(super) fn raw_text(&self, top: Id) -> String {
        self.descendants(top)
            .filter_map(|id| self.text(id))
            .collect()
    }

    /// Fills in the measures, children before parents, without recursion.
    fn measure_all(&mut self) {
        let order: Vec<Id> = self.descendants(self.root()).collect();
        for &id in order.iter().rev() {
            let mut measure = self.own_measure(id);
            if !is_invisible(self.name(id)) {
                for child in self.children(id) {
                    let inner = self.measure(child);
                    measure.letters += inner.letters;
                    measure.linked += inner.linked;
                    measure.links += inner.links;
                    measure.headings += inner.headings;
                }
            }
            if self.is_link(id) {
                measure.linked = measure.letters;
                measure.links = 1;
            }
            if let Some(node) = self.nodes.get_mut(id) {
                node.measure = measure;
            }
        }
    }

    fn own_measure(&self, id: Id) -> Measure {
        let letters = self
            .text(id)
            .unwrap_or_default()
            .chars()
            .filter(|c| !c.is_whitespace())
            .count();
        let name = self.name(id);
        Measure {
            letters: u32::try_from(letters).unwrap_or(u32::MAX),
            headings: u32::from(matches!(name, "h1" | "h2" | "h3" | "h4" | "h5" | "h6")),
            ..Measure::default()
        }
    }

    /// Whether an element leads elsewhere. An `a` without target only marks a place.
    pub(super) fn is_link(&self, id: Id) -> bool {
        self.name(id) == "a" && self.attribute(id, "href").is_some()
    }
}

/// What the parser builds into.
struct Sink {
    nodes: RefCell<Vec<Node>>,
    deepest: Cell<u32>,
}

impl Default for Sink {
    fn default() -> Self {
        let sink = Sink {
            nodes: RefCell::new(Vec::new()),
            deepest: Cell::new(0),
        };
        sink.add(Content::Other);
        sink
    }
}

impl Sink {
    fn add(&self, content: Content) -> Id {
        let mut nodes = self.nodes.borrow_mut();
        nodes.push(Node {
            parent: None,
            previous: None,
            next: None,
            first: None,
            last: None,
            depth: 0,
            content,
            measure: Measure::default(),
        });
        nodes.len() - 1
    }

    /// Takes a node out of its place.
    fn detach(&self, id: Id) {
        let mut nodes = self.nodes.borrow_mut();
        let Some(node) = nodes.get_mut(id) else {
            return;
        };
        let (parent, previous, next) = (node.parent.take(), node.previous.take(), node.next.take());
        match previous.and_then(|previous| nodes.get_mut(previous)) {
            Some(previous) => previous.next = next,
            None => {
                if let Some(parent) = parent.and_then(|parent| nodes.get_mut(parent)) {
                    parent.first = next;
                }
            }
        }
        match next.and_then(|next| nodes.get_mut(next)) {
            Some(next) => next.previous = previous,
            None => {
                if let Some(parent) = parent.and_then(|parent| nodes.get_mut(parent)) {
                    parent.last = previous;
                }
            }
        }
    }

    /// Puts a detached node into `parent`, before `next` or at the end.
    fn attach(&self, id: Id, parent: Id, next: Option<Id>) {
        let mut nodes = self.nodes.borrow_mut();
        let Some(above) = nodes.get_mut(parent) else {
            return;
        };
        let depth = above.depth + 1;
        let previous = match next {
            None => above.last.replace(id),
            Some(next) => nodes
                .get_mut(next)
                .and_then(|next| next.previous.replace(id)),
        };
        match previous.and_then(|previous| nodes.get_mut(previous)) {
            Some(previous) => previous.next = Some(id),
            None => {
                if let Some(above) = nodes.get_mut(parent) {
                    above.first = Some(id);
                }
            }
        }
        if let Some(node) = nodes.get_mut(id) {
            (node.parent, node.previous, node.next) = (Some(parent), previous, next);
            node.depth = depth;
        }
        self.deepest.set(self.deepest.get().max(depth));
    }

    /// Adds text to the text node `id`, if it is one.
    fn extend(&self, id: Option<Id>, more: &StrTendril) -> bool {
        let mut nodes = self.nodes.borrow_mut();
        match id
            .and_then(|id| nodes.get_mut(id))
            .map(|node| &mut node.content)
        {
            Some(Content::Text(text)) => {
                text.push_tendril(more);
                true
            }
            _ => false,
        }
    }

    fn link<T>(&self, id: Id, get: impl FnOnce(&Node) -> Option<T>) -> Option<T> {
        self.nodes.borrow().get(id).and_then(get)
    }
}

/// An element's name while the parser looks at it.
#[derive(Debug)]
struct Name(QualName);

impl ElemName for Name {
    fn ns(&self) -> &Namespace {
        &self.0.ns
    }

    fn local_name(&self) -> &LocalName {
        &self.0.local
    }
}

impl TreeSink for Sink {
    type Handle = Id;
    type Output = Vec<Node>;
    type ElemName<'a> = Name;

    fn finish(self) -> Vec<Node> {
        self.nodes.into_inner()
    }

    fn parse_error(&self, _: Cow<'static, str>) {}

    fn get_document(&self) -> Id {
        0
    }

    fn elem_name(&self, id: &Id) -> Name {
        let name = self.link(*id, |node| match &node.content {
            Content::Element { name, .. } => Some(name.clone()),
            Content::Text(_) | Content::Other => None,
        });
        // The parser only asks for the names of elements.
        let none = || QualName::new(None, Namespace::default(), LocalName::default());
        Name(name.unwrap_or_else(none))
    }

    fn create_element(
        &self,
        name: QualName,
        attributes: Vec<Attribute>,
        flags: ElementFlags,
    ) -> Id {
        let template = flags.template.then(|| self.add(Content::Other));
        self.add(Content::Element {
            name,
            attributes,
            template,
        })
    }

    fn create_comment(&self, _: StrTendril) -> Id {
        self.add(Content::Other)
    }

    fn create_pi(&self, _: StrTendril, _: StrTendril) -> Id {
        self.add(Content::Other)
    }

    fn append(&self, parent: &Id, child: NodeOrText<Id>) {
        match child {
            NodeOrText::AppendNode(child) => {
                self.detach(child);
                self.attach(child, *parent, None);
            }
            NodeOrText::AppendText(text) => {
                if !self.extend(self.link(*parent, |node| node.last), &text) {
                    let child = self.add(Content::Text(text));
                    self.attach(child, *parent, None);
                }
            }
        }
    }

    fn append_based_on_parent_node(&self, element: &Id, previous: &Id, child: NodeOrText<Id>) {
        if self.link(*element, |node| node.parent).is_some() {
            self.append_before_sibling(element, child);
        } else {
            self.append(previous, child);
        }
    }

    fn append_doctype_to_document(&self, _: StrTendril, _: StrTendril, _: StrTendril) {}

    fn get_template_contents(&self, target: &Id) -> Id {
        let inside = self.link(*target, |node| match &node.content {
            Content::Element { template, .. } => *template,
            Content::Text(_) | Content::Other => None,
        });
        inside.unwrap_or(*target)
    }

    fn same_node(&self, one: &Id, other: &Id) -> bool {
        one == other
    }

    fn set_quirks_mode(&self, _: QuirksMode) {}

    fn append_before_sibling(&self, sibling: &Id, new: NodeOrText<Id>) {
        let Some(parent) = self.link(*sibling, |node| node.parent) else {
            return;
        };
        let child = match new {
            NodeOrText::AppendNode(child) => {
                self.detach(child);
                child
            }
            NodeOrText::AppendText(text) => {
                if self.extend(self.link(*sibling, |node| node.previous), &text) {
                    return;
                }
                self.add(Content::Text(text))
            }
        };
        self.attach(child, parent, Some(*sibling));
    }

    fn add_attrs_if_missing(&self, target: &Id, more: Vec<Attribute>) {
        let mut nodes = self.nodes.borrow_mut();
        if let Some(Content::Element { attributes, .. }) =
            nodes.get_mut(*target).map(|node| &mut node.content)
        {
            for attribute in more {
                if attributes.iter().all(|known| known.name != attribute.name) {
                    attributes.push(attribute);
                }
            }
        }
    }

    fn remove_from_parent(&self, target: &Id) {
        self.detach(*target);
    }

    fn reparent_children(&self, node: &Id, parent: &Id) {
        while let Some(child) = self.link(*node, |node| node.first) {
            self.detach(child);
            self.attach(child, *parent, None);
        }
    }
}
