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
    /// Payload nodes of the items and of the chunks that are full, in the order of their making.
    nodes: Vec<Node>,
    /// How many of them the run's events have brought to the journal.
    handed: usize,
    chain: payload::Chain,
    rolling: Rolling,
}

impl List {
    pub(crate) fn new(run: RunId, secrets: Arc<Secrets>) -> List {
        List(Arc::new(Mutex::new(Inner {
            run,
            secrets,
            items: Vec::new(),
            nodes: Vec::new(),
            handed: 0,
            chain: payload::Chain::default(),
            rolling: Rolling::default(),
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
        inner.rolling.push(&value, &[]).map_err(unwritable)?;
        let inner = &mut *inner;
        inner
            .chain
            .push(&value, &mut inner.nodes)
            .map_err(unwritable)?;
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
    /// So many of its nodes belong to it.
    nodes: usize,
    /// What stands for it in an event's body.
    text: Vec<u8>,
    /// The node of the chunk that is not full.
    last: Option<Node>,
    /// What stands for it in the canonical text of an input.
    canonical: Vec<u8>,
}

impl Captured {
    fn of(list: &Arc<Mutex<Inner>>) -> Captured {
        let inner = lock(list);
        let (text, last) = inner.chain.close();
        let mut canonical = Vec::new();
        inner.rolling.write(&mut canonical);
        Captured {
            list: Arc::clone(list),
            len: inner.items.len(),
            nodes: inner.nodes.len(),
            text,
            last,
            canonical,
        }
    }

    /// The list that an object stands for, if it does.
    pub(crate) fn find<'a>(
        fields: &Map<String, Value>,
        lists: &'a [Captured],
    ) -> Option<&'a Captured> {
        if fields.len() != 1 || lists.is_empty() {
            return None;
        }
        let number = fields.get(MARK.as_str())?.as_u64()?;
        lists.get(usize::try_from(number).ok()?)
    }

    pub(crate) fn canonical(&self) -> &[u8] {
        &self.canonical
    }

    /// Writes what stands for the list in a body, and gives the nodes that this run's events have not
    /// brought to the journal yet.
    pub(crate) fn write(&self, out: &mut Vec<u8>, nodes: &mut Vec<Node>) {
        out.extend_from_slice(&self.text);
        let inner = lock(&self.list);
        nodes.extend_from_slice(
            inner
                .nodes
                .get(inner.handed..self.nodes)
                .unwrap_or_default(),
        );
        nodes.extend(self.last.clone());
    }

    /// Notes that an event of this run has brought the list's nodes to the journal.
    pub(crate) fn handed(&self, run: &RunId) {
        let mut inner = lock(&self.list);
        if inner.run == *run {
            inner.handed = inner.handed.max(self.nodes);
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
