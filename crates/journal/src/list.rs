//! Lists that grow: what a conversation is to a journal.
//!
//! A step whose input is a long list has to know whether it is the list that was recorded, and to write
//! down what is new in it. For an ordinary `Vec` both take the time of the whole list, at every step. A
//! [`List`] does its part of the work when an item is added, so a step with it costs what is new.

use std::cell::RefCell;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::{Map, Value};

use crate::Result;
use crate::fingerprint::Rolling;
use crate::journal::to_json;
use crate::payload::{self, Node};
use crate::records::RunId;
use crate::redact::Secrets;

/// A list that only grows, to be used as the input of steps or as a part of it.
///
/// It is recorded as an ordinary array is, and stands for one wherever it is serialised.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), journal::Error> {
/// use journal::{Effect, Journal, NewRun};
///
/// # let journal = Journal::in_memory()?;
/// # let run = journal.start(NewRun::new("chat", ().into())).await?;
/// let mut messages = run.list();
/// for question in ["Who are you?", "And then?"] {
///     messages.push(question)?;
///     let answer: String = run
///         .step("model", Effect::Read, &messages, |_| async {
///             Ok(format!("answer to {} messages", messages.len()))
///         })
///         .await?;
///     messages.push(&answer)?;
/// }
/// assert_eq!(messages.values()[3], "answer to 3 messages");
/// # Ok(())
/// # }
/// ```
pub struct List(Arc<Mutex<Inner>>);

struct Inner {
    run: RunId,
    secrets: Arc<Secrets>,
    items: Vec<Value>,
    rolling: Rolling,
    /// The chunks of the first `cut` items. Only what is to be written is cut: a step that is answered
    /// from the journal needs no more than the fingerprint.
    chain: payload::Chain,
    cut: usize,
    /// Payload nodes that no event of the run has brought to the journal yet, with how many items
    /// there were when each was complete.
    nodes: Vec<(usize, Node)>,
    /// The last step that was answered from the journal with this list in its input.
    recalled: Option<Recalled>,
}

/// A list in the input of a step that is recorded.
pub(crate) struct Recalled {
    /// The body of the event that recorded it.
    pub(crate) body: Arc<str>,
    /// The input with marks where lists stand.
    pub(crate) input: Arc<Value>,
    /// Which of the marks is this list's.
    number: usize,
    /// How many items the list had then.
    len: usize,
}

impl Recalled {
    /// Whether an object in the input stands for the list.
    pub(crate) fn is_list(&self, fields: &Map<String, Value>) -> bool {
        Captured::number(fields) == Some(self.number)
    }
}

impl Inner {
    /// Cuts the first `len` items into nodes.
    fn cut(&mut self, len: usize) -> serde_json::Result<()> {
        let mut new = Vec::new();
        for item in self.items.get(self.cut..len).unwrap_or_default() {
            self.chain.push(item, &mut new)?;
            self.cut += 1;
            let complete = self.cut;
            self.nodes
                .extend(new.drain(..).map(|node| (complete, node)));
        }
        Ok(())
    }
}

impl List {
    pub(crate) fn new(run: RunId, secrets: Arc<Secrets>) -> List {
        List(Arc::new(Mutex::new(Inner {
            run,
            secrets,
            items: Vec::new(),
            rolling: Rolling::default(),
            chain: payload::Chain::default(),
            cut: 0,
            nodes: Vec::new(),
            recalled: None,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.0)
    }

    /// Adds an item. Secrets that have been registered are replaced in it.
    ///
    /// [`Error::Serialise`](crate::Error::Serialise) when it has no JSON form.
    pub fn push<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<()> {
        let mut inner = self.lock();
        let value = to_json(item, "(list)", "item")?;
        let value = inner.secrets.value(value);
        let unwritable = |error: serde_json::Error| crate::Error::Serialise {
            path: "(list)".to_string(),
            what: "item",
            message: error.to_string(),
        };
        payload::check_depth(&value).map_err(unwritable)?;
        inner.rolling.push(&value, &[]).map_err(unwritable)?;
        inner.items.push(value);
        Ok(())
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.lock().items.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The items, as they are recorded.
    pub fn values(&self) -> Vec<Value> {
        self.lock().items.clone()
    }
}

impl std::fmt::Debug for List {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(&self.lock().items).finish()
    }
}

fn lock(inner: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

thread_local! {
    /// The lists met while an input is turned into JSON, where that is wanted.
    static CAPTURED: RefCell<Option<Vec<Captured>>> = const { RefCell::new(None) };
}

/// The key of the object that stands for a captured list. Drawn anew by each process, so that no input
/// can bring it along.
static MARK: LazyLock<String> = LazyLock::new(|| format!("list {:032x}", rand::random::<u128>()));

impl Serialize for List {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let number = CAPTURED.with_borrow_mut(|captured| {
            let captured = captured.as_mut()?;
            captured.push(Captured::of(&self.0));
            Some(captured.len() - 1)
        });
        if let Some(number) = number {
            let mut map = serializer.serialize_map(Some(1))?;
            map.serialize_entry(MARK.as_str(), &number)?;
            return map.end();
        }
        let items = self.values();
        let mut sequence = serializer.serialize_seq(Some(items.len()))?;
        for item in &items {
            sequence.serialize_element(item)?;
        }
        sequence.end()
    }
}

/// A list as it was when a step was called with it.
pub(crate) struct Captured {
    list: Arc<Mutex<Inner>>,
    len: usize,
    /// What stands for it in the canonical text of an input.
    canonical: Vec<u8>,
}

impl Captured {
    fn of(list: &Arc<Mutex<Inner>>) -> Captured {
        let mut inner = lock(list);
        let mut canonical = Vec::new();
        inner.rolling.write(&mut canonical);
        Captured {
            list: Arc::clone(list),
            len: inner.items.len(),
            canonical,
        }
    }

    /// The number of the list that an object stands for, if it does for any.
    fn number(fields: &Map<String, Value>) -> Option<usize> {
        if fields.len() != 1 {
            return None;
        }
        usize::try_from(fields.get(MARK.as_str())?.as_u64()?).ok()
    }

    /// The list that an object stands for, if it does.
    pub(crate) fn find<'a>(
        fields: &Map<String, Value>,
        lists: &'a [Captured],
    ) -> Option<&'a Captured> {
        if lists.is_empty() {
            return None;
        }
        lists.get(Captured::number(fields)?)
    }

    pub(crate) fn canonical(&self) -> &[u8] {
        &self.canonical
    }

    /// Writes what stands for the list in a body, and gives the nodes that this run's events have not
    /// brought to the journal yet.
    pub(crate) fn write(&self, out: &mut Vec<u8>, nodes: &mut Vec<Node>) -> serde_json::Result<()> {
        let mut inner = lock(&self.list);
        let (text, last) = if inner.cut > self.len {
            // A step that was called later, with more items, was written before this one.
            let mut chain = payload::Chain::default();
            for item in inner.items.get(..self.len).unwrap_or_default() {
                chain.push(item, nodes)?;
            }
            chain.close()
        } else {
            inner.cut(self.len)?;
            nodes.extend(inner.nodes.iter().map(|(_, node)| node.clone()));
            inner.chain.close()
        };
        out.extend_from_slice(&text);
        nodes.extend(last);
        Ok(())
    }

    /// Notes that an event of this run has brought the list's nodes to the journal.
    pub(crate) fn handed(&self, run: &RunId) {
        let mut inner = lock(&self.list);
        if inner.run == *run {
            inner.nodes.retain(|(complete, _)| *complete > self.len);
        }
    }

    /// Notes that an event of this run, with this body, has recorded the list as it is here: the one
    /// with that number in the input.
    pub(crate) fn is_recorded(&self, number: usize, body: &Arc<str>, input: &Arc<Value>) {
        lock(&self.list).recalled = Some(Recalled {
            body: Arc::clone(body),
            input: Arc::clone(input),
            number,
            len: self.len,
        });
    }

    /// Where the journal has this list, or the greatest part of it, when it has more than was cut here.
    pub(crate) fn recalled(&self) -> Option<Recalled> {
        let mut inner = lock(&self.list);
        let recalled = inner.recalled.take()?;
        (recalled.len > inner.cut && recalled.len <= self.len).then_some(recalled)
    }

    /// Goes on with the chunks that the journal has, instead of making them again.
    pub(crate) fn go_on_from(&self, recalled: &Recalled, chain: payload::Chain) {
        let mut inner = lock(&self.list);
        if inner.cut < recalled.len {
            inner.cut = recalled.len;
            inner.chain = chain;
            inner.nodes.clear();
        }
    }

    fn values(&self) -> Vec<Value> {
        let inner = lock(&self.list);
        inner.items.get(..self.len).unwrap_or_default().to_vec()
    }
}

/// Turns an input into JSON in which lists are marks, and gives the lists.
pub(crate) fn capture<T: Serialize + ?Sized>(
    run: &RunId,
    input: &T,
    path: &str,
) -> Result<(Value, Vec<Captured>)> {
    CAPTURED.with_borrow_mut(|captured| *captured = Some(Vec::new()));
    let value = to_json(input, path, "input");
    let lists = CAPTURED.with_borrow_mut(Option::take).unwrap_or_default();
    let mut value = value?;
    // A list of another run knows nothing of what this one's events have brought along.
    if lists.iter().any(|list| lock(&list.list).run != *run) {
        resolve(&mut value, &lists);
        return Ok((value, Vec::new()));
    }
    Ok((value, lists))
}

/// Puts the items in the place of the marks.
pub(crate) fn resolve(value: &mut Value, lists: &[Captured]) {
    match value {
        Value::Object(fields) => {
            if let Some(list) = Captured::find(fields, lists) {
                *value = list.values().into();
                return;
            }
            fields.values_mut().for_each(|field| resolve(field, lists));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| resolve(item, lists)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::fingerprint::fingerprint;

    /// Body text, nodes by hash, and fingerprint of an input.
    fn recorded(input: &impl Serialize, run: &RunId) -> (String, Vec<String>, String) {
        let (value, lists) = capture(run, input, "test").unwrap();
        let print = payload::hex(&fingerprint(&value, &lists).unwrap());
        let body = Map::from_iter([("input".to_string(), value)]);
        let encoded = payload::encode(&body, &lists).unwrap();
        let mut nodes: Vec<String> = encoded
            .nodes
            .iter()
            .map(|node| payload::hex(&node.hash))
            .collect();
        nodes.sort();
        nodes.dedup();
        (String::from_utf8(encoded.text).unwrap(), nodes, print)
    }

    fn item() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<i32>().prop_map(Value::from),
            "[a-zä\"]{0,600}".prop_map(Value::from),
            ("[a-z]{0,40}", "[a-z]{0,9000}")
                .prop_map(|(role, text)| json!({"role": role, "text": text})),
            prop::collection::vec("[a-z]{0,200}", 0..6).prop_map(|items| json!(items)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_list_is_recorded_as_an_array_is(items in prop::collection::vec(item(), 0..40)) {
            let run = RunId::parse("one").unwrap();
            let mut list = List::new(run.clone(), Arc::default());
            for (number, item) in items.iter().enumerate() {
                let so_far = &items[..number];
                prop_assert_eq!(recorded(&list, &run), recorded(&so_far, &run));
                list.push(item).unwrap();
            }
            let (whole, plain) = (json!({"a": items}), json!(items));
            prop_assert_eq!(serde_json::to_value(&list).unwrap(), plain);
            #[derive(serde::Serialize)]
            struct Request<'a> { a: &'a List }
            let request = Request { a: &list };
            prop_assert_eq!(recorded(&request, &run), recorded(&whole, &run));
            // Another run has none of its nodes.
            let other = RunId::parse("two").unwrap();
            let (value, lists) = capture(&run, &request, "test").unwrap();
            lists.iter().for_each(|list| list.handed(&run));
            let body = Map::from_iter([("input".to_string(), value)]);
            prop_assert!(payload::encode(&body, &lists).unwrap().nodes.len() <= 1);
            prop_assert_eq!(recorded(&request, &other), recorded(&whole, &other));
        }
    }
}
