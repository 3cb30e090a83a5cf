//! Install manifests: everything that is applied once, before the first Tenant.

use std::{io, path::Path};

/// Writes `install/` and `chart/` below `folder`.
pub fn to_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}
