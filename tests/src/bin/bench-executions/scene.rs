//! What every section needs: a tenant, an Integration with sandboxes that stand ready, one Execution.

use std::{fmt, time::Duration};

use clap::ValueEnum;
use http::Method;
use kube::{
    Client,
    api::{ApiResource, DynamicObject},
    core::GroupVersionKind,
};
use serde_json::{Value, json};
use tests::{
    live::{Live, executions::path, must, namespace_of, pause, said, text, until},
    measure::{
        load::{self, Anything, Job, Load, Outcome, PART_LABEL, of_execution},
        now,
    },
};

/// How long anything may take.
pub(crate) const LIMIT: Duration = Duration::from_mins(3);
/// How long sandboxes that run may take until each has proven itself; longer than a want of some may last
/// before their Integration says so (`DEFICIT` in `operator/src/dispatch/say.rs`).
const PROVING: Duration = Duration::from_secs(11);
/// What an Integration's command is told, so that it says when it began.
pub(crate) const GREET: [&str; 1] = ["bench"];

/// What a command runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kernel {
    /// The node's own.
    Runc,
    /// gVisor's.
    Gvisor,
}

impl Kernel {
    /// As a Tenant says it.
    const fn runtime(self) -> &'static str {
        match self {
            Self::Runc => "Hardened",
            Self::Gvisor => "GVisor",
        }
    }

    /// What one run may use: gVisor's own kernel lives in its memory, too.
    const fn memory(self) -> &'static str {
        match self {
            Self::Runc => "64Mi",
            Self::Gvisor => "128Mi",
        }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Runc => "runc",
            Self::Gvisor => "gVisor",
        })
    }
}

/// A proven tenant on a kernel, whose limits are in nobody's way.
pub(crate) async fn tenant(live: &Live, name: &str, kernel: Kernel) -> String {
    eprintln!("{name} on {kernel}: a tenant");
    let limits = json!({"cpu": "200", "memory": "200Gi", "pods": 300, "executions": 50_000});
    let spec = json!({"limits": limits, "isolation": {"runtime": kernel.runtime()}});
    live.proven(name, &spec).await
}

/// Cores of a sandbox, and of the bare pod that it is held against: of one at a time, and of so many
/// at once that the nodes must have room for them. It counts for the start, too: a runtime starts a
/// container within the container's own share.
pub(crate) const CPU: &str = "250m";
const CPU_OF_MANY: &str = "50m";
/// From how many on there are many.
const MANY: usize = 11;

/// Cores of each of so many.
pub(crate) const fn cpu_of(count: usize) -> &'static str {
    if count < MANY { CPU } else { CPU_OF_MANY }
}

/// An Integration that says when it began, with so many sandboxes that stand ready.
pub(crate) async fn ready(live: &Live, tenant: &str, name: &str, (kernel, warm): (Kernel, usize)) {
    eprintln!("  {name}: {warm} sandboxes");
    let cpu = cpu_of(warm);
    let spec = json!({"warm": {"min": warm}, "concurrency": {"limit": 200},
        "resources": {"cpu": cpu, "memory": kernel.memory(), "scratch": "1Mi"}});
    live.integrate(tenant, name, &GREET, &spec).await;
    if warm > 0 {
        live.until_warm(tenant, name, LIMIT).await;
        full(live, tenant, name, warm).await;
    }
}

/// Takes an Integration away, and waits until its sandboxes are, so that the next section has the
/// machine to itself.
pub(crate) async fn put_away(live: &Live, tenant: &str, name: &str) {
    live.delete(&format!("{}/{name}", path(tenant, "integrations")))
        .await;
    until("its sandboxes are gone", LIMIT, async || {
        match live.sandboxes(tenant, name).await.len() {
            0 => Ok(()),
            left => Err(format!("{left} are there")),
        }
    })
    .await;
}

/// Waits until so many sandboxes stand ready, and have for as long as even a slow machine takes to prove
/// them.
pub(crate) async fn full(live: &Live, tenant: &str, name: &str, count: usize) {
    stand(live, tenant, name, count).await;
    pause(PROVING).await;
    live.until_warm(tenant, name, LIMIT).await;
}

/// Waits until so many sandboxes run: all but the last have proven themselves long ago.
pub(crate) async fn stand(live: &Live, tenant: &str, name: &str, count: usize) {
    // One that has been used stands for a moment longer.
    pause(Duration::from_secs(1)).await;
    let ready = async || match live.standing(tenant, name).await.len() {
        running if running >= count => Ok(()),
        running => Err(format!("{running} run")),
    };
    until("the pool is full", LIMIT, ready).await;
}

/// Milliseconds from the request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// To the command's first instruction, by its own word.
    pub(crate) begun: f64,
    /// To its end, as somebody says it: see who makes this.
    pub(crate) ended: f64,
}

/// Creates an Execution, and waits for its end: as its status says, by the operator's clock.
pub(crate) async fn one(live: &Live, tenant: &str, integration: &str) -> Times {
    let created = now();
    let name = live.execute(tenant, integration, &json!({})).await;
    // Not asked for while it runs: that would be measured, too.
    pause(Duration::from_millis(150)).await;
    let (object, _) = live.until_over(tenant, &name, LIMIT).await;
    assert_eq!(said(&object, "Succeeded").reason, "Completed", "{object}");
    let result = text(&object, "/status/result");
    let result: Value = must(serde_json::from_str(&result), &result);
    let ended = text(&object, "/status/times/ended");
    let ended: jiff::Timestamp = must(ended.parse(), "its end");
    Times {
        begun: result["begunUs"].as_f64().unwrap_or_default() / 1000.0 - created,
        ended: ended.as_duration().as_secs_f64() * 1000.0 - created,
    }
}

/// So many at once, each once.
pub(crate) async fn at_once<J: Job>(job: &J, part: &str, count: usize) -> Outcome {
    let client = must(Client::try_default().await, "client");
    let load = Load {
        clients: count,
        most: count,
        time: LIMIT,
    };
    let outcome = must(load::run(&client, job, part, load).await, part);
    outcome.complain(part);
    outcome
}

/// Executions of a closed loop; finished ones go by their `ttl`.
pub(crate) struct Executions<'a> {
    live: &'a Live,
    integration: &'a str,
    namespace: String,
    path: String,
}

impl<'a> Executions<'a> {
    pub(crate) fn new(live: &'a Live, tenant: &str, integration: &'a str) -> Self {
        Self {
            live,
            integration,
            namespace: namespace_of(tenant),
            path: path(tenant, "executions"),
        }
    }

    fn object(&self, part: &str, name: &str) -> Value {
        json!({
            "apiVersion": "cloister.dev/v1alpha1", "kind": "Execution",
            "metadata": {"name": name, "namespace": self.namespace, "labels": {PART_LABEL: part}},
            "spec": {"integration": self.integration},
        })
    }
}

impl Job for Executions<'_> {
    fn kind(&self) -> ApiResource {
        ApiResource::from_gvk(&GroupVersionKind::gvk(
            "cloister.dev",
            "v1alpha1",
            "Execution",
        ))
    }

    fn namespace(&self) -> &str {
        &self.namespace
    }

    async fn make(&self, part: &str, name: &str) -> Result<(), Anything> {
        let object = self.object(part, name);
        let content = "application/json";
        loop {
            let admin = &self.live.admin;
            match admin.send(Method::POST, &self.path, content, &object).await {
                // Many at once outrun the quota's own bookkeeping, and are asked to come again.
                Err(refusal) if refusal.code == 409 => pause(Duration::from_millis(20)).await,
                Err(refusal) => return Err(refusal.to_string().into()),
                Ok(_) => return Ok(()),
            }
        }
    }

    fn outcome(&self, object: &DynamicObject) -> Option<Result<Option<f64>, String>> {
        of_execution(object)
    }

    async fn clear(&self, _: &str) -> Result<(), Anything> {
        Ok(())
    }
}
