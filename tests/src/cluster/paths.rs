//! Where everything lies: nothing of it in the clone.
//!
//! ```text
//! ${XDG_CACHE_HOME:-~/.cache}/cloister/
//!   bin/<component>-<key>/   built once, never again; `bin/kubectl` leads to the one in use
//!   images/                  archives built here, and buildah's own store
//!   cluster.lock             held by whoever changes the cluster
//!   cluster/                 the one cluster of this machine; gone after `down`
//!     kubeconfig  pki/  logs/  etcd/  processes/  bin/  node-a/  node-b/  node-c/
//! ```

use std::fs;
use std::path::PathBuf;

use super::error::Error;
use super::topology::Node;

/// The directories of this machine's cluster.
#[derive(Debug, Clone)]
pub struct Paths {
    cache: PathBuf,
}

impl Paths {
    /// Follows `XDG_CACHE_HOME` and `HOME`, as every cache does.
    pub fn from_environment() -> Result<Self, Error> {
        let base = std::env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
            .ok_or_else(|| Error::Machine("neither XDG_CACHE_HOME nor HOME is set".to_owned()))?;
        if base.starts_with("/run") {
            return Err(Error::Machine(
                "XDG_CACHE_HOME is under /run, which each node has for itself".to_owned(),
            ));
        }
        Ok(Self {
            cache: base.join("cloister"),
        })
    }

    /// What outlives a cluster.
    pub fn cache(&self) -> PathBuf {
        self.cache.clone()
    }
    /// Built binaries.
    pub fn binaries(&self) -> PathBuf {
        self.cache.join("bin")
    }
    /// Image archives.
    pub fn images(&self) -> PathBuf {
        self.cache.join("images")
    }
    /// Held while the cluster is changed.
    pub fn lock(&self) -> PathBuf {
        self.cache.join("cluster.lock")
    }
    /// Everything of the running cluster.
    pub fn state(&self) -> PathBuf {
        self.cache.join("cluster")
    }
    /// Written when `up` has come to its end.
    pub fn marker(&self) -> PathBuf {
        self.state().join("up")
    }
    /// For whoever administers the cluster.
    pub fn kubeconfig(&self) -> PathBuf {
        self.state().join("kubeconfig")
    }
    /// Keys and certificates.
    pub fn pki(&self) -> PathBuf {
        self.state().join("pki")
    }
    /// Links to the binaries that this cluster runs.
    pub fn bin(&self) -> PathBuf {
        self.state().join("bin")
    }
    /// Logs of what runs on the host.
    pub fn logs(&self) -> PathBuf {
        self.state().join("logs")
    }
    /// One line for each write that the API server was asked for.
    pub fn audit_log(&self) -> PathBuf {
        self.logs().join("audit.log")
    }
    /// Who was started.
    pub fn processes(&self) -> PathBuf {
        self.state().join("processes")
    }
    /// What the kernel's settings were before.
    pub fn sysctls(&self) -> PathBuf {
        self.state().join("sysctls")
    }
    /// Archives that every node has, and gets again when it is started anew.
    pub fn loaded_images(&self) -> PathBuf {
        self.state().join("images")
    }
    /// A node's disk.
    pub fn node(&self, node: &Node) -> PathBuf {
        self.state().join(node.name)
    }
    /// Logs of a node's own processes.
    pub fn node_logs(&self, node: &Node) -> PathBuf {
        self.node(node).join("logs")
    }
    /// What was done to a node on purpose; absent if nothing.
    pub fn fault(&self, node: &Node) -> PathBuf {
        self.node(node).join("fault")
    }
    /// Where a network namespace is pinned.
    pub fn netns(name: &str) -> PathBuf {
        PathBuf::from("/run/netns").join(name)
    }
}

/// `create_dir_all` with an error that says where.
pub fn make_dir(path: &std::path::Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(Error::io("create the directory", path))
}

/// `write` with an error that says where.
pub fn write(path: &std::path::Path, content: impl AsRef<[u8]>) -> Result<(), Error> {
    fs::write(path, content).map_err(Error::io("write", path))
}
