//! What the loss of a zone did to replicas, from what was seen of them again and again.
//!
//! In: [`Look`]s, in the order of their times, in seconds since the loss. Out: [`Figures`], and a
//! table of many of them. Pure.

/// What was seen of one set of replicas at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Look {
    /// Seconds since the loss.
    pub at: f64,
    /// Ready in the zone that was lost, as status says: for a while that is old news.
    pub there: usize,
    /// Ready in the others.
    pub elsewhere: usize,
    /// Processes that run the command, by the machine's own count, halted ones aside.
    pub processes: usize,
    /// How often the outside was called since the loss.
    pub calls: usize,
}

/// How many there are to be.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// All of them.
    pub replicas: usize,
    /// What must be left.
    pub least: usize,
}

/// What came of one loss. Times are in seconds; none: not while it was looked.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// From the loss to `least` ready in the other zones, for good; 0 if there were never fewer.
    pub least: Option<f64>,
    /// From the loss to a status that says of the zone that none is ready there.
    pub known: Option<f64>,
    /// From the loss to all of them ready in the other zones, with the zone still away.
    pub full: Option<f64>,
    /// From the return to all of them ready, for good.
    pub back: Option<f64>,
    /// The longest that nobody called the outside.
    pub silence: f64,
    /// Most processes at one moment.
    pub processes: usize,
}

impl Figures {
    /// Works them out; somebody began to bring the zone back when it was `returned`.
    pub fn of(looks: &[Look], asked: Asked, returned: f64) -> Self {
        let lost: Vec<&Look> = looks.iter().filter(|one| one.at < returned).collect();
        let back: Vec<&Look> = looks.iter().filter(|one| one.at >= returned).collect();
        let enough = |one: &Look| one.elsewhere >= asked.least;
        let all = |one: &Look| one.there + one.elsewhere >= asked.replicas;
        let never_fewer = !lost.is_empty() && lost.iter().all(|one| enough(one));
        Self {
            least: never_fewer
                .then_some(0.0)
                .or_else(|| for_good(&lost, enough)),
            known: first(&lost, |one| one.there == 0),
            full: first(&lost, |one| one.elsewhere >= asked.replicas),
            back: for_good(&back, all).map(|at| at - returned),
            silence: silence(looks),
            processes: looks.iter().map(|one| one.processes).max().unwrap_or(0),
        }
    }
}

/// When it first held.
fn first(looks: &[&Look], holds: impl Fn(&Look) -> bool) -> Option<f64> {
    looks.iter().find(|one| holds(one)).map(|one| one.at)
}

/// Since when it has held to the end.
fn for_good(looks: &[&Look], holds: impl Fn(&Look) -> bool) -> Option<f64> {
    let last = looks.iter().rev().take_while(|one| holds(one)).last();
    last.map(|one| one.at)
}

/// The longest stretch without one more call.
fn silence(looks: &[Look]) -> f64 {
    let (mut since, mut calls, mut longest) = (0.0, 0, 0.0_f64);
    for one in looks {
        longest = longest.max(one.at - since);
        if one.calls > calls {
            (since, calls) = (one.at, one.calls);
        }
    }
    longest
}

/// One zone, lost once.
#[derive(Clone, Debug)]
pub struct Loss {
    /// How, and which.
    pub what: String,
    /// Seconds until another replica led, if the leader was there.
    pub led: Option<f64>,
    /// Seconds until an Execution that was created at the loss had run.
    pub service: f64,
    /// Seconds until everything that ran there was over.
    pub over: f64,
    /// Seconds that the zone was away.
    pub away: f64,
    /// Of the Worker.
    pub worker: Figures,
    /// Of the Deployment beside it.
    pub plain: Figures,
}

/// The figures of one set of replicas, in one line.
pub fn line(name: &str, figures: &Figures, away: f64) -> String {
    let Figures {
        least,
        known,
        full,
        back,
        silence,
        processes,
    } = *figures;
    format!(
        "{name:<17} minAvailable {:>8}  known {:>8}  full without the zone {:>8}  full after its \
         return {:>8}  longest silence {silence:>5.1} s  processes at most {processes}",
        seconds(least, away),
        seconds(known, away),
        seconds(full, away),
        seconds(back, 0.0),
    )
}

/// A time, or more than what was waited.
fn seconds(time: Option<f64>, waited: f64) -> String {
    match time {
        Some(time) => format!("{time:.1} s"),
        None if waited > 0.0 => format!("> {waited:.0} s"),
        None => "never".to_owned(),
    }
}

/// Smallest, median and largest of each figure, Worker beside Deployment.
pub fn table(losses: &[Loss]) -> String {
    type OfReplicas = fn(&Figures) -> Option<f64>;
    type OfLoss = fn(&Loss) -> Option<f64>;
    let rows: [(&str, OfReplicas); 6] = [
        ("loss -> minAvailable in the other zones", |one| one.least),
        ("loss -> status says: none in that zone", |one| one.known),
        ("loss -> all ready, the zone still away", |one| one.full),
        ("return -> all ready", |one| one.back),
        ("longest time without a call from any", |one| {
            Some(one.silence)
        }),
        ("processes at one moment, at most", |one| {
            u32::try_from(one.processes).ok().map(f64::from)
        }),
    ];
    let common: [(&str, OfLoss); 4] = [
        ("leader lost -> another leads", |one| one.led),
        ("loss -> an Execution created then has run", |one| {
            Some(one.service)
        }),
        ("loss -> all that ran there is over", |one| Some(one.over)),
        ("the zone was away for", |one| Some(one.away)),
    ];
    let mut lines = vec![format!(
        "{:<42} {:<34} plain Deployment, the platform's defaults",
        format!("{} losses; s, min / median / max", losses.len()),
        "Worker"
    )];
    for (name, of) in rows {
        let worker: Vec<_> = losses.iter().map(|one| of(&one.worker)).collect();
        let plain: Vec<_> = losses.iter().map(|one| of(&one.plain)).collect();
        let (worker, plain) = (spread(&worker), spread(&plain));
        lines.push(format!("{name:<42} {worker:<34} {plain}"));
    }
    for (name, of) in common {
        let mut all: Vec<_> = losses.iter().map(of).collect();
        if name.starts_with("leader") {
            // Of the losses of the zone that the leader was in.
            all.retain(Option::is_some);
        }
        lines.push(format!("{name:<42} {}", spread(&all)));
    }
    format!("    {}", lines.join("\n    "))
}

/// Smallest, median and largest; those that were not lived to see count as the largest.
fn spread(all: &[Option<f64>]) -> String {
    let count = all.len();
    let missing = all.iter().filter(|one| one.is_none()).count();
    if missing == count {
        return format!("not seen in {count}");
    }
    let mut all: Vec<f64> = all.iter().map(|one| one.unwrap_or(f64::INFINITY)).collect();
    all.sort_unstable_by(f64::total_cmp);
    let said = [0, count / 2, count - 1].map(|index| match all.get(index) {
        Some(time) if time.is_finite() => format!("{time:.1}"),
        _ => "-".to_owned(),
    });
    let said = said.join(" / ");
    if missing > 0 {
        format!("{said} (not seen in {missing} of {count})")
    } else {
        format!("{said} (of {count})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIX: Asked = Asked {
        replicas: 6,
        least: 4,
    };
    /// When the zone came back.
    const AWAY: f64 = 80.0;

    fn look(at: f64, there: usize, elsewhere: usize) -> Look {
        Look {
            at,
            there,
            elsewhere,
            processes: elsewhere,
            calls: 0,
        }
    }

    #[test]
    fn who_is_never_below_has_it_at_once() {
        let looks = [
            look(0.5, 2, 4),
            look(45.0, 0, 4),
            look(79.0, 0, 4),
            look(85.0, 1, 4),
            look(90.0, 2, 4),
        ];
        let figures = Figures::of(&looks, SIX, AWAY);
        assert_eq!(figures.least, Some(0.0));
        assert_eq!(figures.known, Some(45.0));
        assert_eq!(figures.full, None);
        assert_eq!(figures.back, Some(10.0));
        assert_eq!(figures.processes, 4);
    }

    #[test]
    fn who_falls_below_has_it_once_it_stays() {
        let looks = [
            look(0.5, 3, 3),
            look(10.0, 3, 4),
            look(20.0, 3, 3),
            look(30.0, 0, 4),
            look(40.0, 0, 6),
            look(81.0, 2, 4),
            look(82.0, 1, 4),
        ];
        let figures = Figures::of(&looks, SIX, AWAY);
        assert_eq!(figures.least, Some(30.0));
        assert_eq!(figures.full, Some(40.0));
        assert_eq!(figures.back, None);
        let never = Figures::of(&looks[..1], SIX, AWAY);
        assert_eq!(never.least, None);
        assert_eq!(never.known, None);
    }

    #[test]
    fn silence_is_the_longest_time_without_one_more_call() {
        let called = |at, calls| Look {
            at,
            calls,
            ..Look::default()
        };
        let looks = [
            called(1.0, 3),
            called(2.0, 3),
            called(4.0, 4),
            called(9.0, 4),
        ];
        let silence = Figures::of(&looks, SIX, AWAY).silence;
        assert!((silence - 5.0).abs() < 1e-9, "{silence}");
    }

    #[test]
    fn what_was_not_lived_to_see_is_said_and_counts_as_the_largest() {
        let said = spread(&[Some(3.0), Some(1.0), Some(2.0)]);
        assert_eq!(said, "1.0 / 2.0 / 3.0 (of 3)");
        let said = spread(&[None, Some(2.0), Some(1.0)]);
        assert_eq!(said, "1.0 / 2.0 / - (not seen in 1 of 3)");
        assert_eq!(spread(&[None, None]), "not seen in 2");
        assert_eq!(seconds(None, 80.2), "> 80 s");
    }

    #[test]
    fn a_table_has_both_side_by_side() {
        let loss = |least| Loss {
            what: "frozen node-a".to_owned(),
            led: None,
            service: 11.0,
            over: 80.0,
            away: 85.0,
            worker: Figures::default(),
            plain: Figures {
                least: Some(least),
                ..Figures::default()
            },
        };
        let table = table(&[loss(300.0), loss(0.0)]);
        let row = table.lines().find(|row| row.contains("minAvailable"));
        let row = row.unwrap_or_default();
        assert!(row.contains("not seen in 2"), "{row}");
        assert!(row.contains("0.0 / 300.0 / 300.0 (of 2)"), "{row}");
        let led = table.lines().find(|row| row.contains("leader lost"));
        assert!(led.unwrap_or_default().contains("not seen in 0"), "{table}");
    }
}
