//! TLS by the server's own certificates.

use std::path::{Path, PathBuf};

use fairway_model::TaskState;
use insta::assert_snapshot;
use rcgen::{CertificateParams, DnType, KeyPair};

use crate::common::{Fairway, Setup, over, submit, until_true};

/// Writes a new certificate for 127.0.0.1 that vouches for itself, and its key.
fn certify(folder: &Path, name: &str) -> (PathBuf, PathBuf) {
    let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    let pair = KeyPair::generate().unwrap();
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&cert, params.self_signed(&pair).unwrap().pem()).unwrap();
    std::fs::write(&key, pair.serialize_pem()).unwrap();
    (cert, key)
}

/// A server with TLS, and a copy of its first certificate for its clients.
async fn server() -> Fairway {
    let setup = Setup::new();
    let (cert, key) = certify(setup.folder(), "first");
    let ca = setup.folder().join("ca.pem");
    std::fs::copy(&cert, &ca).unwrap();
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    setup
        .set("http.tls.cert", path(&cert))
        .set("http.tls.key", path(&key))
        .set("http.tls.ca", path(&ca))
        .trusting(ca)
        .local(1, 1)
        .start()
        .await
}

#[tokio::test]
async fn clients_and_pilots_work_over_tls() {
    let fairway = server().await;
    assert!(fairway.url().starts_with("https://"));
    let alice = fairway.user("alice").await;
    let job = submit(
        &alice.client,
        "[ Executable = \"/bin/echo\"; Arguments = \"safe\"; ]",
    )
    .await;
    let view = over(&alice.client, job).await;
    assert_eq!(view.count(TaskState::Succeeded), 1);
    assert_eq!(alice.run(&["logs", &job.to_string()]).await.ok(), "safe\n");
}

#[tokio::test]
async fn a_certificate_that_is_not_known_is_told() {
    let fairway = server().await;
    let other = fairway.folder().join("other");
    std::fs::create_dir(&other).unwrap();
    let (cert, _) = certify(&other, "other");
    let with_ca = ["status", "--ca-file", cert.to_str().unwrap()];
    let told = fairway.operator.run(&with_ca).await.fails(4);
    assert_snapshot!(told.replace(fairway.url(), "[server]"));
}

#[tokio::test]
async fn a_new_certificate_is_served_without_a_restart() {
    let fairway = server().await;
    let old = fairway.folder().join("ca.pem");
    let (new, _) = certify(fairway.folder(), "second");
    let trusts = async |ca: &Path| {
        let whoami = ["status", "--ca-file", ca.to_str().unwrap()];
        fairway.operator.run(&whoami).await.code == Some(0)
    };
    until_true("the new certificate is served", async || trusts(&new).await).await;
    assert!(!trusts(&old).await);
}

#[tokio::test]
async fn files_that_are_no_certificate_are_refused_at_the_start() {
    let setup = Setup::new();
    let (_, key) = certify(setup.folder(), "first");
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let setup = setup
        .set("http.tls.cert", path(&key))
        .set("http.tls.key", path(&key));
    let told = setup.refused().await.fails(5);
    assert_snapshot!(told_without_log(&told).replace(setup.folder().to_str().unwrap(), "[folder]"));
}

/// The last words, without the log that goes to the same place.
fn told_without_log(stderr: &str) -> &str {
    &stderr[stderr.find("error:").unwrap()..]
}
