//! How the API server treats the operator's requests when it has too many.
//!
//! In: nothing. Out: a `FlowSchema` (`flowcontrol.apiserver.k8s.io/v1`). Called by `render.rs`.

use crds::well_known::{OPERATOR_SERVICE_ACCOUNT, SYSTEM_NAMESPACE};
use k8s_openapi::api::flowcontrol::v1::{
    FlowDistinguisherMethod, FlowSchema, FlowSchemaSpec, PolicyRulesWithSubjects,
    PriorityLevelConfigurationReference, ResourcePolicyRule, ServiceAccountSubject, Subject,
};

use super::meta::{self, texts};

/// Kubernetes' own level for this; its own schema holds leases in `kube-system` only.
const LEVEL: &str = "leader-election";
/// Before `service-accounts` (9000), which everything of ours would fall under, and after
/// Kubernetes' own for leader election (100).
const PRECEDENCE: i32 = 200;

/// Keeps the Lease from waiting behind other writes, the operator's own among them: else a
/// leader under load would lose it, and the next one begin with listing everything.
pub fn schema() -> FlowSchema {
    FlowSchema {
        metadata: meta::described(
            meta::cluster_scoped("cloister-leader-election"),
            "Renewals of the operator's Lease do not wait behind other requests.",
        ),
        spec: Some(FlowSchemaSpec {
            distinguisher_method: Some(FlowDistinguisherMethod {
                type_: "ByUser".to_owned(),
            }),
            matching_precedence: Some(PRECEDENCE),
            priority_level_configuration: PriorityLevelConfigurationReference {
                name: LEVEL.to_owned(),
            },
            rules: Some(vec![PolicyRulesWithSubjects {
                subjects: vec![Subject {
                    kind: "ServiceAccount".to_owned(),
                    service_account: Some(ServiceAccountSubject {
                        namespace: SYSTEM_NAMESPACE.to_owned(),
                        name: OPERATOR_SERVICE_ACCOUNT.to_owned(),
                    }),
                    ..Subject::default()
                }],
                resource_rules: Some(vec![ResourcePolicyRule {
                    api_groups: texts(&["coordination.k8s.io"]),
                    resources: texts(&["leases"]),
                    namespaces: Some(texts(&[SYSTEM_NAMESPACE])),
                    verbs: texts(&["get", "create", "update"]),
                    ..ResourcePolicyRule::default()
                }]),
                non_resource_rules: None,
            }]),
        }),
        status: None,
    }
}
