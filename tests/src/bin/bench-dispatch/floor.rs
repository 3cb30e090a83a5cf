//! The floor: the very same writes for as many Executions, by a client that does nothing else, while
//! the operator is stopped. Executions that are kept are made the same way, by fewer writes.
//!
//! In: an Execution and a sandbox that were real, to copy. Out: how many, in how long.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use futures::{StreamExt, TryStreamExt, future::try_join_all, stream};
use http::Method;
use kube::Client;
use serde_json::{Value, json};
use tests::{
    control_plane::{ControlPlane, send},
    measure::now,
    stand_in::node::{bind, must, running, say as say_of_pod, token},
};

use super::{
    Anything,
    scene::{self, EXECUTIONS, FLOOR, INTEGRATION, NAMESPACE, create, execution, say},
};

/// Creations under way at once while Executions to keep are made.
const AT_ONCE: usize = 32;
const PODS: &str = "/api/v1/namespaces/tenant-bench/pods";

/// What is copied.
pub(crate) struct Model {
    /// With the rights of the operator.
    operator: Client,
    /// As the operator, with every right.
    filler: Client,
    /// With those of scheduler and user.
    admin: Client,
    /// With those of a kubelet.
    node: Client,
    pod: Value,
    /// Of an Execution that has ended.
    status: Value,
}

impl Model {
    /// From a finished Execution, and a sandbox that stands ready.
    pub(crate) async fn read(plane: &ControlPlane, finished: &Value) -> Result<Self, Anything> {
        let sandboxes = "?labelSelector=cloister.dev%2Frole%3Dsandbox";
        let pods = must(plane.get(&format!("{PODS}{sandboxes}")).await)?;
        let pod = pods["items"].get(0).ok_or("no sandbox to copy")?;
        let owner = json!([{"apiVersion": "cloister.dev/v1alpha1", "kind": "Integration",
            "name": FLOOR, "uid": scene::floor_uid(plane).await?, "controller": true}]);
        let mut spec = pod["spec"].clone();
        for given in ["nodeName", "tolerations", "priority", "serviceAccount"] {
            if let Some(spec) = spec.as_object_mut() {
                spec.remove(given);
            }
        }
        let mut labels = pod["metadata"]["labels"].clone();
        labels["cloister.dev/integration"] = json!(FLOOR);
        let metadata = json!({"namespace": NAMESPACE, "labels": labels,
            "annotations": pod["metadata"]["annotations"], "ownerReferences": owner});
        Ok(Self {
            operator: plane.operator(),
            filler: plane.unasked_operator(),
            admin: plane.admin(),
            node: plane.node(),
            pod: json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}),
            status: finished["status"].clone(),
        })
    }

    /// Makes so many that have ended, and are kept.
    pub(crate) async fn keep(&self, part: &str, count: usize) -> Result<(), Anything> {
        stream::iter(0..count)
            .map(|number| async move {
                let name = format!("{part}-{number}");
                create(
                    &self.admin,
                    EXECUTIONS,
                    &execution(INTEGRATION, part, &name),
                )
                .await?;
                say(&self.filler, &name, &self.status).await?;
                if number % 5000 == 4999 {
                    eprintln!("  {} of {count} kept", number + 1);
                }
                Ok::<_, Anything>(())
            })
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<()>>()
            .await?;
        Ok(())
    }

    /// As many bare clients as in the closed loop, for a time. How many, in how many milliseconds.
    pub(crate) async fn floor(
        &self,
        part: &str,
        (clients, most): (usize, usize),
        time: Duration,
    ) -> Result<(usize, f64), Anything> {
        let (count, begun) = (Cell::new(0), now());
        let until = Instant::now() + time;
        let clients = (0..clients).map(async |_| {
            while Instant::now() < until && count.get() < most {
                count.set(count.get() + 1);
                self.one(part, count.get()).await?;
            }
            Ok::<_, Anything>(())
        });
        try_join_all(clients).await?;
        Ok((count.get(), now() - begun))
    }

    /// The writes of one Execution, whoever does them: user, operator, scheduler, kubelet.
    async fn one(&self, part: &str, number: usize) -> Result<(), Anything> {
        let name = format!("{part}-{number}");
        create(
            &self.admin,
            EXECUTIONS,
            &execution(INTEGRATION, part, &name),
        )
        .await?;
        let mut pod = self.pod.clone();
        pod["metadata"]["name"] = json!(format!("cloister-run-{part}-{number}"));
        let made = create(&self.operator, PODS, &pod).await?;
        let pod_name = made["metadata"]["name"].clone();
        let path = format!("{PODS}/{}", pod_name.as_str().unwrap_or_default());
        must(bind(&self.admin, &path, &pod_name, "made-up-0").await)?;
        must(say_of_pod(&self.node, &path, &running(&made, "127.0.1.1")).await)?;
        let token = token(&self.node, &made).await?;
        let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
            "spec": {"token": token, "audiences": ["cloister-dispatch"]}});
        let reviews = "/apis/authentication.k8s.io/v1/tokenreviews";
        create(&self.operator, reviews, &review).await?;
        let mut bound = self.status.clone();
        bound["conditions"] = json!([]);
        say(&self.operator, &name, &bound).await?;
        say(&self.operator, &name, &self.status).await?;
        let json = "application/json";
        let graceful = json!({});
        must(send(&self.operator, Method::DELETE, &path, json, &graceful).await)?;
        let at_once = json!({"gracePeriodSeconds": 0});
        match send(&self.node, Method::DELETE, &path, json, &at_once).await {
            // The stand-in for its node was faster.
            Err(refusal) if refusal.code == 404 => Ok(()),
            answer => must(answer).map(drop),
        }
    }
}
