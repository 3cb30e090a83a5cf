//! Keys, certificates and kubeconfigs of one cluster: made by openssl at each `up`, gone with `down`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::command::{command, run};
use super::error::Error;
use super::paths::{self, Paths};
use super::topology::{API_ADDRESS, NODES};

/// Names that the API server answers to.
const SERVER_NAMES: &str = "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,\
    DNS:kubernetes.default.svc.cluster.local,DNS:localhost,IP:127.0.0.1,IP:10.90.0.1,IP:10.96.0.1";

/// Who talks to the API server from outside of pods: file name and subject.
const CLIENTS: [(&str, &str); 5] = [
    ("admin", "/O=system:masters/CN=admin"),
    ("controller-manager", "/CN=system:kube-controller-manager"),
    ("scheduler", "/CN=system:kube-scheduler"),
    ("kube-proxy", "/CN=system:kube-proxy"),
    ("cilium", "/O=system:masters/CN=cilium"),
];

fn openssl(dir: &Path, args: &str) -> Result<String, Error> {
    run(command("openssl", args.split_whitespace()).current_dir(dir))
}

/// Makes all of it.
pub fn create(paths: &Paths) -> Result<(), Error> {
    let dir = paths.pki();
    paths::make_dir(&dir)?;
    openssl(&dir, "ecparam -genkey -noout -name prime256v1 -out sa.key")?;
    openssl(&dir, "ec -in sa.key -pubout -out sa.pub")?;
    openssl(
        &dir,
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.crt -days 3650 \
         -subj /CN=cloister-cluster -addext keyUsage=critical,keyCertSign,cRLSign",
    )?;
    issue(&dir, "apiserver", "/CN=kube-apiserver", SERVER_NAMES)?;
    for (name, subject) in CLIENTS {
        issue(&dir, name, subject, "DNS:client.invalid")?;
        kubeconfig(paths, name)?;
    }
    for node in &NODES {
        let subject = format!("/O=system:nodes/CN=system:node:{}", node.name);
        issue(&dir, node.name, &subject, &format!("DNS:{}", node.name))?;
        kubeconfig(paths, node.name)?;
    }
    let admin = dir.join("admin.kubeconfig");
    fs::copy(&admin, paths.kubeconfig())
        .map(drop)
        .map_err(Error::io("copy", &admin))
}

/// A certificate for a subject, with a key of its own, signed by the cluster's authority.
fn issue(dir: &Path, name: &str, subject: &str, names: &str) -> Result<(), Error> {
    let extensions = format!("subjectAltName={names}\nextendedKeyUsage=serverAuth,clientAuth\n");
    paths::write(&dir.join(format!("{name}.ext")), extensions)?;
    openssl(
        dir,
        &format!(
            "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout {name}.key -out {name}.csr -subj {subject}"
        ),
    )?;
    openssl(
        dir,
        &format!(
            "x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -extfile {name}.ext -out {name}.crt"
        ),
    )?;
    Ok(())
}

/// A kubeconfig that carries all it needs, so that it may be copied elsewhere.
fn kubeconfig(paths: &Paths, name: &str) -> Result<(), Error> {
    let dir = paths.pki();
    let data = |file: &str| openssl(&dir, &format!("base64 -A -in {file}"));
    let (authority, certificate, key) = (
        data("ca.crt")?,
        data(&format!("{name}.crt"))?,
        data(&format!("{name}.key"))?,
    );
    let text = format!(
        "apiVersion: v1
kind: Config
clusters:
- name: cloister
  cluster:
    server: https://{API_ADDRESS}:6443
    certificate-authority-data: {authority}
users:
- name: {name}
  user:
    client-certificate-data: {certificate}
    client-key-data: {key}
contexts:
- name: cloister
  context: {{cluster: cloister, user: {name}}}
current-context: cloister
"
    );
    let file = dir.join(format!("{name}.kubeconfig"));
    paths::write(&file, text)?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600))
        .map_err(Error::io("restrict", &file))
}
