//! The API server, as the benchmark asks it.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, Config, ResourceExt,
    api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::GroupVersionKind,
    runtime::watcher::{self, watcher},
};
use serde_json::{Value, json};
use tests::measure::crowd::Model;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Whatever goes wrong ends the benchmark.
pub(crate) type Anything = Box<dyn std::error::Error + Send + Sync>;

/// Requests under way at once, of the bare client; the operator's own number.
pub(crate) const PARALLEL: usize = 24;

/// What [`Bench::memory`] says while nobody leads.
pub(crate) const NO_LEADER: &str = "no leader";

/// Group, version and kind.
pub(crate) type Kind = (&'static str, &'static str, &'static str);
pub(crate) const TENANT: Kind = ("cloister.dev", "v1alpha1", "Tenant");
pub(crate) const NETWORK_POLICY: Kind = ("networking.k8s.io", "v1", "NetworkPolicy");
const DEPLOYMENT: Kind = ("apps", "v1", "Deployment");

/// Where the operator serves its metrics.
const ADMIN_PORT: u16 = 8080;

fn resource((group, version, kind): Kind) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

/// A tenant with a member of each role.
fn tenant(name: &str) -> Value {
    json!({
        "apiVersion": "cloister.dev/v1alpha1",
        "kind": "Tenant",
        "metadata": {"name": name},
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

fn object(value: Value) -> Result<DynamicObject, Anything> {
    Ok(serde_json::from_value(value)?)
}

/// One run.
pub(crate) struct Bench {
    /// Begins every name, so that a second run does not meet the first one's objects.
    pub(crate) run: String,
    client: Client,
    as_operator: Client,
    admin: Option<String>,
}

impl Bench {
    pub(crate) async fn new(admin: Option<String>) -> Result<Self, Anything> {
        let mut config = Config::infer().await?;
        let client = Client::try_from(config.clone())?;
        config.auth_info.impersonate =
            Some("system:serviceaccount:cloister-system:cloister-operator".to_owned());
        Ok(Self {
            run: format!("bench{}", std::process::id()),
            client,
            as_operator: Client::try_from(config)?,
            admin,
        })
    }

    pub(crate) fn everywhere(&self, kind: Kind) -> Api<DynamicObject> {
        Api::all_with(self.client.clone(), &resource(kind))
    }

    pub(crate) fn namespaced(&self, kind: Kind, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &resource(kind))
    }

    /// A tenant of this name, to be copied.
    pub(crate) async fn model(&self, name: &str) -> Result<Model, Anything> {
        Model::read(self.client.clone(), self.as_operator.clone(), name).await
    }

    /// Creates tenants as fast as the server takes them; returns when all are Ready.
    pub(crate) async fn bring(&self, prefix: &str, count: usize) -> Result<Duration, Anything> {
        let api = self.everywhere(TENANT);
        let names: HashSet<String> = (0..count).map(|n| format!("{prefix}-{n}")).collect();
        let begun = Instant::now();
        stream::iter(&names)
            .map(|name| {
                let api = &api;
                async move {
                    api.create(&PostParams::default(), &object(tenant(name))?)
                        .await?;
                    Ok::<_, Anything>(())
                }
            })
            .buffer_unordered(PARALLEL)
            .try_collect::<Vec<_>>()
            .await?;
        let all = async { self.all_ready(names.clone()).await };
        tokio::time::timeout(Duration::from_mins(10), all)
            .await
            .map_err(|_| "not all tenants are Ready after ten minutes")??;
        Ok(begun.elapsed())
    }

    /// A watch sees the moment; lists would add their own load to what is measured.
    async fn all_ready(&self, mut missing: HashSet<String>) -> Result<(), Anything> {
        let mut events =
            std::pin::pin!(watcher(self.everywhere(TENANT), watcher::Config::default()));
        while !missing.is_empty() {
            let Some(event) = events.next().await else {
                break;
            };
            if let watcher::Event::Apply(one) | watcher::Event::InitApply(one) = event?
                && is_ready(&one)
            {
                missing.remove(&one.name_any());
            }
        }
        Ok(())
    }

    /// Write requests that the API server has served, leases and events aside.
    pub(crate) async fn writes(&self) -> Result<u64, Anything> {
        const VERBS: [&str; 5] = ["POST", "PUT", "PATCH", "APPLY", "DELETE"];
        let request = http::Request::get("/metrics").body(Vec::new())?;
        let text = self.client.request_text(request).await?;
        let counted = text
            .lines()
            .filter(|line| line.starts_with("apiserver_request_total{"))
            .filter(|line| {
                VERBS
                    .iter()
                    .any(|verb| line.contains(&format!("verb=\"{verb}\"")))
            })
            .filter(|line| !line.contains("resource=\"leases\""))
            .filter(|line| !line.contains("resource=\"events\""))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        Ok(counted.sum())
    }

    /// Waits until nobody has written for five seconds, at most four minutes. Says how much
    /// was written until then.
    #[expect(clippy::disallowed_methods, reason = "a benchmark waits")]
    pub(crate) async fn settled(&self) -> Result<u64, Anything> {
        let begun = self.writes().await?;
        let mut last = (begun, Instant::now());
        let deadline = Instant::now() + Duration::from_mins(4);
        while last.1.elapsed() < Duration::from_secs(5) && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let now = self.writes().await?;
            if now != last.0 {
                last = (now, Instant::now());
            }
        }
        Ok(last.0 - begun)
    }

    #[expect(clippy::disallowed_methods, reason = "a benchmark writes and waits")]
    pub(crate) async fn scale(&self, deployment: &str, replicas: u32) -> Result<(), Anything> {
        let api = self.namespaced(DEPLOYMENT, "cloister-system");
        let body = json!({"spec": {"replicas": replicas}});
        api.patch(deployment, &PatchParams::default(), &Patch::Merge(body))
            .await?;
        tokio::time::sleep(Duration::from_secs(3)).await;
        Ok(())
    }

    /// Resident memory of the replica that leads.
    pub(crate) async fn memory(&self) -> Result<String, Anything> {
        let pages = match &self.admin {
            Some(address) => vec![plain_get(address).await.unwrap_or_default()],
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
            || NO_LEADER.to_owned(),
            |bytes| format!("{:.1} MiB resident", bytes / 1_048_576.0),
        ))
    }

    /// Through the kubelet: the API server itself need not reach the pods' network.
    async fn pages(&self) -> Result<Vec<String>, Anything> {
        let pods = Api::<Pod>::namespaced(self.client.clone(), "cloister-system");
        let ours = ListParams::default().labels("app.kubernetes.io/component=cloister-operator");
        let mut pages = Vec::new();
        for pod in pods.list(&ours).await? {
            pages.push(forwarded(&pods, &pod.name_any()).await.unwrap_or_default());
        }
        Ok(pages)
    }
}

fn is_ready(tenant: &DynamicObject) -> bool {
    let conditions = tenant.data["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|one| one["type"] == "Ready" && one["status"] == "True")
}

async fn forwarded(pods: &Api<Pod>, name: &str) -> Result<String, Anything> {
    let mut forwarder = pods.portforward(name, &[ADMIN_PORT]).await?;
    let stream = forwarder.take_stream(ADMIN_PORT);
    page(stream.ok_or("no stream to the replica")?).await
}

/// Of an operator that runs beside the benchmark.
async fn plain_get(address: &str) -> Result<String, Anything> {
    page(tokio::net::TcpStream::connect(address).await?).await
}

async fn page(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<String, Anything> {
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await?;
    let mut page = String::new();
    stream.read_to_string(&mut page).await?;
    Ok(page)
}
