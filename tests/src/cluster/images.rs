//! Container images: built offline from a `Containerfile`, carried to the nodes as archives.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use super::command::{bound_command, command, run};
use super::error::Error;
use super::paths::{self, Paths};

/// Lets buildah take what it has just built; there is no one else to trust here.
const TRUST: &str = r#"{"default": [{"type": "insecureAcceptAnything"}]}"#;

fn buildah(paths: &Paths) -> Result<Command, Error> {
    let store = paths.images().join("buildah");
    paths::make_dir(&store)?;
    let mut buildah = bound_command("buildah", ["--storage-driver", "vfs", "--root"]);
    buildah
        .arg(store.join("root"))
        .arg("--runroot")
        .arg(store.join("run"));
    Ok(buildah)
}

/// Builds an image from a directory with a `Containerfile`, or from such a file with its directory as
/// context, and writes it to an archive. The same input makes the same archive.
pub fn build(paths: &Paths, source: &Path, tag: &str, archive: &Path) -> Result<(), Error> {
    let (context, file) = if source.is_dir() {
        (source.to_path_buf(), source.join("Containerfile"))
    } else {
        (
            source.parent().unwrap_or(Path::new(".")).to_path_buf(),
            source.to_path_buf(),
        )
    };
    let context = fs::canonicalize(&context).map_err(Error::io("find", &context))?;
    let file = fs::canonicalize(&file).map_err(Error::io("find", &file))?;
    let policy = paths.images().join("policy.json");
    paths::make_dir(&paths.images())?;
    paths::write(&policy, TRUST)?;
    let mut bud = buildah(paths)?;
    bud.args([
        "build",
        "--isolation",
        "chroot",
        "--pull-never",
        "--timestamp",
        "0",
    ]);
    // Left to itself, it makes a directory in /etc.
    bud.arg("--cni-config-dir")
        .arg(paths.images().join("buildah/cni"));
    bud.arg("--signature-policy")
        .arg(&policy)
        .args(["--tag", tag, "--file"])
        .arg(&file)
        .arg(&context);
    run(&mut bud)?;
    let partial = PathBuf::from(format!("{}.partial", archive.display()));
    fs::remove_file(&partial).ok();
    let mut push = buildah(paths)?;
    push.arg("push")
        .arg("--signature-policy")
        .arg(&policy)
        .arg(tag);
    run(push.arg(format!("docker-archive:{}:{tag}", partial.display())))?;
    // The archive is all we want of it.
    run(buildah(paths)?.args(["rmi", "--force", tag])).ok();
    fs::rename(&partial, archive).map_err(Error::io("put the archive in place at", archive))
}

/// An image of one static program, kept under a name that changes with it.
pub fn of_program(paths: &Paths, program: &Path, tag: &str) -> Result<PathBuf, Error> {
    let name = program
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let built = program
        .parent()
        .and_then(Path::file_name)
        .map(|name| name.to_string_lossy().into_owned());
    let archive = paths
        .images()
        .join(format!("{name}-{}.tar", built.unwrap_or_default()));
    if archive.exists() {
        return Ok(archive);
    }
    let context = paths.images().join(format!("context-{name}"));
    paths::make_dir(&context)?;
    fs::copy(program, context.join(&name)).map_err(Error::io("copy", program))?;
    let text =
        format!("FROM scratch\nCOPY --chmod=0755 {name} /{name}\nENTRYPOINT [\"/{name}\"]\n");
    paths::write(&context.join("Containerfile"), text)?;
    build(paths, &context, tag, &archive)?;
    fs::remove_dir_all(&context).map_err(Error::io("remove", &context))?;
    Ok(archive)
}

/// The names of the images in an archive.
pub fn tags(archive: &Path) -> Result<Vec<String>, Error> {
    let text = run(command("tar", ["-xOf"]).arg(archive).arg("manifest.json"))?;
    let wrong = |why: String| Error::Parse {
        what: format!("the manifest of {}", archive.display()),
        why,
    };
    let manifest: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let tags: Vec<String> = manifest
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|image| image["RepoTags"].as_array())
        .flatten()
        .filter_map(|tag| tag.as_str().map(str::to_owned))
        .collect();
    if tags.is_empty() {
        return Err(wrong("it names no image; save it with a tag".to_owned()));
    }
    Ok(tags)
}

/// The hash of a file's content.
pub fn digest(file: &Path) -> Result<String, Error> {
    let mut input = fs::File::open(file).map_err(Error::io("open", file))?;
    let mut hash = Sha256::new();
    std::io::copy(&mut input, &mut hash).map_err(Error::io("read", file))?;
    Ok(hex(&hash.finalize()))
}

/// A hash as one writes it.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or_default();
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// A file name for the images of an archive.
pub fn file_name(tags: &[String]) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '.' || c == '-' {
            c
        } else {
            '_'
        }
    };
    tags.join("+").chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_written_in_full() {
        assert_eq!(hex(&[0, 10, 255]), "000aff");
    }

    #[test]
    fn names_of_images_become_names_of_files() {
        assert_eq!(
            file_name(&["localhost/a/b:dev".to_owned()]),
            "localhost_a_b_dev"
        );
    }
}
