//! The floor: a bare pod and a bare Job, as hardened as a sandbox and with the same image and command,
//! in the same namespace, with nothing of Cloister's in them.

use std::{cell::RefCell, collections::HashMap, time::Duration};

use http::Method;
use kube::{
    api::{ApiResource, DynamicObject},
    core::GroupVersionKind,
};
use serde_json::{Value, json};
use tests::{
    live::{
        Live,
        executions::IMAGE,
        must, namespace_of, pause,
        pods::{conforming, pod_path, under_gvisor},
        said, text, until,
    },
    measure::{
        Spread,
        load::{Anything, Job, PART_LABEL},
        now,
    },
};

use crate::scene::{CPU, Kernel, LIMIT, Times, cpu_of};

fn pod(tenant: &str, name: &str, kernel: Kernel, cpu: &str) -> Value {
    let mut pod = conforming(&namespace_of(tenant), name, &[]);
    let container = &mut pod["spec"]["containers"][0];
    container["image"] = json!(IMAGE);
    container["command"] = json!(["/hello", "now"]);
    container["args"] = json!([]);
    container["resources"]["limits"]["cpu"] = json!(cpu);
    container["resources"]["requests"]["cpu"] = json!(cpu);
    // Nothing else is writable in a hardened pod; and a kubelet looks every 300 ms whether a pod's
    // volumes are there, of which a pod without one has nothing to wait for.
    container["volumeMounts"] = json!([{"name": "tmp", "mountPath": "/tmp"}]);
    pod["spec"]["volumes"] =
        json!([{"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}]);
    match kernel {
        Kernel::Runc => pod,
        Kernel::Gvisor => under_gvisor(pod),
    }
}

/// What the command of a pod has said: when it began, in milliseconds since 1970.
async fn begun(live: &Live, path: &str) -> f64 {
    let log = format!("{path}/log");
    let (begun, _) = until("the command has said when it began", LIMIT, async || {
        let log = live.admin.text(&log).await;
        let begun: Option<f64> = log.trim().parse().ok();
        begun.ok_or_else(|| format!("it says {log:?}"))
    })
    .await;
    begun / 1000.0
}

/// A bare pod, to the sight of `Succeeded`.
pub(crate) async fn bare_pod(live: &Live, tenant: &str, name: &str, kernel: Kernel) -> Times {
    run(live, tenant, name, &pod(tenant, name, kernel, CPU)).await
}

/// The same behind an init container that does nothing: what one costs of itself.
pub(crate) async fn bare_pod_behind_init(
    live: &Live,
    tenant: &str,
    name: &str,
    kernel: Kernel,
) -> Times {
    let pod = behind_init(pod(tenant, name, kernel, CPU));
    run(live, tenant, name, &pod).await
}

fn behind_init(mut pod: Value) -> Value {
    let mut init = pod["spec"]["containers"][0].clone();
    init["name"] = json!("init");
    pod["spec"]["initContainers"] = json!([init]);
    pod
}

async fn run(live: &Live, tenant: &str, name: &str, pod: &Value) -> Times {
    let path = pod_path(&namespace_of(tenant), name);
    let created = now();
    must(live.admin.create(pod).await, "create a bare pod");
    // Nobody asks before it can have begun.
    pause(Duration::from_millis(300)).await;
    until("the bare pod has ended", LIMIT, async || {
        match text(&must(live.get(&path).await, name), "/status/phase") {
            phase if phase == "Succeeded" => Ok(()),
            phase => Err(phase),
        }
    })
    .await;
    let ended = now() - created;
    let begun = begun(live, &path).await - created;
    live.delete(&path).await;
    Times { begun, ended }
}

/// A bare Job, to the sight of `Complete`.
pub(crate) async fn bare_job(live: &Live, tenant: &str, name: &str, kernel: Kernel) -> Times {
    let namespace = namespace_of(tenant);
    let job = json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"backoffLimit": 0, "template": {"spec": pod(tenant, name, kernel, CPU)["spec"]}},
    });
    let path = format!("/apis/batch/v1/namespaces/{namespace}/jobs/{name}");
    let created = now();
    must(live.admin.create(&job).await, "create a bare Job");
    pause(Duration::from_millis(300)).await;
    until("the bare Job is complete", LIMIT, async || {
        match said(&must(live.get(&path).await, name), "Complete") {
            said if said.status == "True" => Ok(()),
            said => Err(format!("{said:?}")),
        }
    })
    .await;
    let ended = now() - created;
    let ours = format!(
        "/api/v1/namespaces/{namespace}/pods?labelSelector=batch.kubernetes.io%2Fjob-name%3D{name}"
    );
    let pods = live.list(&ours).await;
    let pod = pods.first().map(|pod| text(pod, "/metadata/name"));
    let pod = pod_path(&namespace, &pod.unwrap_or_default());
    let begun = begun(live, &pod).await - created;
    live.delete(&format!("{path}?propagationPolicy=Background"))
        .await;
    Times { begun, ended }
}

/// Bare pods of a closed loop: each is put away when it has ended.
pub(crate) struct Pods<'a> {
    live: &'a Live,
    tenant: &'a str,
    namespace: String,
    kernel: Kernel,
    cpu: &'static str,
    created: RefCell<HashMap<String, f64>>,
    begun: Option<RefCell<Spread>>,
    behind_init: bool,
}

impl<'a> Pods<'a> {
    /// As many cores for each as for a sandbox where there are so many.
    pub(crate) fn new(live: &'a Live, tenant: &'a str, (kernel, count): (Kernel, usize)) -> Self {
        Self {
            live,
            tenant,
            namespace: namespace_of(tenant),
            kernel,
            cpu: cpu_of(count),
            created: RefCell::default(),
            begun: None,
            behind_init: false,
        }
    }

    /// The same, and each is asked for its log when it has ended.
    pub(crate) fn telling(live: &'a Live, tenant: &'a str, which: (Kernel, usize)) -> Self {
        Self {
            begun: Some(RefCell::default()),
            ..Self::new(live, tenant, which)
        }
    }

    /// The same, each behind an init container that does nothing.
    pub(crate) fn behind_init(live: &'a Live, tenant: &'a str, which: (Kernel, usize)) -> Self {
        Self {
            behind_init: true,
            ..Self::new(live, tenant, which)
        }
    }

    /// From the request to the first instruction, of those that were asked.
    pub(crate) fn begun(self) -> Spread {
        self.begun.map(RefCell::into_inner).unwrap_or_default()
    }
}

impl Job for Pods<'_> {
    fn kind(&self) -> ApiResource {
        ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Pod"))
    }

    fn namespace(&self) -> &str {
        &self.namespace
    }

    async fn make(&self, part: &str, name: &str) -> Result<(), Anything> {
        let mut pod = pod(self.tenant, name, self.kernel, self.cpu);
        if self.behind_init {
            pod = behind_init(pod);
        }
        pod["metadata"]["labels"][PART_LABEL] = json!(part);
        self.created.borrow_mut().insert(name.to_owned(), now());
        loop {
            match self.live.admin.create(&pod).await {
                // Many at once outrun the quota's own bookkeeping, and are asked to come again.
                Err(refusal) if refusal.code == 409 => pause(Duration::from_millis(20)).await,
                Err(refusal) => return Err(refusal.to_string().into()),
                Ok(_) => return Ok(()),
            }
        }
    }

    /// Its end alone: when it began, its log says, which takes a request of its own.
    fn outcome(&self, object: &DynamicObject) -> Option<Result<Option<f64>, String>> {
        match object.data["status"]["phase"].as_str() {
            Some("Succeeded") => Some(Ok(None)),
            Some("Failed") => Some(Err(object.data["status"].to_string())),
            Some(_) | None => None,
        }
    }

    async fn clear(&self, name: &str) -> Result<(), Anything> {
        let path = pod_path(&self.namespace, name);
        let created = self.created.borrow_mut().remove(name);
        if let Some((all, created)) = self.begun.as_ref().zip(created) {
            let begun = begun(self.live, &path).await;
            all.borrow_mut().add(begun - created);
        }
        let at_once = json!({"gracePeriodSeconds": 0});
        let content = "application/json";
        let gone = self
            .live
            .admin
            .send(Method::DELETE, &path, content, &at_once);
        gone.await
            .map(drop)
            .map_err(|refusal| refusal.to_string().into())
    }
}
