//! Debian packages that building and running need; installed when one is missing.

use std::process::Command;

use super::command::{command, run};
use super::error::Error;

/// A program or file that tells whether a package is there.
const PACKAGES: [(&str, &str); 11] = [
    ("clang-19", "/usr/lib/llvm-19/bin/clang"),
    ("llvm-19", "/usr/lib/llvm-19/bin/llc"),
    ("libseccomp-dev", "/usr/include/seccomp.h"),
    ("pkg-config", "/usr/bin/pkg-config"),
    ("gcc", "/usr/bin/gcc"),
    ("nftables", "/usr/sbin/nft"),
    ("iptables", "/usr/sbin/iptables"),
    ("ipset", "/usr/sbin/ipset"),
    ("iproute2", "/usr/sbin/ip"),
    ("buildah", "/usr/bin/buildah"),
    ("openssl", "/usr/bin/openssl"),
];

/// Installs what is missing.
pub fn ensure() -> Result<(), Error> {
    let missing: Vec<_> = PACKAGES
        .iter()
        .filter(|(_, file)| !std::path::Path::new(file).exists())
        .map(|(name, _)| *name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("installing Debian packages: {}", missing.join(" "));
    let apt = |args: &[&str]| -> Command {
        let mut apt = command("apt-get", args);
        apt.env("DEBIAN_FRONTEND", "noninteractive");
        apt
    };
    let install: Vec<_> = ["install", "-y", "--no-install-recommends"]
        .into_iter()
        .chain(missing)
        .collect();
    if run(&mut apt(&install)).is_ok() {
        return Ok(());
    }
    // The lists of packages may be absent or out of date.
    run(&mut apt(&["update"]))?;
    run(&mut apt(&install)).map(drop)
}
