//! `make bench`, of the control plane alone: how many Executions one operator sustains, and how that
//! changes with the number of those that have ended and are kept.
//!
//! Real: etcd, the API server and its controllers, one operator in a process of its own, the protocol
//! between it and sandboxes, their tokens. Stand-ins, which make up what they say: scheduler and
//! kubelet, sandboxes ([`tests::stand_in`]). No node, no container: what a machine with nodes adds is
//! in `bench-executions`. In: arguments. Out: lines on standard output, progress on standard error.

mod audit;
mod crowd;
mod floor;
mod operator;
mod round;
mod scene;
mod share;

use std::{path::PathBuf, time::Duration};

use clap::Parser;
use tests::{
    control_plane::ControlPlane,
    measure::load::{self, Anything, Load},
    stand_in::{Manner, node},
};

use self::{floor::Model, operator::Recipe, round::Round, scene::Executions};

/// How long the whole of it may take before it gives up, and how much longer for each other tenant.
const LIMIT: Duration = Duration::from_mins(30);
const EACH: Duration = Duration::from_millis(500);

/// Measure one operator without nodes.
#[derive(Debug, Parser)]
struct Arguments {
    /// Numbers of finished Executions to be kept, one after the other, rising. 0: none but those that
    /// the bench itself leaves.
    #[arg(long, value_delimiter = ',', default_value = "0,1000,10000,50000")]
    kept: Vec<usize>,
    /// Other tenants, made and proven before anything is measured.
    #[arg(long, default_value_t = 0)]
    tenants: u32,
    /// Objects of others, of kinds that the operator watches, that are there before anything is measured.
    #[arg(long, default_value_t = 0)]
    foreign: usize,
    /// Clients of the closed loop: each creates an Execution, waits for its end, and goes on.
    #[arg(long, default_value_t = 32)]
    clients: usize,
    /// Sandboxes kept warm; as many as there are clients, if not given.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=100))]
    warm: Option<u16>,
    /// Seconds of the closed loop at each number.
    #[arg(long, default_value_t = 45)]
    seconds: u64,
    /// Most Executions of it at each number.
    #[arg(long, default_value_t = 10_000)]
    most: usize,
    /// Executions one after the other at each number; as many without a warm sandbox.
    #[arg(long, default_value_t = 50)]
    serial: usize,
    /// The operator; what was built beside this program, if not given.
    #[arg(long)]
    operator: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<(), Anything> {
    let arguments = Arguments::parse();
    eprintln!("starting etcd, API server and controllers");
    let plane = ControlPlane::start().await;
    node::make(&plane).await;
    plane.pretend_probing_targets().await;
    let recipe = Recipe::new(arguments.operator.clone(), &plane)?;
    let limit = LIMIT + EACH * arguments.tenants;
    let outcome = tokio::select! {
        outcome = measure(&plane, &recipe, &arguments) => outcome,
        error = node::run(plane.node(), Manner::sound(recipe.dispatch)) => Err(error),
        () = tests::live::pause(limit) => Err(format!("not done after {limit:?}").into()),
    };
    if outcome.is_err() {
        eprintln!("the operator said last:\n{}", recipe.said());
    }
    outcome
}

async fn measure(
    plane: &ControlPlane,
    recipe: &Recipe,
    arguments: &Arguments,
) -> Result<(), Anything> {
    eprintln!("a tenant, an Integration, a first Execution");
    let clients = arguments.clients;
    let warm = arguments.warm.map_or(clients.min(100), usize::from);
    let model = recipe.run_for(model(plane, warm)).await?;
    let (tenants, foreign) = (arguments.tenants as usize, arguments.foreign);
    if tenants + foreign > 0 {
        eprintln!("{tenants} other tenants, {foreign} objects of others");
        crowd::tenants(plane, recipe, tenants).await?;
        crowd::foreign(plane, foreign).await?;
    }
    println!(
        "control plane alone; scheduler, kubelet and sandboxes are stand-ins; {clients} clients, \
         {warm} warm; {tenants} other tenants, {foreign} objects of others"
    );
    let mut round = Round::new(plane, recipe, model);
    for (number, kept) in arguments.kept.iter().enumerate() {
        round.at(number, *kept, arguments).await?;
    }
    Ok(())
}

/// What the bare client copies: all there is to one Execution.
async fn model(plane: &ControlPlane, warm: usize) -> Result<Model, Anything> {
    scene::tenant(plane).await?;
    scene::integrations(plane, warm).await?;
    scene::until_warm(plane).await;
    let once = Load {
        clients: 1,
        most: 1,
        time: Duration::from_mins(1),
    };
    let executions = Executions(plane.admin(), scene::INTEGRATION);
    let first = load::run(&plane.admin(), &executions, "first", once).await?;
    match first.faults.first() {
        Some(fault) => Err(fault.clone().into()),
        None => Model::read(plane, &first.last).await,
    }
}
