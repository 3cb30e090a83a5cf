//! `spec.schedule` of an Integration: when an Execution of it is created by itself.
//!
//! In: what an integrator writes. Out: the types, and the CEL rules that refuse at admission
//! what can be told from the text alone. Whether a time zone is one, and whether a date ever
//! comes, the operator says in status.

use kube::{KubeSchema, core::Rule};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// When an Execution is created by itself. The names are those of a Kubernetes `CronJob`.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Schedule {
    /// Minute, hour, day of the month, month and day of the week (0 and 7 are Sunday):
    /// `*/15 8-18 * * MON-FRI`. Where both days are given, either is enough.
    #[schemars(length(min = 9, max = 128))]
    #[x_kube(validation = cron_rule())]
    pub cron: String,

    /// Whose clock it is by: a name of the IANA time zone database.
    #[serde(default = "Schedule::default_time_zone")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new(
        "self.matches('^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}$')")
        .message("must be a name of the IANA time zone database, such as Etc/UTC or Europe/Berlin"))]
    pub time_zone: String,

    /// What becomes of runs for which Cloister was away, or the Integration or its tenant
    /// suspended.
    #[serde(default)]
    pub missed: MissedRuns,

    /// How late an Execution may be created for `RunOnce`, from `1m` to `720h`. One that would be
    /// later is left out.
    #[serde(default = "Schedule::default_starting_deadline")]
    #[schemars(length(min = 2, max = 16))]
    #[x_kube(validation = Rule::new(
        "self.matches('^([0-9]+h)?([0-9]+m)?([0-9]+s)?$') && duration(self) >= duration('1m') && \
         duration(self) <= duration('720h')")
        .message("must be from 1m to 720h in hours, minutes and seconds, such as 1h"))]
    pub starting_deadline: String,
}

impl Schedule {
    fn default_time_zone() -> String {
        "Etc/UTC".to_owned()
    }
    fn default_starting_deadline() -> String {
        "1h".to_owned()
    }
}

/// What becomes of runs that were missed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum MissedRuns {
    /// One for all of them, with the time of the last.
    #[default]
    RunOnce,
    /// None: what is more than a minute late is left out.
    Skip,
}

/// Five fields, each a list of values, ranges and steps within its bounds.
fn cron_rule() -> Rule {
    let field = |value: &str| {
        let each = format!("(([*]|{value}-{value})(/[1-9][0-9]?)?|{value})");
        format!("{each}(,{each})*")
    };
    let month = "JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC";
    let fields = [
        field("[0-5]?[0-9]"),
        field("([01]?[0-9]|2[0-3])"),
        field("(0?[1-9]|[12][0-9]|3[01])"),
        field(&format!("(0?[1-9]|1[0-2]|{month})")),
        field("([0-7]|SUN|MON|TUE|WED|THU|FRI|SAT)"),
    ];
    Rule::new(format!("self.matches('(?i)^{}$')", fields.join(" "))).message(
        "must be minute (0-59), hour (0-23), day (1-31), month (1-12) and day of the week (0-7), with \
         one blank between them, such as */15 8-18 * * MON-FRI",
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(field: &str, value: &str) -> bool {
        let mut schedule = json!({"cron": "0 3 * * *", "timeZone": "Etc/UTC", "missed": "RunOnce",
            "startingDeadline": "1h"});
        schedule[field] = json!(value);
        kube::core::cel::validate_cel_schema::<Schedule>(&schedule, None).is_err()
    }

    #[test]
    fn a_cron_expression_has_five_fields_within_their_bounds() {
        for good in [
            "* * * * *",
            "*/15 8-18 * * MON-FRI",
            "0,30 0 1,15 jan-Jun 7",
            "5-55/10 23 31 12 0",
            "00 03 09 02 *",
            "0 0 30 2 *",
        ] {
            assert!(!refused("cron", good), "{good}");
        }
        for bad in [
            "* * * *",
            "* * * * * *",
            "*  * * * *",
            " * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * 32 * *",
            "* * * 13 *",
            "* * * * 8",
            "* * * * FUN",
            "*/0 * * * *",
            "5/10 * * * *",
            "1, * * * *",
            "* * L * *",
            "* * * * 1#2",
            "* * * * +1",
            "@daily aa",
            "TZ=UTC * * * *",
            "0 3 * * *\n",
        ] {
            assert!(refused("cron", bad), "{bad:?}");
        }
    }

    #[test]
    fn a_time_zone_is_a_name_and_a_deadline_is_bounded() {
        for good in [
            "Etc/UTC",
            "Europe/Berlin",
            "America/Argentina/Ushuaia",
            "Etc/GMT+5",
            "UTC",
        ] {
            assert!(!refused("timeZone", good), "{good}");
        }
        for bad in [
            "+02:00",
            "Europe/",
            "/etc/localtime",
            "../x",
            "Europe Berlin",
            ":UTC",
        ] {
            assert!(refused("timeZone", bad), "{bad}");
        }
        for good in ["1m", "90s", "720h"] {
            assert!(!refused("startingDeadline", good), "{good}");
        }
        for bad in ["59s", "0s", "721h", "1d", "-5m"] {
            assert!(refused("startingDeadline", bad), "{bad}");
        }
    }
}
