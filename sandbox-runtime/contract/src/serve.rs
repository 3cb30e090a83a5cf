//! What `cloister-sandbox serve` is told in its arguments: whom to dial, whom to believe, what
//! to look at. What it is to run, it is told in the session ([`crate::dispatch`]).

use serde::{Deserialize, Serialize};

use crate::ProbeRequest;

/// Version of [`ServeConfig`]. Raised by any change of meaning.
pub const SERVE_VERSION: u32 = 2;
/// Version of the protocol of a session, in its `Hello`.
pub const DISPATCH_VERSION: u32 = 2;
/// The oldest one that an operator still speaks: a sandbox that runs when the operator is renewed
/// is of the version before. Since 1 there is only more: output, and orders that it lets pass.
pub const OLDEST_DISPATCH_VERSION: u32 = 1;
/// Exit code of a sandbox that has ended itself because it was cut off from the operator.
pub const EXIT_CUT_OFF: u8 = 125;
/// Longest message of a session, either way, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 2 * crate::run::MAX_CONTRACT_BYTES;

/// Longest piece of output in one message, in bytes.
pub const MAX_OUTPUT_BYTES: usize = 12 * 1024;

/// What a sandbox is told before it is given a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServeConfig {
    /// [`SERVE_VERSION`] of the writer.
    pub version: u32,
    /// The operator's Service: `host:port`. The certificate has to be for this host.
    pub dispatch: String,
    /// Certificates of the authorities that the operator's may be from, PEM.
    pub authorities: String,
    /// File that holds the token to show. Read anew for every session: the kubelet renews it.
    pub token: String,
    /// What to look at.
    pub probe: ProbeRequest,
    /// Milliseconds between two looks, until a run is given; 1,000 to 600,000.
    pub probe_interval_ms: u32,
    /// Most processes and threads of this sandbox's user, from its start on; `null` where the
    /// kernel would not keep it.
    pub processes: Option<u64>,
    /// Milliseconds without the operator after which a sandbox whose command runs ends itself, and
    /// with it everything inside ([`EXIT_CUT_OFF`]): another attempt may begin then. Nothing where
    /// there is no other attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence_ms: Option<u32>,
}
