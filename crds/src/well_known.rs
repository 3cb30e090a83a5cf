//! Names that several processes, policies and users must spell alike.

/// API group of every kind.
pub const GROUP: &str = "cloister.dev";

/// Namespace that Cloister itself runs in.
pub const SYSTEM_NAMESPACE: &str = "cloister-system";

/// Namespace of the decoy: labelled as a tenant's, open on purpose, so that
/// a probe which reaches it has found a way between tenants.
pub const DECOY_NAMESPACE: &str = "cloister-decoy";

/// Prefix of a tenant's namespace.
pub const NAMESPACE_PREFIX: &str = "tenant-";

/// Service account of the operator, in [`SYSTEM_NAMESPACE`].
pub const OPERATOR_SERVICE_ACCOUNT: &str = "cloister-operator";

/// Service account of every pod in a tenant's namespace: no token, no right.
pub const SANDBOX_SERVICE_ACCOUNT: &str = "cloister-sandbox";

/// Label that says who made an object.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY_LABEL`], and field manager of every write.
pub const MANAGER: &str = "cloister";

/// Label of everything that belongs to a tenant; its value is the tenant's name.
/// The admission policies are bound to namespaces that carry it.
pub const TENANT_LABEL: &str = "cloister.dev/tenant";
/// Label of a tenant's namespace: `Active`, `Suspended` or `Terminating`.
/// Nothing new is admitted to a namespace that is not `Active`.
pub const STATE_LABEL: &str = "cloister.dev/state";
/// Value of [`STATE_LABEL`] while the tenant is being removed.
pub const STATE_TERMINATING: &str = "Terminating";

/// Label that says what a pod is for.
pub const ROLE_LABEL: &str = "cloister.dev/role";
/// Value of [`ROLE_LABEL`] on a probe pod.
pub const ROLE_PROBE: &str = "probe";

/// Value of [`ROLE_LABEL`] on a pod that runs one Execution.
pub const ROLE_SANDBOX: &str = "sandbox";
/// Label of a sandbox, and of an Execution that a schedule created: the Integration it was made
/// for.
pub const INTEGRATION_LABEL: &str = "cloister.dev/integration";
/// Value of [`ROLE_LABEL`] on a pod that runs one replica of a Worker.
pub const ROLE_WORKER: &str = "worker";
/// Label of such a pod, and of everything else that a Worker is made of: the Worker's name.
pub const WORKER_LABEL: &str = "cloister.dev/worker";
/// Annotation of an Execution that a schedule created: the time that it was due, RFC 3339, UTC.
pub const SCHEDULED_TIME_ANNOTATION: &str = "cloister.dev/scheduled-time";

/// Annotation of a tenant's namespace: the runtime its pods must have, as in the spec.
pub const RUNTIME_ANNOTATION: &str = "cloister.dev/runtime";
/// Annotation of a tenant's namespace: regions its pods may run in, comma-separated,
/// or `*`. Admission reads it, because a policy sees the namespace but not the Tenant.
pub const REGIONS_ANNOTATION: &str = "cloister.dev/regions";
/// Annotation of a tenant's namespace: zones its pods may run in, comma-separated, or `*`.
pub const ZONES_ANNOTATION: &str = "cloister.dev/zones";
/// Annotation of a tenant's namespace: UID of the Drill that a zone is lost to; empty if none is.
pub const DRILL_ANNOTATION: &str = "cloister.dev/drill";
/// Annotation of a tenant's namespace: nodes of that zone, comma-separated. Admission places no pod
/// of the tenant there.
pub const LOST_NODES_ANNOTATION: &str = "cloister.dev/lost-nodes";
/// Any region, any zone.
pub const ANYWHERE: &str = "*";

/// Finalizer of a Tenant: its namespace goes in an order (pods first, then their policies).
pub const TENANT_FINALIZER: &str = "cloister.dev/teardown";

/// Label of a node's region, by the Kubernetes well-known labels.
pub const REGION_LABEL: &str = "topology.kubernetes.io/region";
/// Label of a node's zone, by the Kubernetes well-known labels.
pub const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// `RuntimeClass` that stands for gVisor.
pub const GVISOR_RUNTIME_CLASS: &str = "gvisor";

/// `ClusterRole` that a tenant's Owners hold in its namespace.
pub const OWNER_ROLE: &str = "cloister-tenant-owner";
/// `ClusterRole` that a tenant's Admins hold in its namespace.
pub const ADMIN_ROLE: &str = "cloister-tenant-admin";
/// `ClusterRole` that a tenant's Users hold in its namespace.
pub const USER_ROLE: &str = "cloister-tenant-user";
/// Custom verb on `tenants`: may add, change and remove Owners.
pub const OWN_VERB: &str = "own";

/// Version of the Pod Security Standard `restricted` that tenant namespaces enforce.
/// Pinned, so that an upgrade of the cluster changes nothing unseen.
pub const POD_SECURITY_VERSION: &str = "v1.34";

/// Label of the pods of one component of Cloister's own, in [`SYSTEM_NAMESPACE`].
pub const COMPONENT_LABEL: &str = "app.kubernetes.io/component";
/// Value of [`COMPONENT_LABEL`] on the canary pods, and name of their Service.
pub const CANARY: &str = "cloister-canary";
/// Name of the decoy's Deployment and Service in [`DECOY_NAMESPACE`].
pub const DECOY: &str = "cloister-decoy";
/// Headless Service of the canary's pods, in [`SYSTEM_NAMESPACE`]: its addresses are those of
/// the pods that are ready.
pub const CANARY_PODS: &str = "cloister-canary-pods";
/// The same of the decoy's, in [`DECOY_NAMESPACE`].
pub const DECOY_PODS: &str = "cloister-decoy-pods";
/// Port of the canary that every tenant may reach: the positive control.
pub const CANARY_PERMITTED_PORT: u16 = 7001;
/// Port of the canary that no tenant may reach, on the very same pods.
pub const CANARY_FORBIDDEN_PORT: u16 = 7002;
/// Port of the decoy.
pub const DECOY_PORT: u16 = 7003;

/// Value of [`COMPONENT_LABEL`] on the operator's pods, and name of Deployment, budget and Service.
pub const OPERATOR: &str = "cloister-operator";

/// Cloister's own quota, in [`SYSTEM_NAMESPACE`], which shows whether Kubernetes counts [`COUNTED`].
pub const COUNTS: &str = "cloister-counts";
/// What a tenant's quota counts of Cloister's own.
pub const COUNTED: [&str; 4] = [
    "count/drills.cloister.dev",
    "count/executions.cloister.dev",
    "count/integrations.cloister.dev",
    "count/workers.cloister.dev",
];

/// Service that sandboxes dial, in [`SYSTEM_NAMESPACE`]; also the name of its endpoints, which
/// are those of the leader alone, and of the Secret with the authority of its certificate.
pub const DISPATCH: &str = "cloister-dispatch";
/// Port of it, and of the operator's pods.
pub const DISPATCH_PORT: u16 = 7443;
/// Name of that port: of the Service, and so of its endpoints too.
pub const DISPATCH_PORT_NAME: &str = "dispatch";
/// Audience of the only token that a sandbox may carry: the one it shows the operator.
pub const DISPATCH_AUDIENCE: &str = "cloister-dispatch";
