//! One number of finished Executions that are kept, and all that is measured there.
//!
//! While the operator is stopped, what is missing is made, and the bare client measures the floor. Then
//! the operator starts, and runs one Execution, some one after the other, and many at once.

use std::time::Duration;

use tests::{
    control_plane::ControlPlane,
    measure::{
        Spread, Usage,
        load::{self, Anything, Load, Outcome},
        now, per_minute, ratio,
    },
};

use super::{
    Arguments,
    audit::{Audit, Written},
    floor::Model,
    operator::Recipe,
    scene::{self, COLD, Executions, INTEGRATION},
    share,
};

/// Goes from one number to the next.
pub(crate) struct Round<'a> {
    plane: &'a ControlPlane,
    recipe: &'a Recipe,
    model: Model,
    audit: Audit,
    /// Executions that there are, all of them over.
    there: usize,
}

/// What was measured of the operator.
struct Figures {
    /// Milliseconds from its start to the end of its first Execution.
    dispatched: f64,
    /// The first one, those one after the other, such without a warm sandbox, and those at once.
    first: Outcome,
    serial: Outcome,
    cold: Outcome,
    many: Outcome,
    /// From the sight of each cold one to the request for its pod.
    share: Spread,
    /// Before the closed loop, and after it.
    usage: [Usage; 2],
    written: Written,
}

impl<'a> Round<'a> {
    pub(crate) fn new(plane: &'a ControlPlane, recipe: &'a Recipe, model: Model) -> Self {
        Self {
            plane,
            recipe,
            model,
            audit: Audit::new(plane.audit_log()),
            there: 1,
        }
    }

    /// All that is measured with so many kept.
    pub(crate) async fn at(
        &mut self,
        number: usize,
        kept: usize,
        arguments: &Arguments,
    ) -> Result<(), Anything> {
        let missing = kept.saturating_sub(self.there);
        eprintln!("round {number}: {missing} more to keep");
        self.model.keep(&format!("kept{number}"), missing).await?;
        self.there += missing;

        eprintln!("round {number}: the floor, by a bare client");
        let time = Duration::from_secs(arguments.seconds) / 3;
        let size = (arguments.clients, arguments.most);
        let part = format!("floor{number}");
        let (count, took) = self.model.floor(&part, size, time).await?;
        self.there += count;

        eprintln!("round {number}: the operator");
        let begun = now();
        let recipe = self.recipe;
        let mut operator = recipe.start()?;
        let pid = operator.pid()?;
        let work = self.operator(pid, number, (arguments, begun));
        let figures = operator.during(recipe, work).await?;
        operator.stop().await?;
        println!("\n{} Executions there", self.there);
        figures.print(per_minute(count, took));
        for outcome in figures.outcomes() {
            self.there += outcome.ended.count() + outcome.faults.len();
        }
        Ok(())
    }

    /// What it does, while it lives.
    async fn operator(
        &mut self,
        pid: i32,
        number: usize,
        (arguments, begun): (&Arguments, f64),
    ) -> Result<Figures, Anything> {
        let client = self.plane.admin();
        let executions = Executions(client.clone(), INTEGRATION);
        let usage = || Usage::of(pid).ok_or("the operator ended");
        let first = Load {
            clients: 1,
            most: 1,
            time: Duration::from_secs(arguments.seconds),
        };
        let serial = Load {
            most: arguments.serial,
            ..first
        };
        let many = Load {
            clients: arguments.clients,
            most: arguments.most,
            ..first
        };
        let first = load::run(&client, &executions, &format!("again{number}"), first).await?;
        let dispatched = now() - begun;
        scene::until_warm(self.plane).await;
        let part = format!("serial{number}");
        let (cold, share) = self.cold(number, serial).await?;
        let serial = load::run(&client, &executions, &part, serial).await?;
        scene::until_warm(self.plane).await;

        self.audit.read_on()?;
        let before = usage()?;
        let many = load::run(&client, &executions, &format!("many{number}"), many).await?;
        let after = usage()?;
        let written = self.audit.read_on()?;
        Ok(Figures {
            dispatched,
            first,
            serial,
            cold,
            many,
            share,
            usage: [before, after],
            written,
        })
    }

    /// Those without a warm sandbox, and the operator's own share of each.
    async fn cold(&mut self, number: usize, load: Load) -> Result<(Outcome, Spread), Anything> {
        let client = self.plane.admin();
        let part = format!("cold{number}");
        self.audit.read_on()?;
        let executions = Executions(client.clone(), COLD);
        let cold = load::run(&client, &executions, &part, load).await?;
        let posted = self.audit.read_on()?.posted;
        let share = share::of_part(self.plane, &part, &posted).await?;
        Ok((cold, share))
    }
}

impl Figures {
    fn outcomes(&self) -> [&Outcome; 4] {
        [&self.first, &self.serial, &self.cold, &self.many]
    }

    /// `floor` is of the bare client, for a minute.
    fn print(&self, floor: f64) {
        let Self {
            dispatched,
            serial,
            many,
            share,
            usage: [before, after],
            written,
            ..
        } = self;
        let (done, rate) = (many.ended.count(), many.rate());
        println!(
            "  sustained: {rate:.0} Executions/min; the same writes by a bare client {floor:.0}/min; {}",
            ratio(rate, floor)
        );
        many.begun.print("  at that rate: create -> started");
        many.ended.print("  at that rate: create -> Succeeded seen");
        serial.begun.print("  one by one: create -> started");
        serial.ended.print("  one by one: create -> Succeeded seen");
        share.print("  one by one, cold: seen -> pod asked for");
        let Written { operator, all, .. } = written;
        println!("  operator's writes for each {}", operator.each(done));
        println!("  everybody's writes for each {}", all.each(done));
        println!("  operator at that rate: {}", after.since(before, done));
        println!(
            "  operator before: {:.1} MiB resident; from its start to the end of its first Execution {dispatched:.0} ms",
            before.resident / 1_048_576.0
        );
        for outcome in self.outcomes() {
            outcome.complain("Executions");
        }
    }
}
