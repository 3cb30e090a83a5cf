//! Configuration files, as pure functions of names and paths.

use std::path::Path;

use super::cgroup::Cgroups;
use super::topology::{DNS_ADDRESS, Node, POD_CIDR};

/// Our own image for the process that holds a pod's namespaces.
pub const PAUSE_IMAGE: &str = "localhost/cloister/pause:1";
/// Our own image of the cluster's DNS.
pub const DNS_IMAGE: &str = "localhost/cloister/coredns:1";

/// What the API server writes down, without contents: all that the operator asks, which shows what
/// rights it needs, and who else wrote what. Their reads are left out, and so are the questions that
/// every component asks all the time and the heartbeats of nodes.
pub const AUDIT_POLICY: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
- level: Metadata
  users: [system:serviceaccount:cloister-system:cloister-operator]
- level: None
  verbs: [get, list, watch]
- level: None
  resources:
  - group: authentication.k8s.io
  - group: authorization.k8s.io
- level: None
  namespaces: [kube-node-lease]
- level: Metadata
";

/// The network that containerd gives to pods. It is there before the runtime starts: a runtime that is
/// told later may miss it. A pod that comes before the agent is ready waits for it.
pub const CNI: &str = r#"{
  "cniVersion": "0.3.1",
  "name": "cilium",
  "plugins": [{"type": "cilium-cni", "enable-debug": false, "log-file": "/var/run/cilium/cilium-cni.log"}]
}
"#;

/// The container runtime of a node. All paths are those of the node's own `/var` and `/run`.
pub fn containerd(bin: &Path, node_dir: &Path) -> String {
    let (bin, cni) = (bin.display(), node_dir.join("cni").display().to_string());
    format!(
        r#"version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "{PAUSE_IMAGE}"
[plugins."io.containerd.cri.v1.runtime"]
  # Without CAP_SYS_RESOURCE no process may be made safer from the OOM killer than its parent.
  restrict_oom_score_adj = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["{bin}"]
    conf_dir = "{cni}"
    use_internal_loopback = true
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      BinaryName = "{bin}/runc"
      SystemdCgroup = false
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runsc]
    runtime_type = "io.containerd.runsc.v1"
"#
    )
}

/// The kubelet of a node. What is not said here is the platform's default.
pub fn kubelet(node: &Node, authority: &Path) -> String {
    format!(
        r#"apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {{enabled: false}}
  webhook: {{enabled: true}}
  x509: {{clientCAFile: "{authority}"}}
authorization: {{mode: Webhook}}
cgroupDriver: cgroupfs
cgroupRoot: {cgroup}
enforceNodeAllocatable: []
failCgroupV1: false
failSwapOn: false
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
clusterDomain: cluster.local
clusterDNS: [{DNS_ADDRESS}]
resolvConf: /var/lib/kubelet/resolv.conf
featureGates: {{ImageVolume: true}}
serializeImagePulls: false
volumePluginDir: /var/lib/kubelet/volumeplugins
# The nodes share the machine's disk: how full it is, is not theirs to judge.
evictionHard: {{memory.available: 100Mi, nodefs.available: 1%, nodefs.inodesFree: 1%, imagefs.available: 1%}}
imageGCHighThresholdPercent: 100
"#,
        authority = authority.display(),
        cgroup = Cgroups::kubelet_root(node.name),
    )
}

/// Services on a node.
pub fn kube_proxy(node: &Node, kubeconfig: &Path) -> String {
    format!(
        r#"apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clusterCIDR: {POD_CIDR}
hostnameOverride: {}
clientConnection: {{kubeconfig: "{}"}}
# The machine's limit is not the node's to change.
conntrack: {{maxPerCore: 0, min: 0}}
nftables: {{syncPeriod: 30s, minSyncPeriod: 0s}}
"#,
        node.name,
        kubeconfig.display()
    )
}

/// The nodes, before their kubelets register: so each has always the same zone and the same addresses.
pub fn node_object(node: &Node) -> String {
    format!(
        "apiVersion: v1
kind: Node
metadata:
  name: {name}
  labels:
    kubernetes.io/hostname: {name}
    topology.kubernetes.io/region: {region}
    topology.kubernetes.io/zone: {zone}
spec:
  podCIDR: {cidr}
  podCIDRs: [{cidr}]
",
        name = node.name,
        region = super::topology::REGION,
        zone = node.zone,
        cidr = node.pod_cidr()
    )
}

/// Pods of this class run on gVisor's kernel.
pub const RUNTIME_CLASS: &str = "apiVersion: node.k8s.io/v1
kind: RuntimeClass
metadata: {name: gvisor}
handler: runsc
";

/// The cluster's DNS. It forwards nothing: beyond the cluster only `outside.test` has an address.
pub const DNS: &str = include_str!("dns.yaml");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::topology::NODES;

    #[test]
    fn a_node_says_where_it_is() {
        let text = node_object(&NODES[1]);
        assert!(
            text.contains("topology.kubernetes.io/zone: zone-b"),
            "{text}"
        );
        assert!(text.contains("podCIDR: 10.244.1.0/24"), "{text}");
    }

    #[test]
    fn the_dns_manifest_agrees_with_the_constants() {
        assert!(DNS.contains(DNS_ADDRESS) && DNS.contains(DNS_IMAGE));
        assert!(
            !DNS.contains("forward"),
            "names must not be asked for beyond the cluster"
        );
    }

    #[test]
    fn configurations_hold_what_a_pod_depends_on() {
        let kubelet = kubelet(&NODES[0], Path::new("/p/ca.crt"));
        assert!(kubelet.contains("cgroupRoot: /cloister/node-a"));
        assert!(kubelet.contains("clusterDNS: [10.96.0.10]"));
        assert!(containerd(Path::new("/b"), Path::new("/n")).contains("bin_dirs = [\"/b\"]"));
        assert!(kube_proxy(&NODES[2], Path::new("/k")).contains("hostnameOverride: node-c"));
    }
}
