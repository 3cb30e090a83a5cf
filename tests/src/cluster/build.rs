//! Builds every component from Go modules, once.
//!
//! The module definitions lie beside this crate in `cluster/<component>/` and are part of this binary.
//! A component's outputs go to `bin/<component>-<key>/`, where the key is a hash of all that they
//! depend on. They are built elsewhere and moved there when complete: what exists is whole.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::command::{bound_command, command, run};
use super::components::{COMPONENTS, Component, Output, Source};
use super::error::Error;
use super::images;
use super::lock::Lock;
use super::packages;
use super::paths::{self, Paths};

/// How often a long build says that it is still at it.
const STILL_AT_IT: Duration = Duration::from_secs(20);

/// The key of a component: equal if and only if nothing that it is built from has changed.
pub fn key(component: &Component, compiler: &str) -> String {
    let mut hash = Sha256::new();
    let mut add = |part: &str| {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
        hash.update(part);
    };
    add(compiler);
    for (name, content) in component.files {
        add(name);
        add(content);
    }
    for output in component.outputs {
        add(output.name);
        for part in output.source.words() {
            add(part);
        }
    }
    images::hex(&hash.finalize()[..8])
}

/// What compiles: its version is part of each key.
pub fn compiler() -> Result<String, Error> {
    let version = run(&mut command("go", ["env", "GOVERSION", "GOOS", "GOARCH"]))?;
    Ok(version.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Where a component's outputs lie, or will.
pub fn directory(paths: &Paths, component: &Component, compiler: &str) -> PathBuf {
    paths
        .binaries()
        .join(format!("{}-{}", component.name, key(component, compiler)))
}

/// The components of these names.
pub fn named(names: &[impl AsRef<str>]) -> Result<Vec<&'static Component>, Error> {
    let find = |name: &str| {
        let found = COMPONENTS.iter().find(|component| component.name == name);
        found.ok_or_else(|| Error::UnknownComponent(name.to_owned()))
    };
    names.iter().map(|name| find(name.as_ref())).collect()
}

/// Builds what is not there yet and returns where each component lies, in the same order.
pub fn ensure(paths: &Paths, wanted: &[&Component]) -> Result<Vec<PathBuf>, Error> {
    let compiler = compiler()?;
    let directories: Vec<_> = wanted
        .iter()
        .map(|component| directory(paths, component, &compiler))
        .collect();
    let missing: Vec<_> = wanted
        .iter()
        .zip(&directories)
        .filter(|(_, directory)| !directory.exists())
        .collect();
    if missing.is_empty() {
        return Ok(directories);
    }
    packages::ensure()?;
    let _lock = Lock::take(&paths.binaries().join("lock"))?;
    let begin = Instant::now();
    for (number, (component, directory)) in missing.iter().enumerate() {
        let label = format!("[{}/{}] {}", number + 1, missing.len(), component.name);
        println!("{label}: building, {}", component.about);
        if directory.exists() {
            // By another one, whose lock we have waited for.
            continue;
        }
        let started = Instant::now();
        while_saying(&label, || build(paths, component, directory))?;
        println!("{label}: built in {} s", started.elapsed().as_secs());
    }
    println!(
        "all built in {} s; kept in {}",
        begin.elapsed().as_secs(),
        paths.binaries().display()
    );
    Ok(directories)
}

/// Runs something long and prints now and then that it runs.
fn while_saying<T: Send>(label: &str, work: impl FnOnce() -> T + Send) -> T {
    let (done, waiting) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            let begin = Instant::now();
            while waiting.recv_timeout(STILL_AT_IT) == Err(mpsc::RecvTimeoutError::Timeout) {
                println!(
                    "{label}: still building after {} s",
                    begin.elapsed().as_secs()
                );
            }
        });
        let result = work();
        drop(done);
        result
    })
}

/// Builds one component beside its final place, then moves it there.
fn build(paths: &Paths, component: &Component, directory: &Path) -> Result<(), Error> {
    let work = paths
        .binaries()
        .join(format!(".building-{}", component.name));
    if work.exists() {
        fs::remove_dir_all(&work).map_err(Error::io("remove the interrupted build", &work))?;
    }
    let (module, out) = (work.join("module"), work.join("out"));
    paths::make_dir(&module)?;
    paths::make_dir(&out)?;
    for (name, content) in component.files {
        paths::write(&module.join(name), content)?;
    }
    for output in component.outputs {
        produce(output, &module, &out)?;
    }
    fs::rename(&out, directory).map_err(Error::io("put the build in place at", directory))?;
    fs::remove_dir_all(&work).map_err(Error::io("remove", &work))
}

fn produce(output: &Output, module: &Path, out: &Path) -> Result<(), Error> {
    let target = out.join(output.name);
    match &output.source {
        Source::Go {
            package,
            tags,
            link,
            cgo,
        } => {
            let mut go = bound_command(
                "nice",
                [
                    "go",
                    "build",
                    "-trimpath",
                    "-buildvcs=false",
                    "-mod=readonly",
                ],
            );
            go.arg(format!("-tags={tags}"))
                .arg(format!("-ldflags=-s -w {link}"))
                .arg("-o")
                .arg(&target)
                .arg(package);
            go.env("CGO_ENABLED", if *cgo { "1" } else { "0" });
            run(without_overrides(&mut go).current_dir(module)).map(drop)
        }
        Source::C { module: name, file } => {
            let source = module_directory(module, name)?.join(file);
            let mut cc = command("gcc", ["-Os", "-static", "-s", "-o"]);
            run(cc.arg(&target).arg(source)).map(drop)
        }
        Source::Copy { module: name, path } => {
            let source = module_directory(module, name)?.join(path);
            run(command("cp", ["-r", "--no-preserve=all"])
                .arg(source)
                .arg(&target))
            .map(drop)
        }
    }
}

/// Keeps the builder's own settings from leaking into what is cached for everyone.
fn without_overrides(go: &mut Command) -> &mut Command {
    go.env_remove("GOFLAGS")
        .env("GOTOOLCHAIN", "local")
        .env("GOWORK", "off")
}

/// Where Go unpacked a module that ours depends on; fetched if need be.
fn module_directory(module: &Path, name: &str) -> Result<PathBuf, Error> {
    run(without_overrides(&mut command("go", ["mod", "download", name])).current_dir(module))?;
    let listed = run(without_overrides(&mut command(
        "go",
        ["list", "-m", "-f", "{{.Dir}}", name],
    ))
    .current_dir(module))?;
    Ok(PathBuf::from(listed.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_by_component_and_compiler() {
        let mut keys: Vec<_> = COMPONENTS
            .iter()
            .map(|component| key(component, "go1"))
            .collect();
        keys.push(key(&COMPONENTS[0], "go2"));
        let count = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), count);
        assert_eq!(key(&COMPONENTS[0], "go1"), key(&COMPONENTS[0], "go1"));
    }
}
