//! Workers on real nodes: proven before the command runs, spread over zones, guarded when one is
//! taken away, and with nothing to be had from inside.

#[path = "worker/inside.rs"]
mod inside;
#[path = "worker/rollout.rs"]
mod rollout;
#[path = "worker/volumes.rs"]
mod volumes;
#[path = "worker/zones.rs"]
mod zones;
