//! A tenant's isolation is real, is proven, and is not claimed when it is not: seen on a
//! real network, with the boundary whole and with the boundary broken on purpose.

#[path = "isolation/blindness.rs"]
mod blindness;
#[path = "isolation/proof.rs"]
mod proof;
#[path = "isolation/residency.rs"]
mod residency;
#[path = "isolation/spread.rs"]
mod spread;
#[path = "isolation/tampering.rs"]
mod tampering;
