//! Optional content: layers that the document's default configuration switches off.
//! PDF 32000-1, 8.11; only the default configuration and membership by "any is on" are looked at.

use hayro_syntax::object::{Array, Dict, Name, ObjectIdentifier};
use rustc_hash::FxHashSet;

/// The layers that are off.
#[derive(Debug, Default, Clone)]
pub(crate) struct Layers {
    off: FxHashSet<ObjectIdentifier>,
}

impl Layers {
    pub(crate) fn new(catalog: &Dict<'_>) -> Self {
        let mut off = FxHashSet::default();
        let Some(properties) = catalog.get::<Dict<'_>>("OCProperties") else {
            return Self { off };
        };
        let Some(configuration) = properties.get::<Dict<'_>>("D") else {
            return Self { off };
        };
        let base_is_off = configuration
            .get::<Name<'_>>("BaseState")
            .is_some_and(|state| state.as_str() == "OFF");
        if base_is_off {
            off.extend(references(&properties, "OCGs"));
        }
        off.extend(references(&configuration, "OFF"));
        for on in references(&configuration, "ON") {
            off.remove(&on);
        }
        Self { off }
    }

    /// Whether content that belongs to the layer (or membership dictionary) under `key` of `owner`
    /// is shown.
    pub(crate) fn shows(&self, owner: &Dict<'_>, key: &[u8]) -> bool {
        if self.off.is_empty() {
            return true;
        }
        if owner
            .get_ref(key)
            .is_some_and(|id| self.off.contains(&id.into()))
        {
            return false;
        }
        let Some(membership) = owner.get::<Dict<'_>>(key) else {
            return true;
        };
        let mut members = references(&membership, "OCGs");
        members.extend(membership.get_ref("OCGs").map(ObjectIdentifier::from));
        members.is_empty() || members.iter().any(|id| !self.off.contains(id))
    }
}

fn references(dict: &Dict<'_>, key: &str) -> Vec<ObjectIdentifier> {
    let Some(array) = dict.get::<Array<'_>>(key) else {
        return Vec::new();
    };
    array
        .raw_iter()
        .filter_map(|item| item.as_obj_ref())
        .map(ObjectIdentifier::from)
        .collect()
}
