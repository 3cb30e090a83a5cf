//! What was typed and what the environment says → settings, once.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};
use jiff::SignedDuration;

use crate::{dispatch::DispatchSettings, probe::ProbeSettings};

/// Isolation for the tenants of an integration platform, kept and proven.
#[derive(Debug, Parser)]
#[command(name = "cloister", version, about)]
pub struct Cli {
    /// What to run.
    #[command(subcommand)]
    pub command: Command,
}

/// One process of Cloister, or a tool.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Look after the custom resources: one replica leads, the others stand by.
    Operator(Box<OperatorArguments>),
    /// Write the install manifests and the Helm chart.
    Render(RenderArguments),
}

/// Arguments of `render`.
#[derive(Args, Debug)]
pub struct RenderArguments {
    /// Folder to write to: `install/` and `chart/` appear in it.
    #[arg(long, default_value = "manifests")]
    pub out: PathBuf,
}

/// Arguments of `operator`, as typed.
#[derive(Args, Debug)]
pub struct OperatorArguments {
    /// Name of this replica; the pod's name.
    #[arg(long, env = "POD_NAME", default_value = "cloister-operator-local")]
    pub name: String,
    /// Namespace of the Lease.
    #[arg(long, env = "POD_NAMESPACE", default_value = crds::well_known::SYSTEM_NAMESPACE)]
    pub namespace: String,
    /// Where health and metrics are served.
    #[arg(long, env = "CLOISTER_ADMIN_ADDRESS", default_value = "0.0.0.0:8080")]
    pub admin: SocketAddr,
    /// Where sandboxes are served.
    #[arg(
        long,
        env = "CLOISTER_DISPATCH_ADDRESS",
        default_value = "0.0.0.0:7443"
    )]
    pub dispatch: SocketAddr,
    /// Address of this replica's pod, which sandboxes dial while it leads; none outside a cluster.
    #[arg(long, env = "POD_IP")]
    pub pod_ip: Option<IpAddr>,
    /// Image that holds /cloister-sandbox: of probe pods, and of the supervisor in sandboxes,
    /// which are of one release for that reason.
    #[arg(
        long,
        env = "CLOISTER_PROBE_IMAGE",
        default_value = "localhost/cloister/sandbox:dev"
    )]
    pub probe_image: String,
    /// Time between two probes of a tenant, from 10s to 24h.
    #[arg(long, env = "CLOISTER_PROBE_INTERVAL", default_value = "5m", value_parser = interval)]
    pub probe_interval: Duration,
    /// Most probe pods at once, over all tenants, from 1 to 1000.
    #[arg(long, env = "CLOISTER_PROBES_AT_ONCE", default_value_t = 8,
        value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub probes_at_once: u16,
    /// Something outside the cluster that accepts TCP connections and that no tenant may
    /// reach, as ip:port. Not looked at if empty.
    #[arg(long, env = "CLOISTER_OUTSIDE_CANARY", default_value = "", value_parser = outside)]
    pub outside_canary: Outside,
    /// Whether every pod must be in a user namespace of its own: true, or false where nodes
    /// cannot do it.
    #[arg(long, env = "CLOISTER_USER_NAMESPACES", default_value_t = true,
        action = clap::ArgAction::Set)]
    pub user_namespaces: bool,
    /// Whether an image volume brings the supervisor into sandboxes that have no user namespace of
    /// their own: Kubernetes 1.35 on, or the feature gate for it. If false, and into all others,
    /// an init container copies it.
    #[arg(long, env = "CLOISTER_IMAGE_VOLUMES", default_value_t = true,
        action = clap::ArgAction::Set)]
    pub image_volumes: bool,
    /// The API server as pods see it; set by the kubelet.
    #[arg(long, env = "KUBERNETES_SERVICE_HOST", hide = true)]
    pub api_service_host: Option<IpAddr>,
    /// Its port; set by the kubelet.
    #[arg(long, env = "KUBERNETES_SERVICE_PORT", hide = true)]
    pub api_service_port: Option<u16>,
    /// Where traces go, as OTLP over HTTP; nowhere if empty.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", default_value = "")]
    pub otlp_endpoint: String,
    /// What is logged, in the syntax of `tracing_subscriber::EnvFilter`.
    #[arg(long, env = "RUST_LOG", default_value = "info")]
    pub log: String,
}

/// An address outside, or none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outside(Option<SocketAddr>);

fn outside(text: &str) -> Result<Outside, String> {
    if text.is_empty() {
        return Ok(Outside(None));
    }
    let address = text
        .parse()
        .map_err(|_| format!("\"{text}\" is not ip:port"))?;
    Ok(Outside(Some(address)))
}

fn interval(text: &str) -> Result<Duration, String> {
    let span: SignedDuration = text
        .parse()
        .map_err(|error| format!("\"{text}\" is not a duration such as 90s or 5m: {error}"))?;
    let duration = Duration::try_from(span).map_err(|_| "must not be negative".to_owned())?;
    let bounds = Duration::from_secs(10)..=Duration::from_hours(24);
    if bounds.contains(&duration) {
        Ok(duration)
    } else {
        Err(format!("\"{text}\" is not from 10s to 24h"))
    }
}

/// What the operator's typed arguments mean.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of this replica.
    pub name: String,
    /// Namespace of the Lease.
    pub namespace: String,
    /// Where health and metrics are served.
    pub admin: SocketAddr,
    /// How probes are run.
    pub probing: ProbeSettings,
    /// How Executions are run.
    pub dispatching: DispatchSettings,
}

impl From<&OperatorArguments> for Settings {
    fn from(typed: &OperatorArguments) -> Self {
        let host = typed.api_service_host;
        let api_service = host.map(|ip| SocketAddr::new(ip, typed.api_service_port.unwrap_or(443)));
        Self {
            name: typed.name.clone(),
            namespace: typed.namespace.clone(),
            admin: typed.admin,
            probing: ProbeSettings {
                image: typed.probe_image.clone(),
                interval: typed.probe_interval,
                at_once: usize::from(typed.probes_at_once),
                outside: typed.outside_canary.0,
                api_service,
                user_namespaces: typed.user_namespaces,
            },
            dispatching: DispatchSettings {
                listen: typed.dispatch,
                address: typed.pod_ip,
                image: typed.probe_image.clone(),
                image_volumes: typed.image_volumes,
            },
        }
    }
}
