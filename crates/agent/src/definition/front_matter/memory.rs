//! What a file says about its agent's memory.

use std::fmt;

use knowledge::memory::MemoryKind;
use schemars::JsonSchema;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// What an agent remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemorySettings {
    /// Kinds of memory.
    pub kinds: Vec<MemoryKind>,
    /// Whose memory it is.
    pub scope: MemoryScope,
    /// When it learns.
    pub learn: Learn,
}

/// Whose memory it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MemoryScope {
    /// The agent's, whoever uses it.
    #[default]
    Agent,
    /// The user's, whatever agent they use; they are named with `--user`.
    User,
    /// The project's: all its agents and users share it.
    Project,
}

/// When it learns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Learn {
    /// While it works, with the tools memory.save, memory.propose and memory.search.
    #[default]
    During,
    /// After each run or conversation, in a run of its own; it has no tools for it.
    After,
    /// Both.
    Both,
    /// Never: it only remembers what is there.
    Never,
}

impl Learn {
    /// Whether it has the tools of the memory.
    pub fn during(self) -> bool {
        match self {
            Learn::During | Learn::Both => true,
            Learn::After | Learn::Never => false,
        }
    }

    /// Whether it learns from runs that have ended.
    pub fn after(self) -> bool {
        match self {
            Learn::After | Learn::Both => true,
            Learn::During | Learn::Never => false,
        }
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "MemorySettings")]
struct Written {
    /// Kinds of memory.
    #[schemars(with = "Vec<KindSchema>")]
    kinds: Vec<MemoryKind>,
    /// Whose memory it is.
    #[serde(default)]
    scope: MemoryScope,
    /// When it learns.
    #[serde(default)]
    learn: Learn,
}

#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "MemoryKind")]
#[expect(dead_code, reason = "only its schema is used")]
enum KindSchema {
    /// Facts about the user and the world.
    Semantic,
    /// Earlier runs that were like this one.
    Episodic,
    /// Instructions that were learned; each waits until a person accepts it.
    Procedural,
}

#[derive(JsonSchema)]
#[schemars(untagged, rename = "Memory")]
#[expect(dead_code, reason = "only its schema is used")]
enum MemorySchema {
    /// Kinds of memory.
    Kinds(Vec<KindSchema>),
    /// Kinds, whose it is, and when it learns.
    Settings(Written),
}

impl<'de> Deserialize<'de> for MemorySettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<MemorySettings, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = MemorySettings;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("kinds of memory such as [semantic, episodic], or {kinds: [semantic], scope: user}")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<MemorySettings, A::Error> {
                Ok(MemorySettings {
                    kinds: Vec::deserialize(SeqAccessDeserializer::new(items))?,
                    scope: MemoryScope::default(),
                    learn: Learn::default(),
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<MemorySettings, A::Error> {
                let written = Written::deserialize(MapAccessDeserializer::new(map))?;
                Ok(MemorySettings {
                    kinds: written.kinds,
                    scope: written.scope,
                    learn: written.learn,
                })
            }
        }
        deserializer.deserialize_any(Read)
    }
}

impl JsonSchema for MemorySettings {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        MemorySchema::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        MemorySchema::json_schema(generator)
    }
}
