//! [`ProbeReport`] → the bytes of a termination message, and the lines of a log. Pure.

use std::fmt::Write as _;

use contract::{
    Inside, Limit, MAX_REPORT_BYTES, Observation, ProbeReport, ProbeRequest, Saw, SeenRuntime,
    Strays, VERSION,
};

use super::dial::Seen;

/// The report has more bytes than the kubelet keeps. A report cut short proves nothing.
#[derive(Debug, thiserror::Error)]
#[error("it has {0} bytes, and {MAX_REPORT_BYTES} is the most")]
pub struct TooLong(usize);

/// The report as compact JSON of at most [`MAX_REPORT_BYTES`].
pub fn encode(report: &ProbeReport) -> Result<String, TooLong> {
    let text = json(report);
    if text.len() > MAX_REPORT_BYTES {
        return Err(TooLong(text.len()));
    }
    Ok(text)
}

/// Bytes of the longest report that this request can lead to.
pub fn longest(request: &ProbeRequest) -> usize {
    let observe = |target: &contract::Target| Observation {
        check: target.check,
        address: target.address.clone(),
        expect: target.expect,
        // The longest word; a test counts.
        saw: Saw::Unroutable,
    };
    let strays = || Strays {
        count: u32::MAX,
        first: "x".repeat(Strays::MAX_FIRST),
    };
    let inside = Inside {
        runtime: SeenRuntime::GVisor,
        uid: u32::MAX,
        gid: u32::MAX,
        no_new_privs: false,
        capabilities: u64::MAX,
        seccomp: u8::MAX,
        user_namespace: false,
        root_read_only: false,
        foreign_mounts: strays(),
        unmasked: strays(),
        foreign_devices: strays(),
        tokens: strays(),
        memory_limit: Limit::At(u64::MAX),
        process_limit: Limit::At(u64::MAX),
    };
    let checks = request.targets.iter().map(observe).collect();
    json(&ProbeReport {
        version: VERSION,
        checks,
        inside,
    })
    .len()
}

/// Serializing plain structs into memory cannot fail. Were it ever to, the empty text
/// would be no report, and the operator would take it as none.
fn json(report: &ProbeReport) -> String {
    serde_json::to_string(report).unwrap_or_default()
}

/// One line per check, in the order of the request, and one on the process.
pub fn log(report: &ProbeReport, seen: &[Seen]) -> String {
    let mut lines = String::new();
    for (observation, seen) in report.checks.iter().zip(seen) {
        let Observation {
            check,
            address,
            expect,
            saw,
        } = observation;
        let verdict = if saw.satisfies(*expect) {
            "as expected"
        } else {
            "NOT as expected"
        };
        // Escaped: an address is text from elsewhere, and a log line is one line.
        let address = address.escape_debug();
        let _ = writeln!(
            lines,
            "{check:?} {address}: {saw:?}, {verdict} ({expect:?}): {}",
            seen.why.escape_debug()
        );
    }
    let _ = write!(lines, "{:?}", report.inside);
    lines
}

#[cfg(test)]
mod tests {
    use contract::{Check, Expect, Target, judge::sound};

    use super::*;

    const EVERY_SAW: [Saw; 5] = [
        Saw::Connected,
        Saw::Refused,
        Saw::Silence,
        Saw::Unroutable,
        Saw::Error,
    ];

    fn request(targets: usize) -> ProbeRequest {
        let target = Target {
            check: Check::ApiServerEndpoint,
            address: "[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535".to_owned(),
            expect: Expect::Reachable,
        };
        ProbeRequest {
            version: VERSION,
            timeout_ms: 1000,
            targets: vec![target; targets],
            places: vec![],
        }
    }

    fn report(request: &ProbeRequest, saw: Saw, inside: Inside) -> ProbeReport {
        let observe = |target: &Target| Observation {
            check: target.check,
            address: target.address.clone(),
            expect: target.expect,
            saw,
        };
        let checks = request.targets.iter().map(observe).collect();
        ProbeReport {
            version: VERSION,
            checks,
            inside,
        }
    }

    fn inside() -> Inside {
        Inside {
            foreign_mounts: Strays::of(["\"\\\n".repeat(100)]),
            memory_limit: Limit::Unlimited,
            process_limit: Limit::Hidden,
            ..sound()
        }
    }

    #[test]
    fn no_report_is_longer_than_was_foreseen() {
        let request = request(3);
        for saw in EVERY_SAW {
            assert!(
                json(&report(&request, saw, inside())).len() <= longest(&request),
                "{saw:?}"
            );
        }
    }

    #[test]
    fn refuses_a_report_that_would_be_cut() {
        let long = report(&request(64), Saw::Connected, inside());
        assert!(matches!(encode(&long), Err(TooLong(bytes)) if bytes > MAX_REPORT_BYTES));
    }

    #[test]
    fn fits_every_check_twice_at_the_longest_addresses() {
        assert!(longest(&request(22)) <= MAX_REPORT_BYTES);
    }

    #[test]
    fn a_written_report_replaces_what_was_there_and_reads_back() {
        let path = std::env::temp_dir().join(format!("cloister-report-{}", std::process::id()));
        std::fs::write(&path, "x".repeat(5000)).unwrap();
        let wrote = report(&request(2), Saw::Silence, inside());
        std::fs::write(&path, encode(&wrote).unwrap()).unwrap();
        let read: ProbeReport =
            serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(read, wrote);
    }

    #[test]
    fn the_log_has_a_line_per_check_even_for_hostile_text() {
        let mut request = request(2);
        request.targets[0].address = "1.2.3.4:5\nDns fake: Connected".to_owned();
        let report = report(&request, Saw::Refused, inside());
        let seen = vec![Seen::error("two\nlines".to_owned()); 2];
        assert_eq!(log(&report, &seen).lines().count(), 3);
    }
}
