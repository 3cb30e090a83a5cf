//! From nothing to a cluster that is ready; from a half-made or half-broken one as well.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::components::{COMPONENTS, Component};
use super::control_plane::{OUTSIDE_PLACE, PLACE};
use super::error::Error;
use super::faults::Fault;
use super::topology::{BRIDGE, NODES, Node};
use super::{
    Cluster, build, command, config, down, images, network, packages, paths, pki, process,
};

/// What to leave out.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// No gVisor and no RuntimeClass `gvisor`.
    pub without_gvisor: bool,
    /// No DNS in the cluster.
    pub without_dns: bool,
}

impl Options {
    fn wants(self, component: &Component) -> bool {
        component.needed
            && !(self.without_gvisor && component.name == "gvisor")
            && !(self.without_dns && component.name == "coredns")
    }
}

/// Says what is done and how long it has been going on.
struct Progress(Instant);

impl Progress {
    fn say(&self, what: &str) {
        println!("{:5.1} s  {what}", self.0.elapsed().as_secs_f32());
    }
}

impl Cluster {
    /// Makes the cluster be up: a whole one is left alone, a broken node is started again, and what an
    /// earlier `up` did not finish is removed first.
    pub fn up(&self, options: Options) -> Result<(), Error> {
        if !rustix::process::geteuid().is_root() {
            return Err(Error::Machine(
                "it takes root to make namespaces and cgroups".to_owned(),
            ));
        }
        let lock = self.lock()?;
        if self.is_up() {
            let status = self.status();
            if status.is_healthy() {
                println!("the cluster is up");
                return Ok(());
            }
            if status.control_plane_runs() {
                println!("the cluster is up, but not well: mending it");
                drop(lock);
                return self.mend();
            }
        }
        if self.leaves_traces() {
            println!("removing what is left of an earlier cluster");
            self.remove()?;
        }
        let wanted: Vec<_> = COMPONENTS
            .iter()
            .filter(|component| options.wants(component))
            .collect();
        packages::ensure()?;
        let built = build::ensure(&self.paths, &wanted)?;
        self.create(options, &built)
    }

    fn create(&self, options: Options, built: &[PathBuf]) -> Result<(), Error> {
        let progress = Progress(Instant::now());
        for dir in [
            self.paths.state(),
            self.paths.bin(),
            self.paths.logs(),
            self.paths.loaded_images(),
        ] {
            paths::make_dir(&dir)?;
        }
        down::save_settings(&self.paths)?;
        self.link_programs(built)?;
        self.collect_images(options)?;
        progress.say("keys and network");
        pki::create(&self.paths)?;
        self.cgroups.create(PLACE, false)?;
        self.cgroups.create(OUTSIDE_PLACE, false)?;
        network::create_bridge()?;
        progress.say("API server and container runtimes");
        self.start_api_server()?;
        network::create_outside()?;
        self.start_outside()?;
        on_each_node(|node| {
            self.cgroups.create(node.name, true)?;
            network::create_node(node)?;
            self.prepare_node(node)?;
            self.start_machine(node)?;
            self.start_runtime(node)
        })?;
        self.await_api_server()?;
        progress.say("nodes");
        self.start_controllers()?;
        let objects: Vec<_> = NODES.iter().map(config::node_object).collect();
        self.kubectl_with_input(&["create", "-f", "-"], &objects.join("---\n"))?;
        on_each_node(|node| self.start_agents(node))?;
        self.install_addons(options)?;
        progress.say("waiting for nodes, network and DNS");
        self.await_nodes()?;
        if !options.without_dns {
            self.kubectl(&[
                "-n",
                "kube-system",
                "rollout",
                "status",
                "deployment/coredns",
                "--timeout=120s",
            ])?;
        }
        down::restore_settings(&self.paths);
        paths::write(&self.paths.marker(), process::boot_id())?;
        progress.say(&format!(
            "the cluster is up; export KUBECONFIG={}",
            self.kubeconfig().display()
        ));
        Ok(())
    }

    /// The DNS and the class of pods that run on gVisor. Right after its start, the API server may lack
    /// what it creates for itself (the namespace `kube-system`, for one).
    fn install_addons(&self, options: Options) -> Result<(), Error> {
        let mut objects = String::new();
        if !options.without_gvisor {
            objects.push_str(config::RUNTIME_CLASS);
        }
        if !options.without_dns {
            objects.push_str("---\n");
            objects.push_str(config::DNS);
        }
        if objects.is_empty() {
            return Ok(());
        }
        let mut last = None;
        for _ in 0..20 {
            match self.kubectl_with_input(
                &["apply", "--server-side", "--force-conflicts", "-f", "-"],
                &objects,
            ) {
                Ok(_) => return Ok(()),
                Err(error) => last = Some(error),
            }
            thread::sleep(Duration::from_millis(500));
        }
        last.map_or(Ok(()), Err)
    }

    /// Waits until each node is ready to take pods and Cilium's agent there enforces policies.
    fn await_nodes(&self) -> Result<(), Error> {
        let limit = Duration::from_mins(2);
        for node in &NODES {
            let logs = self.paths.node_logs(node);
            let hint = format!("see the logs in {}", logs.display());
            let what = format!("{} is Ready", node.name);
            command::wait_until(&what, &hint, limit, || Ok(self.node_is_ready(node.name)))?;
            let what = format!("Cilium on {} is ready", node.name);
            command::wait_until(&what, &hint, limit, || Ok(self.cilium_is_ready(node)))?;
        }
        Ok(())
    }

    /// Makes `bin/` in the state: everything that daemons run, by its plain name.
    fn link_programs(&self, built: &[PathBuf]) -> Result<(), Error> {
        let bin = self.paths.bin();
        let own = std::env::current_exe().map_err(Error::io("find", "this program"))?;
        // A copy: the original may be built anew while the cluster runs.
        fs::copy(&own, bin.join("cluster")).map_err(Error::io("copy", &own))?;
        for directory in built {
            let entries = fs::read_dir(directory).map_err(Error::io("list", directory))?;
            for entry in entries.flatten() {
                link(&entry.path(), &bin.join(entry.file_name()))?;
            }
        }
        let hyperkube = fs::canonicalize(bin.join("hyperkube"))
            .map_err(Error::io("find", bin.join("hyperkube")))?;
        link(&hyperkube, &bin.join("kubectl"))?;
        link(&hyperkube, &self.paths.binaries().join("kubectl"))
    }

    /// Puts the images that each node needs where nodes get theirs from.
    fn collect_images(&self, options: Options) -> Result<(), Error> {
        let mut wanted = vec![("pause", config::PAUSE_IMAGE)];
        if !options.without_dns {
            wanted.push(("coredns", config::DNS_IMAGE));
        }
        for (program, tag) in wanted {
            let real = self.paths.bin().join(program);
            let real = fs::canonicalize(&real).map_err(Error::io("find", &real))?;
            let archive = images::of_program(&self.paths, &real, tag)?;
            self.keep_image(&archive)?;
        }
        Ok(())
    }

    /// Undoes every fault and starts what does not run.
    fn mend(&self) -> Result<(), Error> {
        self.start_outside_if_needed()?;
        for node in &NODES {
            match self.fault(node) {
                Some(Fault::Frozen) => self.thaw(node.name)?,
                Some(Fault::Partitioned) => self.heal(node.name)?,
                Some(Fault::Killed) | None => {}
            }
            self.start(node.name)?;
        }
        let status = self.status();
        if status.is_healthy() {
            return Ok(());
        }
        Err(Error::Machine(format!(
            "the cluster does not get well; run `cluster down` and `cluster up`\n{status}"
        )))
    }

    fn start_outside_if_needed(&self) -> Result<(), Error> {
        let _lock = self.lock()?;
        self.start_outside()
    }

    /// Whether anything of a cluster is there, be it whole or not.
    fn leaves_traces(&self) -> bool {
        self.paths.state().exists()
            || self.cgroups.exist()
            || Path::new("/sys/class/net").join(BRIDGE).exists()
            || !network::remains().is_empty()
    }
}

fn link(target: &Path, name: &Path) -> Result<(), Error> {
    fs::remove_file(name).ok();
    symlink(target, name).map_err(Error::io("link", name))
}

/// Does the same on all nodes at once; the first error counts.
pub fn on_each_node(work: impl Fn(&'static Node) -> Result<(), Error> + Sync) -> Result<(), Error> {
    thread::scope(|scope| {
        let running: Vec<_> = NODES
            .iter()
            .map(|node| scope.spawn(|| work(node)))
            .collect();
        let results: Vec<_> = running
            .into_iter()
            .map(thread::ScopedJoinHandle::join)
            .collect();
        for result in results {
            result
                .map_err(|_| Error::Machine("a thread of this program has crashed".to_owned()))??;
        }
        Ok(())
    })
}
