//! Cables: a bridge on the host, a network namespace for each node and one for the outside.
//!
//! Nothing leads out of the machine. The host does not forward for the bridge, and the nodes' default
//! route ends in the outside, which does not forward either. Nothing is written into the host's packet
//! filter, and its routes are bound to the bridge: they go with it.

use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::mount::UnmountFlags;

use super::command::{command, run};
use super::error::Error;
use super::paths::{self, Paths};
use super::topology::{
    API_ADDRESS, BRIDGE, NODES, Node, OUTSIDE, OUTSIDE_ADDRESS, OUTSIDE_LINK, OUTSIDE_ROUTES,
    OUTSIDE_SERVICES,
};

/// A command that is to run in a network namespace.
pub fn inside(netns: &Path, program: &str, args: &[&str]) -> Command {
    let mut entered = command("nsenter", [format!("--net={}", netns.display())]);
    entered.arg(program).args(args);
    entered
}

fn ip(args: &[&str]) -> Result<(), Error> {
    run(&mut command("ip", args)).map(drop)
}

fn ip_inside(netns: &Path, args: &[&str]) -> Result<(), Error> {
    run(&mut inside(netns, "ip", args)).map(drop)
}

/// Makes the bridge, with the host's address on it.
pub fn create_bridge() -> Result<(), Error> {
    ip(&[
        "link",
        "add",
        BRIDGE,
        "type",
        "bridge",
        "stp_state",
        "0",
        "forward_delay",
        "0",
    ])?;
    ip(&[
        "address",
        "add",
        &format!("{API_ADDRESS}/24"),
        "dev",
        BRIDGE,
    ])?;
    ip(&["link", "set", BRIDGE, "up"])
}

/// Makes a network namespace and its cable to the bridge.
fn create_namespace(name: &str, link: &str, mac: &str, address: &str) -> Result<(), Error> {
    let file = Paths::netns(name);
    let directory = Path::new("/run/netns");
    paths::make_dir(directory)?;
    paths::write(&file, "")?;
    // Not `ip netns add`: that would also leave a mount on the directory.
    run(&mut command(
        "unshare",
        [&format!("--net={}", file.display()), "true"],
    ))?;
    let own = file.to_string_lossy();
    ip(&[
        "link", "add", link, "type", "veth", "peer", "name", "eth0", "address", mac, "netns", &own,
    ])?;
    ip(&["link", "set", link, "master", BRIDGE, "up"])?;
    ip_inside(&file, &["link", "set", "lo", "up"])?;
    ip_inside(
        &file,
        &["address", "add", &format!("{address}/24"), "dev", "eth0"],
    )?;
    ip_inside(&file, &["link", "set", "eth0", "up"])
}

/// Makes what stands for the internet and for the metadata service of a cloud.
pub fn create_outside() -> Result<(), Error> {
    create_namespace(OUTSIDE, OUTSIDE_LINK, "02:c1:0a:5a:00:c8", OUTSIDE_ADDRESS)?;
    let netns = Paths::netns(OUTSIDE);
    for address in OUTSIDE_SERVICES {
        ip_inside(
            &netns,
            &["address", "add", &format!("{address}/32"), "dev", "lo"],
        )?;
    }
    for node in &NODES {
        ip_inside(
            &netns,
            &["route", "add", &node.pod_cidr(), "via", &node.address()],
        )?;
    }
    Ok(())
}

/// Makes a node's namespace, its routes, and the host's route to its pods.
pub fn create_node(node: &Node) -> Result<(), Error> {
    create_namespace(&node.netns(), &node.link(), &node.mac(), &node.address())?;
    let netns = Paths::netns(&node.netns());
    for destination in OUTSIDE_ROUTES.into_iter().chain(["default"]) {
        ip_inside(
            &netns,
            &["route", "add", destination, "via", OUTSIDE_ADDRESS],
        )?;
    }
    for other in NODES.iter().filter(|other| *other != node) {
        ip_inside(
            &netns,
            &["route", "add", &other.pod_cidr(), "via", &other.address()],
        )?;
    }
    run(&mut inside(
        &netns,
        "sh",
        &["-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"],
    ))?;
    ip(&[
        "route",
        "replace",
        &node.pod_cidr(),
        "via",
        &node.address(),
        "dev",
        BRIDGE,
    ])
}

/// Unplugs a cable, or plugs it in again.
pub fn set_link(link: &str, up: bool) -> Result<(), Error> {
    ip(&["link", "set", link, if up { "up" } else { "down" }])
}

/// Whether a cable is plugged in.
pub fn link_is_up(link: &str) -> bool {
    let flags = fs::read_to_string(format!("/sys/class/net/{link}/flags")).unwrap_or_default();
    u32::from_str_radix(flags.trim().trim_start_matches("0x"), 16).is_ok_and(|bits| bits & 1 == 1)
}

/// Removes a namespace and its cable, as far as they are there.
pub fn remove_namespace(name: &str, link: &str) {
    let file = Paths::netns(name);
    run(&mut command("ip", ["link", "delete", link])).ok();
    // Pinned more than once if an earlier removal was cut short.
    while rustix::mount::unmount(&file, UnmountFlags::DETACH).is_ok() {}
    fs::remove_file(&file).ok();
}

/// Removes everything that the functions above have made.
pub fn remove_all() {
    for (name, link) in namespaces() {
        remove_namespace(&name, &link);
    }
    run(&mut command("ip", ["link", "delete", BRIDGE])).ok();
    // Only if it is empty, thus ours, or of no use to anyone.
    fs::remove_dir("/run/netns").ok();
}

/// What of it is still there.
pub fn remains() -> Vec<String> {
    let links = namespaces()
        .map(|(_, link)| link)
        .chain([BRIDGE.to_owned()]);
    let links = links.filter(|link| Path::new("/sys/class/net").join(link).exists());
    let files = namespaces()
        .map(|(name, _)| Paths::netns(&name))
        .filter(|file| file.exists());
    links
        .map(|link| format!("link {link}"))
        .chain(files.map(|file| file.display().to_string()))
        .collect()
}

/// All namespaces of ours with their cables.
pub fn namespaces() -> impl Iterator<Item = (String, String)> {
    let nodes = NODES.iter().map(|node| (node.netns(), node.link()));
    nodes.chain([(OUTSIDE.to_owned(), OUTSIDE_LINK.to_owned())])
}
