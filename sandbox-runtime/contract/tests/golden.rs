//! `src/dispatch.rs` is what the `.proto` generates. `UPDATE_GOLDEN=1 cargo test -p contract`
//! rewrites it.

use std::{env, fs, path::Path, process::Command};

#[test]
fn dispatch_is_what_the_proto_generates() {
    let descriptors = protox::compile(["proto/dispatch.proto"], ["proto"]).unwrap();
    let out = tempfile::tempdir().unwrap();
    tonic_prost_build::configure()
        .build_transport(false)
        .out_dir(out.path())
        .compile_fds(descriptors)
        .unwrap();
    let file = out.path().join("cloister.dispatch.v1.rs");
    // As everything here is formatted; the same tool would rewrite it otherwise.
    let formatted = Command::new("rustfmt")
        .args(["--edition", "2024", "--config-path", "../../.rustfmt.toml"])
        .arg(&file)
        .status();
    assert!(formatted.unwrap().success(), "rustfmt failed");
    let generated = fs::read_to_string(&file).unwrap();
    let path = Path::new("src/dispatch.rs");
    #[expect(clippy::disallowed_methods, reason = "the switch of a golden test")]
    if env::var("UPDATE_GOLDEN").is_ok() {
        fs::write(path, &generated).unwrap();
    }
    let checked_in = fs::read_to_string(path).unwrap();
    assert!(
        checked_in == generated,
        "src/dispatch.rs is not what the .proto generates; run `make generate`"
    );
}
