//! The command line of `cluster`.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::{Args, Parser, Subcommand};

use super::components::COMPONENTS;
use super::topology::Node;
use super::{Cluster, Error, Options, build, outside};

/// A real Kubernetes of three zones on this machine.
///
/// It needs root, cgroups of version 1, Go, a Go module proxy and Debian's packages. The first `up`
/// builds everything from source; later ones take well under a minute.
/// There is one cluster at a time. State and cache lie in `${XDG_CACHE_HOME:-~/.cache}/cloister`.
#[derive(Debug, Parser)]
#[command(name = "cluster", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Start the cluster; mend one that is broken; leave alone one that is well.
    Up {
        /// Leave out gVisor and its RuntimeClass.
        #[arg(long)]
        without_gvisor: bool,
        /// Leave out the cluster's DNS.
        #[arg(long)]
        without_dns: bool,
    },
    /// Remove the cluster and every trace of it. Built binaries and images stay in the cache.
    Down,
    /// Show what runs. Exit with 0 only if all of it is well.
    Status,
    /// Print the path of the kubeconfig: `export KUBECONFIG=$(cluster kubeconfig)`.
    Kubeconfig,
    /// Print the path of the directory with the logs.
    Logs,
    /// Build components into the cache: all that `up` needs, or those that are named.
    Build {
        /// etcd, runc, gvisor, containerd, coredns, kubernetes, cilium; not needed by `up`: helm.
        components: Vec<String>,
    },
    /// Build a container image offline and print the path of its archive.
    BuildImage {
        /// A Containerfile, or the directory that holds one. `FROM scratch` is the only base there is.
        source: PathBuf,
        /// The image's name: localhost/cloister/operator:dev, for example.
        #[arg(long)]
        tag: String,
    },
    /// Give all nodes an image, from an archive or from a Containerfile.
    LoadImage(LoadImage),
    /// Stop every process of a node and unplug it: a machine that hangs.
    Freeze(OneNode),
    /// Undo `freeze`.
    Thaw(OneNode),
    /// Kill every process of a node and unplug it: a power failure.
    Kill(OneNode),
    /// Switch a killed node on again; start what of a node does not run.
    Start(OneNode),
    /// Unplug a node; its processes run on.
    Partition(OneNode),
    /// Undo `partition`.
    Heal(OneNode),
    /// Stop Cilium's agent on a node, and nothing else.
    CiliumStop(OneNode),
    /// Start it again.
    CiliumStart(OneNode),
    /// Run a command in a node's namespaces: `cluster exec-node node-a -- ctr -n k8s.io containers ls`.
    ExecNode {
        /// node-a, node-b or node-c.
        node: String,
        /// The command and its arguments.
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// Run kubectl: `cluster kubectl -- get pods -A`.
    Kubectl {
        /// Its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Be the server in the outside.
    #[command(hide = true)]
    OutsideListen,
    /// Succeed if an address accepts a connection, or answers a path with 200.
    #[command(hide = true)]
    Probe {
        address: SocketAddr,
        path: Option<String>,
    },
}

#[derive(Debug, Args)]
struct OneNode {
    /// node-a, node-b or node-c.
    node: String,
}

#[derive(Debug, Args)]
struct LoadImage {
    /// An archive as `build-image`, `docker save` or `buildah push docker-archive:` writes it.
    #[arg(
        required_unless_present = "containerfile",
        conflicts_with = "containerfile"
    )]
    archive: Option<PathBuf>,
    /// A Containerfile, or the directory that holds one, to build the image from.
    #[arg(long, requires = "tag")]
    containerfile: Option<PathBuf>,
    /// The name of the image that is built.
    #[arg(long, requires = "containerfile")]
    tag: Option<String>,
}

/// Does what the command line says.
pub fn main() -> ExitCode {
    run(Cli::parse().action).unwrap_or_else(|error| {
        eprintln!("cluster: {error}");
        ExitCode::FAILURE
    })
}

fn run(action: Action) -> Result<ExitCode, Error> {
    let here = Cluster::of_this_machine;
    match action {
        Action::Up {
            without_gvisor,
            without_dns,
        } => here()?.up(Options {
            without_gvisor,
            without_dns,
        })?,
        Action::Down => here()?.down()?,
        Action::Status => return show_status(&here()?),
        Action::Kubeconfig => println!("{}", Cluster::current()?.kubeconfig().display()),
        Action::Logs => println!("{}", Cluster::current()?.paths.logs().display()),
        Action::Build { components } => build_components(&here()?, &components)?,
        Action::BuildImage { source, tag } => {
            println!("{}", here()?.build_image(&source, &tag)?.display());
        }
        Action::LoadImage(image) => load_image(&Cluster::current()?, &image)?,
        Action::Freeze(at) => Cluster::current()?.freeze(&at.node)?,
        Action::Thaw(at) => Cluster::current()?.thaw(&at.node)?,
        Action::Kill(at) => Cluster::current()?.kill(&at.node)?,
        Action::Start(at) => Cluster::current()?.start(&at.node)?,
        Action::Partition(at) => Cluster::current()?.partition(&at.node)?,
        Action::Heal(at) => Cluster::current()?.heal(&at.node)?,
        Action::CiliumStop(at) => Cluster::current()?.cilium_stop(&at.node)?,
        Action::CiliumStart(at) => Cluster::current()?.cilium_start(&at.node)?,
        Action::ExecNode { node, command } => {
            let mut words = command.into_iter();
            let program = words.next().unwrap_or_default();
            let mut entered =
                Cluster::current()?.in_node(Node::named(&node)?, &program.to_string_lossy())?;
            return Err(become_program(entered.args(words)));
        }
        Action::Kubectl { arguments } => {
            return Err(become_program(
                Cluster::current()?.kubectl_command().args(arguments),
            ));
        }
        Action::OutsideListen => outside::listen()?,
        Action::Probe { address, path } => {
            return Ok(if outside::probe(address, path.as_deref()) {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            });
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns only if that fails.
fn become_program(command: &mut Command) -> Error {
    let shown = command.get_program().to_string_lossy().into_owned();
    Error::Spawn {
        command: shown,
        source: command.exec(),
    }
}

fn show_status(cluster: &Cluster) -> Result<ExitCode, Error> {
    let status = cluster.status();
    if !status.up && status.daemons.iter().all(|daemon| daemon.pid.is_none()) {
        return Err(Error::NotUp);
    }
    print!("{status}");
    Ok(if status.is_healthy() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn build_components(cluster: &Cluster, names: &[String]) -> Result<(), Error> {
    let wanted = if names.is_empty() {
        COMPONENTS
            .iter()
            .filter(|component| component.needed)
            .collect()
    } else {
        build::named(names)?
    };
    for directory in build::ensure(&cluster.paths, &wanted)? {
        println!("{}", directory.display());
    }
    Ok(())
}

fn load_image(cluster: &Cluster, image: &LoadImage) -> Result<(), Error> {
    let archive = match (&image.archive, &image.containerfile, &image.tag) {
        (Some(archive), _, _) => archive.clone(),
        (None, Some(source), Some(tag)) => cluster.build_image(source, tag)?,
        // Ruled out by the parser.
        (None, source, _) => source
            .clone()
            .unwrap_or_else(|| Path::new("").to_path_buf()),
    };
    for tag in cluster.load_image(&archive)? {
        println!("{tag}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
