//! Conditions, as the Kubernetes API conventions want them.
//!
//! In: the enums of a kind (`…Condition`, `…Reason`). Out: their strings, once, and the
//! schema of a condition list (a map by `type`, so that server-side apply merges it).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::text::Text;

/// `metav1.Condition`, with texts that others may hold as well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// When its status became what it is.
    pub last_transition_time: Time,
    /// For people.
    pub message: Text,
    /// Generation of the spec that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Why its status is what it is, in a word.
    pub reason: Text,
    /// `True`, `False` or `Unknown`.
    pub status: Text,
    /// What it is about.
    #[serde(rename = "type")]
    pub type_: Text,
}

/// Whether a condition holds. What nobody could look at is [`Verdict::Unknown`], never False.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Proven.
    True,
    /// Disproven.
    False,
    /// Not known, not known yet, or known too long ago.
    Unknown,
}

impl Verdict {
    /// As `metav1.Condition` spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// One condition before it has a time: what is said, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding<C, R> {
    /// Which condition.
    pub condition: C,
    /// What is said of it.
    pub verdict: Verdict,
    /// Why, from the closed list of the kind.
    pub reason: R,
    /// What a person should know or do. Holds no time and no counter, so that it
    /// changes only when the matter does. Cut to [`MAX_MESSAGE`].
    pub message: String,
}

/// Longest message of a condition, in characters (`metav1.Condition` allows 32768).
pub const MAX_MESSAGE: usize = 1024;

/// Turns `Name::Variant` enums into the strings that the API shows.
#[macro_export]
macro_rules! closed_list {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$doc])* $variant),+ }

        impl $name {
            /// Every value, in the order of declaration.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// As the API shows it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant)),+ }
            }
        }
    };
}

/// Schema of a list of [`Condition`], with the upper bounds of `metav1.Condition`.
pub fn schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["lastTransitionTime", "message", "reason", "status", "type"],
            "properties": {
                "lastTransitionTime": {"type": "string", "format": "date-time"},
                "message": {"type": "string", "maxLength": 32768},
                "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
                "reason": {"type": "string", "minLength": 1, "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"},
                "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                "type": {"type": "string", "maxLength": 316}
            }
        }
    })
}

/// The condition of this type, if the list has it.
pub fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions
        .iter()
        .find(|condition| condition.type_ == *type_)
}
