//! `make bench`: what Cloister costs, beside what the API server itself costs in the same run.
//!
//! In: `$KUBECONFIG`, a cluster that Cloister is installed in. Out: a table on standard
//! output. Each figure has its floor next to it, measured just before by a bare client with
//! the same parallelism that writes the very same objects. Probes are held back while
//! tenants are counted (the canary is scaled to nothing), because a pod per tenant would
//! measure the kubelets.
#![expect(
    clippy::disallowed_methods,
    clippy::panic,
    reason = "a benchmark writes, waits and fails by panicking"
)]

use std::time::{Duration, Instant};

use clap::Parser;
use futures::{StreamExt, TryStreamExt, stream};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::GroupVersionKind,
};
use serde_json::{Value, json};

/// Requests under way at once, of the bare client; the operator's own number.
const PARALLEL: usize = 24;

/// Measure Cloister on the cluster of $KUBECONFIG.
#[derive(Debug, Parser)]
struct Arguments {
    /// Numbers of tenants to bring to Ready, one after the other.
    #[arg(long, value_delimiter = ',', default_value = "100,1000,5000")]
    tenants: Vec<usize>,
    /// Deleted network policies to wait for.
    #[arg(long, default_value_t = 100)]
    repairs: usize,
    /// Seconds to count writes for while nothing happens.
    #[arg(long, default_value_t = 60)]
    idle: u64,
    /// Address of the operator's admin pages. Without: through the API server.
    #[arg(long)]
    admin: Option<String>,
}

type Anything = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Anything> {
    let arguments = Arguments::parse();
    let _ = rustls_provider();
    let mut config = Config::infer().await?;
    let admin = Client::try_from(config.clone())?;
    config.auth_info.impersonate =
        Some("system:serviceaccount:cloister-system:cloister-operator".to_owned());
    config.auth_info.impersonate_groups = Some(vec!["system:masters".to_owned()]);
    let bench = Bench {
        client: admin,
        as_operator: Client::try_from(config)?,
    };
    bench.run(&arguments).await
}

/// The client brings its provider; rustls wants to be told all the same.
fn rustls_provider() -> Result<(), Anything> {
    Ok(())
}

struct Bench {
    client: Client,
    as_operator: Client,
}

/// Kinds of a tenant's children, and whether they lie in its namespace.
const CHILDREN: [(&str, &str, &str, bool); 8] = [
    ("", "v1", "Namespace", false),
    ("networking.k8s.io", "v1", "NetworkPolicy", true),
    ("", "v1", "ResourceQuota", true),
    ("", "v1", "LimitRange", true),
    ("", "v1", "ServiceAccount", true),
    ("rbac.authorization.k8s.io", "v1", "RoleBinding", true),
    ("rbac.authorization.k8s.io", "v1", "ClusterRole", false),
    (
        "rbac.authorization.k8s.io",
        "v1",
        "ClusterRoleBinding",
        false,
    ),
];

fn kind(group: &str, version: &str, kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

fn tenant_kind() -> ApiResource {
    kind("cloister.dev", "v1alpha1", "Tenant")
}

fn tenant(name: &str) -> Value {
    json!({
        "apiVersion": "cloister.dev/v1alpha1",
        "kind": "Tenant",
        "metadata": {"name": name, "labels": {"bench": "true"}},
        "spec": {
            "deletionPolicy": "Purge",
            "members": [
                {"kind": "User", "name": "ada@example.com", "role": "Owner"},
                {"kind": "User", "name": "ben@example.com", "role": "Admin"},
                {"kind": "Group", "name": "people", "role": "User"},
            ],
        },
    })
}

impl Bench {
    async fn run(&self, arguments: &Arguments) -> Result<(), Anything> {
        self.scale("cloister-canary", 0).await?;
        let outcome = self.measure(arguments).await;
        self.scale("cloister-canary", 2).await?;
        outcome
    }

    async fn measure(&self, arguments: &Arguments) -> Result<(), Anything> {
        println!("memory   0 tenants: {}", self.memory(arguments).await?);
        self.bring("bench-template", 1).await?;
        let children = self.children("bench-template-0").await?;
        println!("objects  {} children a tenant", children.len());
        let mut ready = 0;
        for count in &arguments.tenants {
            let count = count.saturating_sub(ready);
            let floor = if count <= 1000 {
                Some(
                    self.floor(&children, &format!("floor{count}"), count)
                        .await?,
                )
            } else {
                None
            };
            self.tenants(count, floor, ready).await?;
            ready += count;
            println!(
                "memory   {ready} tenants: {}",
                self.memory(arguments).await?
            );
        }
        self.idle(arguments).await?;
        self.repairs(arguments.repairs).await
    }

    /// Tenants to Ready, beside the bare client's time for the same writes.
    async fn tenants(
        &self,
        count: usize,
        floor: Option<Duration>,
        have: usize,
    ) -> Result<(), Anything> {
        let before = self.writes().await?;
        let took = self.bring(&format!("bench-{have}"), count).await?;
        let writes = (self.writes().await? - before) as f64 / count as f64;
        let rate = count as f64 / took.as_secs_f64();
        print!(
            "ready    {count} tenants in {:.1} s: {rate:.1}/s, {writes:.1} writes each",
            took.as_secs_f64()
        );
        match floor {
            Some(floor) => println!(
                "; floor {:.1} s: {:.1}/s; ratio {:.0} %",
                floor.as_secs_f64(),
                count as f64 / floor.as_secs_f64(),
                100.0 * floor.as_secs_f64() / took.as_secs_f64()
            ),
            None => println!(),
        }
        Ok(())
    }

    /// Creates tenants as fast as the server takes them; returns when all are Ready.
    async fn bring(&self, prefix: &str, count: usize) -> Result<Duration, Anything> {
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &tenant_kind());
        let begun = Instant::now();
        stream::iter(0..count)
            .map(|number| {
                let (api, name) = (api.clone(), format!("{prefix}-{number}"));
                async move {
                    api.create(&PostParams::default(), &object(tenant(&name)))
                        .await
                }
            })
            .buffer_unordered(PARALLEL)
            .try_collect::<Vec<_>>()
            .await?;
        // A watch sees the moment; a list would add its own load to what is measured.
        let mut watch = std::pin::pin!(kube::runtime::watcher(
            api,
            kube::runtime::watcher::Config::default()
        ));
        let mut missing: std::collections::HashSet<String> = (0..count)
            .map(|number| format!("{prefix}-{number}"))
            .collect();
        let deadline = Instant::now() + Duration::from_secs(600);
        while !missing.is_empty() {
            let event = tokio::time::timeout_at(deadline.into(), watch.next()).await;
            let Ok(Some(event)) = event else {
                panic!("{} tenants are not Ready after ten minutes", missing.len());
            };
            if let Ok(
                kube::runtime::watcher::Event::Apply(one)
                | kube::runtime::watcher::Event::InitApply(one),
            ) = event
                && is_ready(&one)
            {
                missing.remove(&one.name_any());
            }
        }
        Ok(begun.elapsed())
    }

    /// What a tenant consists of, without what the server added.
    async fn children(&self, tenant: &str) -> Result<Vec<(ApiResource, bool, Value)>, Anything> {
        let mut all = Vec::new();
        for (group, version, name, namespaced) in CHILDREN {
            let resource = kind(group, version, name);
            let api: Api<DynamicObject> = if namespaced {
                Api::namespaced_with(self.client.clone(), &format!("tenant-{tenant}"), &resource)
            } else {
                Api::all_with(self.client.clone(), &resource)
            };
            let ours = ListParams::default().labels(&format!("cloister.dev/tenant={tenant}"));
            for mut child in api.list(&ours).await? {
                child.types = Some(kube::core::TypeMeta {
                    api_version: resource.api_version.clone(),
                    kind: resource.kind.clone(),
                });
                let meta = &mut child.metadata;
                (meta.uid, meta.resource_version, meta.creation_timestamp) = (None, None, None);
                (meta.managed_fields, meta.generation) = (None, None);
                // The copies stand for nobody: with an owner they would be collected.
                meta.owner_references = None;
                child.data.as_object_mut().map(|data| data.remove("status"));
                all.push((resource.clone(), namespaced, serde_json::to_value(child)?));
            }
        }
        Ok(all)
    }

    /// The same writes for as many tenants by a client that does nothing else: the Tenant,
    /// its finalizer, each child, its status.
    async fn floor(
        &self,
        children: &[(ApiResource, bool, Value)],
        prefix: &str,
        count: usize,
    ) -> Result<Duration, Anything> {
        // Stands for the Tenant, which the operator would not leave alone.
        let stand_in = kind("", "v1", "ConfigMap");
        let holder: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), "default", &stand_in);
        let begun = Instant::now();
        stream::iter(0..count)
            .map(|number| {
                let (name, holder) = (format!("{prefix}-{number}"), holder.clone());
                async move {
                    let body = json!({
                        "apiVersion": "v1", "kind": "ConfigMap",
                        "metadata": {"name": name, "namespace": "default"},
                        "data": {"spec": tenant(&name).to_string()},
                    });
                    holder.create(&PostParams::default(), &object(body)).await?;
                    self.merge(&holder, &name, &json!({"metadata": {"finalizers": []}}))
                        .await?;
                    for (resource, namespaced, child) in children {
                        self.copy(resource, *namespaced, child, &name).await?;
                    }
                    let status = "x".repeat(1500);
                    self.merge(&holder, &name, &json!({"data": {"status": status}}))
                        .await
                }
            })
            .buffer_unordered(PARALLEL)
            .try_collect::<Vec<_>>()
            .await?;
        Ok(begun.elapsed())
    }

    async fn merge(
        &self,
        api: &Api<DynamicObject>,
        name: &str,
        body: &Value,
    ) -> Result<(), Anything> {
        api.patch(name, &PatchParams::default(), &Patch::Merge(body))
            .await?;
        Ok(())
    }

    async fn copy(
        &self,
        resource: &ApiResource,
        namespaced: bool,
        child: &Value,
        to: &str,
    ) -> Result<(), Anything> {
        let text = child.to_string().replace("bench-template-0", to);
        let copy: DynamicObject = serde_json::from_str(&text)?;
        let client = self.as_operator.clone();
        let api: Api<DynamicObject> = if namespaced {
            Api::namespaced_with(client, &format!("tenant-{to}"), resource)
        } else {
            Api::all_with(client, resource)
        };
        api.create(&PostParams::default(), &copy).await?;
        Ok(())
    }

    /// Write requests that the API server has served, leases and events aside.
    async fn writes(&self) -> Result<u64, Anything> {
        let request = http::Request::get("/metrics").body(Vec::new())?;
        let text = self.client.request_text(request).await?;
        let counted = text
            .lines()
            .filter(|line| line.starts_with("apiserver_request_total{"))
            .filter(|line| {
                ["POST", "PUT", "PATCH", "APPLY", "DELETE"]
                    .iter()
                    .any(|verb| line.contains(&format!("verb=\"{verb}\"")))
            })
            .filter(|line| {
                !line.contains("resource=\"leases\"") && !line.contains("resource=\"events\"")
            })
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum::<f64>();
        Ok(counted as u64)
    }

    async fn idle(&self, arguments: &Arguments) -> Result<(), Anything> {
        // What follows a burst (garbage collection, endpoint slices) has to be over.
        tokio::time::sleep(Duration::from_secs(20)).await;
        let before = self.writes().await?;
        tokio::time::sleep(Duration::from_secs(arguments.idle)).await;
        let written = self.writes().await? - before;
        println!(
            "idle     {written} writes by anybody in {} s, leases and events aside",
            arguments.idle
        );
        Ok(())
    }

    /// Deletes a policy and waits for it to come back, again and again.
    async fn repairs(&self, count: usize) -> Result<(), Anything> {
        let resource = kind("networking.k8s.io", "v1", "NetworkPolicy");
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), "tenant-bench-template-0", &resource);
        let (mut repairs, mut floors) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let begun = Instant::now();
            api.get("cloister-deny-all").await?;
            floors.push(begun.elapsed());
            let mut events = std::pin::pin!(kube::runtime::watcher(
                api.clone(),
                kube::runtime::watcher::Config::default().fields("metadata.name=cloister-deny-all")
            ));
            while let Some(event) = events.next().await {
                if matches!(event?, kube::runtime::watcher::Event::InitDone) {
                    break;
                }
            }
            let begun = Instant::now();
            api.delete("cloister-deny-all", &DeleteParams::default())
                .await?;
            while let Some(event) = events.next().await {
                if matches!(event?, kube::runtime::watcher::Event::Apply(_)) {
                    break;
                }
            }
            repairs.push(begun.elapsed());
        }
        println!(
            "repair   {} of a deleted NetworkPolicy, delete sent to restored one seen; floor (one get) {}",
            percentiles(&mut repairs),
            percentiles(&mut floors)
        );
        Ok(())
    }

    async fn scale(&self, deployment: &str, replicas: u32) -> Result<(), Anything> {
        let api: Api<DynamicObject> = Api::namespaced_with(
            self.client.clone(),
            "cloister-system",
            &kind("apps", "v1", "Deployment"),
        );
        self.merge(&api, deployment, &json!({"spec": {"replicas": replicas}}))
            .await?;
        tokio::time::sleep(Duration::from_secs(3)).await;
        Ok(())
    }

    /// Resident memory of the replica that leads.
    async fn memory(&self, arguments: &Arguments) -> Result<String, Anything> {
        let pages = match &arguments.admin {
            Some(address) => vec![plain_get(address).await?],
            None => self.pages().await?,
        };
        let value = |page: &str, name: &str| {
            let line = page.lines().find(|line| line.starts_with(name))?;
            line.rsplit(' ').next()?.parse::<f64>().ok()
        };
        let leader = pages
            .iter()
            .find(|page| value(page, "cloister_leader ") == Some(1.0));
        let bytes = leader.and_then(|page| value(page, "cloister_process_resident_memory_bytes "));
        Ok(bytes.map_or_else(
            || "no leader".to_owned(),
            |b| format!("{:.1} MiB resident", b / 1_048_576.0),
        ))
    }

    async fn pages(&self) -> Result<Vec<String>, Anything> {
        let pods: Api<DynamicObject> = Api::namespaced_with(
            self.client.clone(),
            "cloister-system",
            &kind("", "v1", "Pod"),
        );
        let mut pages = Vec::new();
        for pod in pods.list(&ListParams::default()).await? {
            let name = pod.name_any();
            if name.starts_with("cloister-operator") {
                let path =
                    format!("/api/v1/namespaces/cloister-system/pods/{name}:8080/proxy/metrics");
                let request = http::Request::get(path).body(Vec::new())?;
                pages.push(self.client.request_text(request).await.unwrap_or_default());
            }
        }
        Ok(pages)
    }
}

fn object(value: Value) -> DynamicObject {
    serde_json::from_value(value)
        .unwrap_or_else(|error| panic!("a manifest of the benchmark: {error}"))
}

fn is_ready(tenant: &DynamicObject) -> bool {
    let conditions = tenant.data["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|one| one["type"] == "Ready" && one["status"] == "True")
}

fn percentiles(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |share: f64| {
        let index = ((times.len() as f64 - 1.0) * share).round() as usize;
        times
            .get(index)
            .map_or(0.0, |time| time.as_secs_f64() * 1000.0)
    };
    format!(
        "p50 {:.0} ms, p99 {:.0} ms, max {:.0} ms",
        at(0.5),
        at(0.99),
        at(1.0)
    )
}

/// One page over plain HTTP, for an operator that runs beside the benchmark.
async fn plain_get(address: &str) -> Result<String, Anything> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await?;
    let mut page = String::new();
    stream.read_to_string(&mut page).await?;
    Ok(page)
}
