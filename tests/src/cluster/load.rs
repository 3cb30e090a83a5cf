//! Carries image archives to the nodes.

use std::fs;
use std::path::{Path, PathBuf};

use super::Cluster;
use super::command::run;
use super::error::Error;
use super::faults::Fault;
use super::images;
use super::paths;
use super::topology::{NODES, Node};
use super::up::on_each_node;

impl Cluster {
    /// Builds an image from a `Containerfile`, or the directory it lies in, and returns its archive.
    pub fn build_image(&self, source: &Path, tag: &str) -> Result<PathBuf, Error> {
        let _lock = self.lock()?;
        super::packages::ensure()?;
        let archive = self
            .paths
            .images()
            .join(format!("{}.tar", images::file_name(&[tag.to_owned()])));
        images::build(&self.paths, source, tag, &archive)?;
        Ok(archive)
    }

    /// Gives every node the images of an archive; a node that has them already is left alone. A node
    /// that is not running gets them when it is started.
    pub fn load_image(&self, archive: &Path) -> Result<Vec<String>, Error> {
        let _lock = self.lock()?;
        if !self.is_up() {
            return Err(Error::NotUp);
        }
        let frozen = NODES
            .iter()
            .find(|node| self.fault(node) == Some(Fault::Frozen));
        if let Some(node) = frozen {
            return Err(Error::NodeState {
                node: node.name.to_owned(),
                state: Fault::Frozen.to_string(),
                action: "load an image",
                hint: format!("run `cluster thaw {}` first", node.name),
            });
        }
        let kept = self.keep_image(archive)?;
        on_each_node(|node| {
            if self.machine(node).is_ok() {
                self.load(node, &kept)
            } else {
                Ok(())
            }
        })?;
        images::tags(archive)
    }

    /// Copies an archive to where nodes get theirs from when they are started.
    pub(super) fn keep_image(&self, archive: &Path) -> Result<PathBuf, Error> {
        let kept = self.paths.loaded_images().join(format!(
            "{}.tar",
            images::file_name(&images::tags(archive)?)
        ));
        let partial = kept.with_extension("partial");
        fs::copy(archive, &partial).map_err(Error::io("copy", archive))?;
        fs::rename(&partial, &kept).map_err(Error::io("put the archive in place at", &kept))?;
        Ok(kept)
    }

    /// Gives a node all images that the others have.
    pub(super) fn load_all_images(&self, node: &Node) -> Result<(), Error> {
        let dir = self.paths.loaded_images();
        let entries = fs::read_dir(&dir).map_err(Error::io("list", &dir))?;
        for entry in entries
            .flatten()
            .filter(|entry| entry.path().extension().is_some_and(|end| end == "tar"))
        {
            self.load(node, &entry.path())?;
        }
        Ok(())
    }

    fn load(&self, node: &Node, archive: &Path) -> Result<(), Error> {
        let name = archive.file_name().unwrap_or_default();
        let loaded = self.paths.node(node).join("images").join(name);
        let digest = images::digest(archive)?;
        if fs::read_to_string(&loaded).is_ok_and(|before| before == digest) {
            return Ok(());
        }
        run(self
            .in_node(node, "ctr")?
            .args(["-n", "k8s.io", "images", "import"])
            .arg(archive))?;
        paths::write(&loaded, digest)
    }
}
