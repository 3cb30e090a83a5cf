//! JSON, or a [`ProbeRequest`] → a [`Checked`] one, or what is wrong with it. Pure.

use contract::{MAX_REPORT_BYTES, ProbeRequest, VERSION};

use super::report;

/// Most targets in one request; each takes a thread.
const MAX_TARGETS: usize = 64;
/// Most places: each costs the look a walk of its path.
const MAX_PLACES: usize = 16;
/// Longest timeout. A probe pod is short-lived; who needs longer asks for a broken network.
const MAX_TIMEOUT_MS: u32 = 10_000;

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// No JSON, or not of a request's shape.
    #[error("failed to read the request as JSON")]
    Json(#[from] serde_json::Error),
    /// Written by another version of the operator.
    #[error("it has version {0}, and this probe speaks version {VERSION}")]
    Version(u32),
    /// No time to look, or too much.
    #[error("timeoutMs is {0}, and has to be 1 to {MAX_TIMEOUT_MS}")]
    Timeout(u32),
    /// More than one probe dials.
    #[error("it has {0} targets, and {MAX_TARGETS} is the most")]
    TooManyTargets(usize),
    /// More is mounted than is looked for.
    #[error("it has {0} places, and {MAX_PLACES} is the most")]
    TooManyPlaces(usize),
    /// The report might not fit. Told by the longest one possible, so that a request is
    /// accepted or refused whatever the network is like.
    #[error(
        "a report on it can take {0} bytes, and {MAX_REPORT_BYTES} is the most; ask for fewer targets"
    )]
    TooMuchToReport(usize),
}

/// A request that can be served; only [`parse`] and [`Checked::new`] make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked(ProbeRequest);

impl Checked {
    /// Checks a request. An address that cannot be dialled is no reason to refuse: it costs
    /// its own check and no other.
    pub fn new(request: ProbeRequest) -> Result<Self, RequestError> {
        if request.version != VERSION {
            return Err(RequestError::Version(request.version));
        }
        if !(1..=MAX_TIMEOUT_MS).contains(&request.timeout_ms) {
            return Err(RequestError::Timeout(request.timeout_ms));
        }
        if request.targets.len() > MAX_TARGETS {
            return Err(RequestError::TooManyTargets(request.targets.len()));
        }
        if request.places.len() > MAX_PLACES {
            return Err(RequestError::TooManyPlaces(request.places.len()));
        }
        let longest = report::longest(&request);
        if longest > MAX_REPORT_BYTES {
            return Err(RequestError::TooMuchToReport(longest));
        }
        Ok(Self(request))
    }

    /// What is asked.
    pub const fn request(&self) -> &ProbeRequest {
        &self.0
    }
}

/// Reads and checks a request.
pub fn parse(text: &str) -> Result<Checked, RequestError> {
    // First alone: the fields of another version would be reported as unknown fields.
    let version = crate::version_of(text)?;
    if version != VERSION {
        return Err(RequestError::Version(version));
    }
    Checked::new(serde_json::from_str(text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: &str = r#"{"check":"Outside","address":"192.0.2.1:80","expect":"Blocked"}"#;

    fn request(version: u32, timeout_ms: u32, targets: usize) -> String {
        let targets = vec![TARGET; targets].join(",");
        format!(
            r#"{{"version":{version},"timeoutMs":{timeout_ms},"targets":[{targets}],"places":[]}}"#
        )
    }

    #[test]
    fn accepts_the_bounds_of_everything() {
        for timeout_ms in [1, MAX_TIMEOUT_MS] {
            assert!(parse(&request(VERSION, timeout_ms, 0)).is_ok());
            assert!(parse(&request(VERSION, timeout_ms, 30)).is_ok());
        }
    }

    #[test]
    fn rejects_what_is_no_json_or_no_request() {
        for text in [
            "",
            "{",
            "[]",
            "{}",
            r#"{"version":"1"}"#,
            r#"{"version":2,"targets":[],"places":[]}"#,
            r#"{"version":2,"timeoutMs":1,"targets":[]}"#,
        ] {
            assert!(matches!(parse(text), Err(RequestError::Json(_))), "{text}");
        }
    }

    #[test]
    fn rejects_a_field_or_check_it_does_not_know() {
        let unknown_field = request(VERSION, 1000, 0).replace("targets", "target");
        let unknown_check = request(VERSION, 1000, 1).replace("Outside", "Elsewhere");
        for text in [unknown_field, unknown_check] {
            assert!(matches!(parse(&text), Err(RequestError::Json(_))), "{text}");
        }
    }

    #[test]
    fn rejects_another_version_whatever_else_it_says() {
        let newer = r#"{"version":3,"somethingNew":true}"#;
        assert!(matches!(parse(newer), Err(RequestError::Version(3))));
        assert!(matches!(
            parse(&request(0, 1000, 1)),
            Err(RequestError::Version(0))
        ));
    }

    #[test]
    fn rejects_a_timeout_of_nothing_or_too_much() {
        for timeout_ms in [0, MAX_TIMEOUT_MS + 1, u32::MAX] {
            let refused = parse(&request(VERSION, timeout_ms, 1));
            assert!(matches!(refused, Err(RequestError::Timeout(t)) if t == timeout_ms));
        }
    }

    #[test]
    fn rejects_more_targets_than_it_dials() {
        let refused = parse(&request(VERSION, 1000, MAX_TARGETS + 1));
        assert!(matches!(refused, Err(RequestError::TooManyTargets(65))));
    }

    #[test]
    fn rejects_more_places_than_it_looks_for() {
        let place = r#"{"path":"/work","writable":true}"#;
        let with = |count| {
            let places = vec![place; count].join(",");
            parse(
                &request(VERSION, 1000, 1)
                    .replace(r#""places":["#, &format!(r#""places":[{places}"#)),
            )
        };
        assert!(with(MAX_PLACES).is_ok());
        assert!(matches!(
            with(MAX_PLACES + 1),
            Err(RequestError::TooManyPlaces(17))
        ));
    }

    #[test]
    fn rejects_before_dialling_what_would_not_fit_a_report() {
        let refused = parse(&request(VERSION, 1000, MAX_TARGETS));
        assert!(matches!(refused, Err(RequestError::TooMuchToReport(n)) if n > MAX_REPORT_BYTES));
    }
}
