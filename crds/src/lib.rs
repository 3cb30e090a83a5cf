//! The API of Cloister: what a user writes, what Cloister answers.
//!
//! In: nothing. Out: the custom resources, their conditions and reasons, and
//! [`all`], from which the CRD files are rendered. No client, no clock, no I/O.

pub mod condition;
pub mod digest;
pub mod drill;
pub mod execution;
pub mod integration;
pub mod reserved;
pub mod scalar;
pub mod tenant;
pub mod text;
pub mod well_known;
pub mod worker;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

pub use crate::{
    drill::{Drill, DrillSpec, DrillStatus},
    execution::{Execution, ExecutionSpec, ExecutionStatus},
    integration::{Integration, IntegrationSpec, IntegrationStatus},
    tenant::{Tenant, TenantSpec, TenantStatus},
    worker::{Worker, WorkerSpec, WorkerStatus},
};

/// Every custom resource definition, in the order a reader meets them.
pub fn all() -> Vec<CustomResourceDefinition> {
    vec![
        Tenant::crd(),
        Integration::crd(),
        Execution::crd(),
        Worker::crd(),
        Drill::crd(),
    ]
}
