//! What the operator needs for Drills.

use crds::well_known::GROUP;

use super::{FOLLOW, Rule};

/// The rules.
pub fn rules() -> Vec<Rule> {
    vec![
        Rule {
            group: GROUP,
            resources: &["drills"],
            verbs: FOLLOW,
            names: &[],
            why: "to know what is rehearsed, and how far a run has come",
        },
        Rule {
            group: GROUP,
            resources: &["drills/status"],
            verbs: &["patch"],
            names: &[],
            why: "to answer, and to go on from there",
        },
        Rule {
            group: "",
            resources: &["pods/eviction"],
            verbs: &["create"],
            names: &[],
            why: "to ask pods of a tenant to leave the zone that a Drill takes, as a drain does; the \
                  admission policy cloister-operator lets it while one does",
        },
    ]
}
