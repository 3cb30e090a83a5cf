//! `yaml/` is what the types render. `UPDATE_GOLDEN=1 cargo test -p crds` rewrites it.

use std::{env, fs, path::Path};

#[test]
fn yaml_is_what_the_types_render() {
    let folder = Path::new("yaml");
    let all = crds::all();
    let files = fs::read_dir(folder).unwrap().count();
    assert_eq!(files, all.len(), "a file that no type renders");
    for crd in all {
        let name = crd.metadata.name.clone().unwrap();
        let path = folder.join(format!("{name}.yaml"));
        let rendered = serde_saphyr::to_string(&crd).unwrap();
        #[expect(clippy::disallowed_methods, reason = "the switch of a golden test")]
        if env::var("UPDATE_GOLDEN").is_ok() {
            fs::write(&path, &rendered).unwrap();
        }
        let checked_in = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            checked_in == rendered,
            "{} is not what the types render; run `make generate`",
            path.display()
        );
    }
}
