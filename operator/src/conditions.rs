//! Previous conditions + this pass's findings + now → the conditions to publish.
//!
//! Pure. A condition keeps its `lastTransitionTime` while its status stays; what no pass
//! states any more disappears. Called by each room's `status.rs`.

use crds::condition::{Condition, Finding, MAX_MESSAGE};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// A finding whose enums have become the API's strings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stated {
    type_: &'static str,
    status: &'static str,
    reason: &'static str,
    message: String,
}

/// Spells a finding out.
pub fn stated<C, R>(
    finding: Finding<C, R>,
    type_: impl Fn(C) -> &'static str,
    reason: impl Fn(R) -> &'static str,
) -> Stated {
    let Finding {
        condition,
        verdict,
        reason: why,
        message,
    } = finding;
    Stated {
        type_: type_(condition),
        status: verdict.as_str(),
        reason: reason(why),
        message: shortened(message),
    }
}

/// At most [`MAX_MESSAGE`] characters, an ellipsis in place of what was cut.
pub fn shortened(message: String) -> String {
    if message.chars().count() <= MAX_MESSAGE {
        return message;
    }
    message.chars().take(MAX_MESSAGE - 1).chain(['…']).collect()
}

/// The list to publish, in the order of `next`.
pub fn merge(
    previous: &[Condition],
    next: Vec<Stated>,
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    next.into_iter()
        .map(|stated| {
            let Stated {
                type_,
                status,
                reason,
                message,
            } = stated;
            let since = crds::condition::find(previous, type_)
                .filter(|before| before.status == status)
                .map_or_else(
                    || whole_second(now),
                    |before| before.last_transition_time.clone(),
                );
            Condition {
                last_transition_time: since,
                message: message.into(),
                observed_generation: generation,
                reason: reason.into(),
                status: status.into(),
                type_: type_.into(),
            }
        })
        .collect()
}

/// `metav1.Time` has whole seconds: anything finer would read back changed.
pub fn whole_second(now: Timestamp) -> Time {
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn ready(status: &'static str, message: &str) -> Stated {
        Stated {
            type_: "Ready",
            status,
            reason: "Because",
            message: message.to_owned(),
        }
    }

    #[test]
    fn keeps_the_time_of_transition_while_the_status_stays() {
        let first = merge(&[], vec![ready("True", "a")], Some(1), at(10));
        let second = merge(&first, vec![ready("True", "b")], Some(2), at(20));
        let third = merge(&second, vec![ready("False", "b")], Some(2), at(30));

        assert_eq!(second[0].last_transition_time, Time(at(10)));
        assert_eq!(second[0].message, "b");
        assert_eq!(second[0].observed_generation, Some(2));
        assert_eq!(third[0].last_transition_time, Time(at(30)));
    }

    #[test]
    fn drops_what_is_no_longer_stated_and_cuts_what_is_too_long() {
        let first = merge(&[], vec![ready("True", "a")], None, at(10));
        assert!(merge(&first, vec![], None, at(20)).is_empty());

        let finding = Finding {
            condition: (),
            verdict: crds::condition::Verdict::True,
            reason: (),
            message: "ü".repeat(MAX_MESSAGE + 1),
        };
        let stated = stated(finding, |()| "Ready", |()| "Because");
        assert_eq!(stated.message.chars().count(), MAX_MESSAGE);
    }
}
