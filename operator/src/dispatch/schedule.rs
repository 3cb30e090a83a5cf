//! When a schedule has something due, and what was missed. Pure: no client, no clock.
//!
//! In: the spec's schedule, how far it has come by status, now. Out: a [`Step`]. How far it has
//! come is one record: the time of the next run, of which expression, and of the last that was
//! created. Times move on only when one was created or has become too late, and the record is
//! written then, so that whoever leads next goes on from there.
//!
//! By daylight saving time: a run whose time the clock leaves out comes right after the gap; one
//! whose time the clock shows twice comes once, the first time. What is to come every so many
//! minutes or hours (`*`, `*/n`) goes by the time that really passes.

use std::time::Duration;

use crds::integration::{MissedRuns, Schedule as Spec, ScheduleStatus};
use croner::{
    Cron,
    errors::CronError,
    parser::{CronParser, Seconds, Year},
};
use jiff::{Timestamp, tz::TimeZone};

/// How late a run of which nothing missed is made up for may be: as long as a change of the
/// leader takes, and some more.
const ON_TIME: Duration = Duration::from_mins(1);
/// From here the search for a date that never comes is a short one: the calendar of `croner` ends
/// 50 years later. What can come at all comes within 40, the 29th of February on a given weekday
/// too.
const NEAR_THE_END: Timestamp = Timestamp::constant(94_039_747_200, 0);

/// A schedule, every field read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// As written. Read again whenever it is asked: read, it takes 5 KiB, and there are thousands.
    cron: String,
    /// As written.
    time_zone: String,
    zone: TimeZone,
    /// How late a run may be created.
    patience: Duration,
}

/// What is to be done about a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing now.
    Wait,
    /// Keep this record: nothing of what lies before it is to be made.
    Keep(ScheduleStatus),
    /// Create the run of this time. It stands for all that are due.
    Create(Timestamp),
}

impl Schedule {
    /// Reads a schedule; `deadline` is its `startingDeadline`.
    ///
    /// # Errors
    /// Field, problem and remedy, for people.
    pub fn of(spec: &Spec, deadline: Duration) -> Result<Self, String> {
        let Spec {
            cron: expression,
            time_zone,
            missed,
            starting_deadline: _,
        } = spec;
        pattern(expression).map_err(|error| {
            let error = error.to_string();
            let error = error.trim_end_matches('.');
            format!(
                "spec.schedule.cron: \"{expression}\" is no cron expression: {error}; write minute, \
                 hour, day, month and day of the week, such as */15 8-18 * * MON-FRI"
            )
        })?;
        let zone = TimeZone::get(time_zone)
            .ok()
            .filter(|zone| !zone.is_unknown());
        let zone = zone.ok_or_else(|| {
            format!(
                "spec.schedule.timeZone: \"{time_zone}\" is not in the IANA time zone database; \
                 write a name of it, such as Etc/UTC or Europe/Berlin"
            )
        })?;
        let schedule = Self {
            cron: expression.clone(),
            time_zone: time_zone.clone(),
            zone,
            patience: match missed {
                MissedRuns::RunOnce => deadline,
                MissedRuns::Skip => ON_TIME,
            },
        };
        if schedule.after(NEAR_THE_END).is_none() {
            return Err(format!(
                "spec.schedule.cron: \"{expression}\" names a date that never comes; write a day \
                 that the month has"
            ));
        }
        Ok(schedule)
    }

    /// The first time after this one.
    fn after(&self, time: Timestamp) -> Option<Timestamp> {
        let time = whole_second(time).to_zoned(self.zone.clone());
        let next = pattern(&self.cron).ok()?;
        let next = next.find_next_occurrence(&time, false).ok()?;
        Some(next.timestamp())
    }

    /// The last time that is not after this one.
    fn until(&self, time: Timestamp) -> Option<Timestamp> {
        let time = whole_second(time).to_zoned(self.zone.clone());
        let last = pattern(&self.cron).ok()?;
        let last = last.find_previous_occurrence(&time, true).ok()?;
        Some(last.timestamp())
    }

    /// The record by which the next run is the first after `time`.
    pub fn record(&self, time: Timestamp, last: Option<Timestamp>) -> ScheduleStatus {
        ScheduleStatus {
            cron: self.cron.clone(),
            time_zone: self.time_zone.clone(),
            last_schedule_time: last,
            // None is left only where the calendar ends.
            next_schedule_time: self.after(time).unwrap_or(Timestamp::MAX),
        }
    }

    /// Whether the record is of this schedule.
    fn wrote(&self, record: &ScheduleStatus) -> bool {
        record.cron == self.cron && record.time_zone == self.time_zone
    }

    /// What is to be done now. Where `open` is false nothing may be created, and what becomes due
    /// is missed.
    pub fn step(&self, record: Option<&ScheduleStatus>, open: bool, now: Timestamp) -> Step {
        let last = record.and_then(|record| record.last_schedule_time);
        let Some(record) = record.filter(|record| self.wrote(record)) else {
            // What lies behind was asked of another schedule, or of none. A clock that was set
            // back does not bring again what was created.
            return Step::Keep(self.record(last.map_or(now, |last| last.max(now)), last));
        };
        let next = record.next_schedule_time;
        if let Some(last) = last.filter(|last| *last >= next) {
            return Step::Keep(self.record(last, Some(last)));
        }
        if now < next || !open {
            return Step::Wait;
        }
        // Of all that are due the last. The one that was announced is due in any case, also if
        // the rules of its time zone have changed since.
        let due = self.until(now).map_or(next, |due| due.max(next));
        if due + self.patience < now {
            return Step::Keep(self.record(now, last));
        }
        Step::Create(due)
    }
}

fn pattern(text: &str) -> Result<Cron, CronError> {
    let parser = CronParser::builder()
        .seconds(Seconds::Disallowed)
        .year(Year::Disallowed);
    parser.build().parse(text)
}

fn whole_second(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn read(cron: &str, zone: &str, missed: MissedRuns) -> Result<Schedule, String> {
        let spec = Spec {
            cron: cron.to_owned(),
            time_zone: zone.to_owned(),
            missed,
            starting_deadline: "1h".to_owned(),
        };
        Schedule::of(&spec, HOUR)
    }

    fn schedule(cron: &str, zone: &str) -> Schedule {
        read(cron, zone, MissedRuns::RunOnce).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// What comes in this span, by the clock of the zone, looked at every `pace` seconds.
    fn created(schedule: &Schedule, from: &str, to: &str, pace: i64) -> Vec<String> {
        let (mut now, to) = (at(from), at(to));
        let mut record = schedule.record(now, None);
        let mut times = Vec::new();
        while now <= to {
            if let Step::Create(due) = schedule.step(Some(&record), true, now) {
                times.push(
                    due.to_zoned(schedule.zone.clone())
                        .strftime("%d %H:%M %Z")
                        .to_string(),
                );
                record.last_schedule_time = Some(due);
                let Step::Keep(next) = schedule.step(Some(&record), false, now) else {
                    panic!("{record:?}");
                };
                record = next;
            }
            now += jiff::SignedDuration::from_secs(pace);
        }
        times
    }

    #[test]
    fn a_bad_one_names_its_field_and_the_remedy() {
        for (cron, zone, words) in [
            (
                "61 * * * *",
                "Etc/UTC",
                "spec.schedule.cron: \"61 * * * *\" is no cron expression",
            ),
            ("30-10 * * * *", "Etc/UTC", "such as */15 8-18"),
            ("* * * * * *", "Etc/UTC", "is no cron expression"),
            ("* * * *", "Etc/UTC", "is no cron expression"),
            ("", "Etc/UTC", "is no cron expression"),
            (
                "* * * * *",
                "Europe/Nowhere",
                "spec.schedule.timeZone: \"Europe/Nowhere\" is not",
            ),
            ("* * * * *", "Local", "such as Etc/UTC"),
            ("* * * * *", "Etc/Unknown", "such as Etc/UTC"),
            ("0 0 30 2 *", "Etc/UTC", "names a date that never comes"),
            (
                "0 0 31 4,6,9,11 *",
                "Europe/Berlin",
                "names a date that never comes",
            ),
        ] {
            let fault = read(cron, zone, MissedRuns::RunOnce).unwrap_err();
            assert!(fault.contains(words), "{cron} {zone}: {fault}");
        }
        assert_eq!(NEAR_THE_END, at("4950-01-01T00:00:00Z"));
        // The 29th of February comes, and so does a Monday in February.
        for cron in ["0 0 29 2 *", "0 0 30 2 MON"] {
            assert!(read(cron, "Etc/UTC", MissedRuns::RunOnce).is_ok(), "{cron}");
        }
    }

    #[test]
    fn what_is_due_is_created_once_and_not_before() {
        let daily = schedule("0 3 * * *", "Etc/UTC");
        let record = daily.record(at("2026-05-01T12:00:00Z"), None);
        assert_eq!(record.next_schedule_time, at("2026-05-02T03:00:00Z"));
        for (now, step) in [
            ("2026-05-02T02:59:59.999999Z", Step::Wait),
            (
                "2026-05-02T03:00:00Z",
                Step::Create(at("2026-05-02T03:00:00Z")),
            ),
            (
                "2026-05-02T03:00:00.4Z",
                Step::Create(at("2026-05-02T03:00:00Z")),
            ),
        ] {
            assert_eq!(daily.step(Some(&record), true, at(now)), step, "{now}");
        }
        let due = at("2026-05-02T03:00:00Z");
        let record = daily.record(due, Some(due));
        assert_eq!(record.next_schedule_time, at("2026-05-03T03:00:00Z"));
        // The clock is set back to before it, or goes on.
        for now in [
            "2026-05-02T02:59:00Z",
            "2026-05-01T00:00:00Z",
            "2026-05-03T02:59:59Z",
        ] {
            assert_eq!(
                daily.step(Some(&record), true, at(now)),
                Step::Wait,
                "{now}"
            );
        }
    }

    #[test]
    fn what_was_missed_follows_its_rule() {
        let from = at("2026-05-02T02:00:30Z");
        for (cron, missed, now, step) in [
            // One for all, with the time of the last.
            (
                "*/10 * * * *",
                MissedRuns::RunOnce,
                "2026-05-02T05:05:00Z",
                Some("2026-05-02T05:00:00Z"),
            ),
            // As late as may be, and a moment later.
            (
                "0 3 * * *",
                MissedRuns::RunOnce,
                "2026-05-02T04:00:00Z",
                Some("2026-05-02T03:00:00Z"),
            ),
            (
                "0 3 * * *",
                MissedRuns::RunOnce,
                "2026-05-02T04:00:01Z",
                None,
            ),
            (
                "0 3 * * *",
                MissedRuns::Skip,
                "2026-05-02T03:01:00Z",
                Some("2026-05-02T03:00:00Z"),
            ),
            ("0 3 * * *", MissedRuns::Skip, "2026-05-02T03:01:01Z", None),
            // What is due at this moment is not missed.
            (
                "*/10 * * * *",
                MissedRuns::Skip,
                "2026-05-02T05:00:20Z",
                Some("2026-05-02T05:00:00Z"),
            ),
            (
                "*/10 * * * *",
                MissedRuns::Skip,
                "2026-05-02T05:05:00Z",
                None,
            ),
        ] {
            let schedule = read(cron, "Etc/UTC", missed).unwrap();
            let record = schedule.record(from, Some(from));
            assert_eq!(schedule.step(Some(&record), false, at(now)), Step::Wait);
            let expected = step.map_or_else(
                || Step::Keep(schedule.record(at(now), Some(from))),
                |due| Step::Create(at(due)),
            );
            let found = schedule.step(Some(&record), true, at(now));
            assert_eq!(found, expected, "{cron} {missed:?} {now}");
        }
    }

    #[test]
    fn what_was_announced_is_due_by_whatever_rules_of_the_zone() {
        let daily = schedule("0 3 * * *", "Etc/UTC");
        let mut record = daily.record(at("2026-05-01T12:00:00Z"), None);
        record.next_schedule_time = at("2026-05-02T04:00:00Z");
        let due = record.next_schedule_time;
        let step = daily.step(Some(&record), true, at("2026-05-02T04:00:01Z"));
        assert_eq!(step, Step::Create(due));
        record.last_schedule_time = Some(due);
        let next = Step::Keep(daily.record(due, Some(due)));
        assert_eq!(daily.step(Some(&record), true, due), next);
    }

    #[test]
    fn a_new_or_another_schedule_owes_nothing() {
        let (now, last) = (at("2026-05-02T10:00:30Z"), at("2026-05-02T03:00:00Z"));
        let hourly = schedule("0 * * * *", "Etc/UTC");
        let next = at("2026-05-02T11:00:00Z");
        let daily = schedule("0 9 * * *", "Etc/UTC").record(at("2026-05-01T09:00:00Z"), Some(last));
        let elsewhere = schedule("0 * * * *", "Europe/Berlin").record(last, Some(last));
        for record in [None, Some(&daily), Some(&elsewhere)] {
            let Step::Keep(kept) = hourly.step(record, true, now) else {
                panic!("{record:?}");
            };
            assert_eq!(kept.next_schedule_time, next, "{record:?}");
            assert_eq!(kept.last_schedule_time, record.map(|_| last), "{record:?}");
            // Kept, it is its own, and there is nothing to write any more.
            assert_eq!(hourly.step(Some(&kept), true, now), Step::Wait);
        }
        // By a clock that was set back.
        let early = at("2026-05-02T01:00:00Z");
        let Step::Keep(kept) = hourly.step(Some(&daily), true, early) else {
            panic!();
        };
        assert_eq!(kept.next_schedule_time, at("2026-05-02T04:00:00Z"));
    }

    #[test]
    fn a_run_that_the_clock_leaves_out_comes_right_after_the_gap() {
        // Berlin, 2026-03-29: 02:00 CET is 03:00 CEST.
        let (from, to) = ("2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z");
        for (cron, times) in [
            ("30 2 * * *", ["29 03:00 CEST", "30 02:30 CEST"].as_slice()),
            ("0 3 * * *", &["29 03:00 CEST", "30 03:00 CEST"]),
            (
                "0 2,3 * * *",
                &["29 03:00 CEST", "30 02:00 CEST", "30 03:00 CEST"],
            ),
        ] {
            let schedule = schedule(cron, "Europe/Berlin");
            assert_eq!(created(&schedule, from, to, 1), times, "{cron}");
        }
        let half_hourly = schedule("*/30 * * * *", "Europe/Berlin");
        let times = created(
            &half_hourly,
            "2026-03-29T00:15:00Z",
            "2026-03-29T01:45:00Z",
            7,
        );
        assert_eq!(times, ["29 01:30 CET", "29 03:00 CEST", "29 03:30 CEST"]);
    }

    #[test]
    fn a_run_that_the_clock_shows_twice_comes_once() {
        // Berlin, 2026-10-25: 03:00 CEST is 02:00 CET.
        let (from, to) = ("2026-10-24T12:00:00Z", "2026-10-26T12:00:00Z");
        for (cron, times) in [
            ("30 2 * * *", ["25 02:30 CEST", "26 02:30 CET"].as_slice()),
            ("0 3 * * *", &["25 03:00 CET", "26 03:00 CET"]),
        ] {
            let schedule = schedule(cron, "Europe/Berlin");
            for pace in [1, 59, 1799] {
                assert_eq!(
                    created(&schedule, from, to, pace),
                    times,
                    "{cron} every {pace} s"
                );
            }
        }
        let half_hourly = schedule("*/30 * * * *", "Europe/Berlin");
        let times = created(
            &half_hourly,
            "2026-10-24T23:45:00Z",
            "2026-10-25T01:45:00Z",
            7,
        );
        let really = [
            "25 02:00 CEST",
            "25 02:30 CEST",
            "25 02:00 CET",
            "25 02:30 CET",
        ];
        assert_eq!(times, really);
    }

    #[test]
    fn nothing_is_made_twice_or_left_out_however_often_one_looks() {
        // Around each change of the clock; Lord Howe's is by half an hour.
        for (zone, from, to) in [
            (
                "Europe/Berlin",
                "2026-03-28T00:05:00Z",
                "2026-03-30T00:05:00Z",
            ),
            (
                "Europe/Berlin",
                "2026-10-24T00:05:00Z",
                "2026-10-26T00:05:00Z",
            ),
            (
                "America/New_York",
                "2026-03-07T00:05:00Z",
                "2026-03-09T00:05:00Z",
            ),
            (
                "America/New_York",
                "2026-10-31T00:05:00Z",
                "2026-11-02T00:05:00Z",
            ),
            (
                "Australia/Lord_Howe",
                "2026-04-04T00:05:00Z",
                "2026-04-06T00:05:00Z",
            ),
            (
                "Australia/Lord_Howe",
                "2026-10-03T00:05:00Z",
                "2026-10-05T00:05:00Z",
            ),
        ] {
            for cron in [
                "30 2 * * *",
                "15 1 * * *",
                "*/20 * * * *",
                "0 */2 * * *",
                "7 2 * * SUN",
            ] {
                let schedule = schedule(cron, zone);
                let mut forward = Vec::new();
                let mut next = schedule.after(at(from)).unwrap();
                while next <= at(to) {
                    let shown = next.to_zoned(schedule.zone.clone());
                    forward.push(shown.strftime("%d %H:%M %Z").to_string());
                    next = schedule.after(next).unwrap();
                }
                let looked = created(&schedule, from, to, 59);
                assert_eq!(looked, forward, "{cron} {zone} from {from}");
            }
        }
    }
}
