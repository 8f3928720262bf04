//! `kubernetes-validate`, which has the JSON schemas of Kubernetes, on the manifests.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use echogate_tests::program::python;

/// Checks manifests; properties that no schema has are errors.
fn validate(python: &Path, files: &[String]) -> Output {
    let mut command = Command::new(python);
    command.args(["-m", "kubernetes_validate", "--strict"]).args(files).output().unwrap()
}

#[test]
fn the_manifests_have_the_schemas_of_kubernetes() {
    let Some(python) = python() else { return };
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../server/packaging/kubernetes");
    // kustomize has schemas of its own.
    let files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().to_str().unwrap().to_owned())
        .filter(|path| !path.ends_with("/kustomization.yaml"))
        .collect();
    assert!(files.len() >= 4, "{files:?}");
    let output = validate(&python, &files);
    let printed = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}");
    assert_eq!(printed.matches(" passed ").count(), files.len(), "{printed}");

    let deployment = fs::read_to_string(format!("{folder}/deployment.yaml")).unwrap();
    let wrong = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    for (right, mistake) in [("periodSeconds:", "periodSecond:"), ("replicas: 2", "replicas: two")]
    {
        fs::write(wrong.path(), deployment.replace(right, mistake)).unwrap();
        let output = validate(&python, &[wrong.path().to_str().unwrap().to_owned()]);
        assert!(!output.status.success(), "{mistake}");
    }
}
