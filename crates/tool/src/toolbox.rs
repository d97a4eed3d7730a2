//! The tools of an agent.

use std::sync::Arc;

use crate::outputs::Outputs;
use crate::{Answer, Limits, SetupError, Spec, Tool};

/// The tools of an agent, in the order in which models are shown them.
///
/// It keeps the answers that were too long to be shown whole. As soon as there is one, `output.read` and
/// `output.search` are among the tools. Clones share what is kept.
#[derive(Clone)]
pub struct Toolbox {
    tools: Vec<Arc<dyn Tool>>,
    outputs: Outputs,
    readers: Vec<Arc<dyn Tool>>,
}

impl Default for Toolbox {
    fn default() -> Toolbox {
        let outputs = Outputs::default();
        Toolbox {
            tools: Vec::new(),
            readers: outputs.tools(),
            outputs,
        }
    }
}

impl Toolbox {
    /// No tools yet.
    pub fn new() -> Toolbox {
        Toolbox::default()
    }

    /// Adds one.
    ///
    /// # Errors
    /// [`SetupError`] when its name or its schema will not do, or another one has its name.
    pub fn add(&mut self, tool: Arc<dyn Tool>) -> Result<(), SetupError> {
        let spec = tool.spec();
        check(spec)?;
        let shown = spec.shown_name();
        let mut all = self.tools.iter().chain(&self.readers);
        if all.any(|other| other.spec().shown_name() == shown) {
            let name = spec.name.clone();
            return Err(SetupError::Twice { name });
        }
        self.tools.push(tool);
        Ok(())
    }

    /// The tool that models are shown under this name.
    pub fn find(&self, shown: &str) -> Option<&Arc<dyn Tool>> {
        self.iter().find(|tool| tool.spec().shown_name() == shown)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Tool>> {
        let readers = match self.outputs.is_empty() {
            true => &[],
            false => self.readers.as_slice(),
        };
        self.tools.iter().chain(readers)
    }

    /// What a model is shown of an answer of the tool that it knows under this name: the answer, or of one that is
    /// longer than the tool's limit the beginning, an outline, and a handle to read on with.
    pub fn shown(&self, name: &str, answer: &Answer) -> String {
        let limits = self
            .find(name)
            .map_or_else(Limits::default, |tool| tool.spec().limits);
        self.outputs.shown(answer, limits.answer_bytes)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tools.is_empty()
    }
}

impl std::fmt::Debug for Toolbox {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.iter().map(|tool| &tool.spec().name);
        formatter.debug_list().entries(names).finish()
    }
}

fn check(spec: &Spec) -> Result<(), SetupError> {
    let name = || spec.name.clone();
    let fits = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if spec.name.is_empty() || spec.name.len() > 64 || !spec.name.chars().all(fits) {
        return Err(SetupError::Name { name: name() });
    }
    if spec.parameters["type"] != "object" {
        return Err(SetupError::Parameters {
            name: name(),
            message: spec.parameters.to_string(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::Function;

    fn named(name: &str) -> Arc<dyn Tool> {
        let function = Function::new(name, "Does nothing.", |_: Value, _| async { Ok(()) });
        Arc::new(function.parameters(json!({"type": "object"})))
    }

    #[test]
    fn names_are_told_apart_as_models_see_them() {
        let mut toolbox = Toolbox::new();
        assert_eq!(toolbox.add(named("orders.lookup")), Ok(()));
        let twice = |name: &str| SetupError::Twice {
            name: name.to_owned(),
        };
        assert_eq!(
            toolbox.add(named("orders_lookup")),
            Err(twice("orders_lookup"))
        );
        assert!(toolbox.find("orders_lookup").is_some() && toolbox.find("orders.lookup").is_none());
        for wrong in ["", "look up", "a/b", "ä"] {
            let name = wrong.to_owned();
            assert_eq!(toolbox.add(named(wrong)), Err(SetupError::Name { name }));
        }
    }

    #[test]
    fn parameters_are_an_object() {
        let function = Function::new("list", "Lists.", |_: Vec<u8>, _| async { Ok(()) });
        let refused = Toolbox::new().add(Arc::new(function));
        assert!(matches!(refused, Err(SetupError::Parameters { .. })));
    }
}
