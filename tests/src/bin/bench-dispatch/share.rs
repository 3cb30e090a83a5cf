//! The operator's own share of a cold start: from when it saw an Execution to when it asked the API
//! server for its pod.
//!
//! In: the audit log's pods by name, and the Executions that ran in them. Out: milliseconds, each.

use std::collections::HashMap;

use ::tests::{
    control_plane::ControlPlane,
    measure::{Spread, load::PART_LABEL},
    stand_in::node::must,
};
use serde_json::Value;

use super::{Anything, scene::EXECUTIONS};

/// When each pod was asked for, in milliseconds since 1970, by the API server's clock, which is the
/// operator's: one machine.
pub(crate) type Posted = HashMap<String, f64>;

/// Of all Executions of a part.
pub(crate) async fn of_part(
    plane: &ControlPlane,
    part: &str,
    posted: &Posted,
) -> Result<Spread, Anything> {
    let path = format!("{EXECUTIONS}?labelSelector={PART_LABEL}%3D{part}");
    let list = must(plane.get(&path).await)?;
    let executions = list["items"].as_array().into_iter().flatten();
    executions.map(|one| of_one(one, posted)).collect()
}

/// Of one; an error if its pod, or when it was seen, is not known.
fn of_one(execution: &Value, posted: &Posted) -> Result<f64, Anything> {
    let status = &execution["status"];
    let (pod, seen) = (status["sandbox"]["pod"].as_str(), &status["times"]["seen"]);
    let posted = pod.and_then(|pod| posted.get(pod));
    match (posted, milliseconds(seen)) {
        (Some(posted), Some(seen)) => Ok(posted - seen),
        _ => Err(format!("no share of a cold start can be told from {status}").into()),
    }
}

/// A time of Kubernetes, since 1970.
pub(crate) fn milliseconds(time: &Value) -> Option<f64> {
    let time: jiff::Timestamp = time.as_str()?.parse().ok()?;
    Some(time.as_duration().as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_share_is_from_sight_to_the_request_for_that_pod() {
        let seen = json!("2026-01-01T00:00:00.001500Z");
        let posted = milliseconds(&json!("2026-01-01T00:00:00.004Z")).unwrap();
        let posted = Posted::from([("mine".to_owned(), posted)]);
        let execution =
            |pod: &str| json!({"status": {"sandbox": {"pod": pod}, "times": {"seen": seen}}});
        let share = of_one(&execution("mine"), &posted).unwrap();
        assert!((share - 2.5).abs() < 0.01, "{share}");
        assert!(of_one(&execution("another's"), &posted).is_err());
        assert!(of_one(&json!({"status": {"sandbox": {"pod": "mine"}}}), &posted).is_err());
    }
}
