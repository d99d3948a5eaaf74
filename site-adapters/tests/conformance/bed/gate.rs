//! A gate before a real cluster's API server, which can be shut: the tests must not stop a
//! cluster that others use.

use std::net::{SocketAddr, TcpListener};
use std::sync::Mutex;
use std::time::Duration;

use kube::config::Kubeconfig;
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

/// Passes connections on, as long as it is open.
pub(super) struct Gate {
    address: SocketAddr,
    upstream: String,
    kubeconfig: String,
    passing: Mutex<Option<Runtime>>,
    _folder: TempDir,
}

impl Gate {
    /// Before the cluster of this kubeconfig's current context.
    pub(super) fn before(kubeconfig: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut config = Kubeconfig::read_from(kubeconfig).unwrap();
        let current = config.current_context.clone().unwrap();
        let context = config
            .contexts
            .iter()
            .find(|context| context.name == current);
        let cluster = context
            .and_then(|context| context.context.clone())
            .unwrap()
            .cluster;
        let named = config
            .clusters
            .iter_mut()
            .find(|named| named.name == cluster);
        let cluster = named.and_then(|named| named.cluster.as_mut()).unwrap();
        let server = cluster.server.clone().unwrap();
        let (scheme, rest) = server.split_once("://").unwrap();
        let authority = rest.split('/').next().unwrap();
        let (host, port) = authority.rsplit_once(':').unwrap_or((authority, "443"));
        let upstream = format!("{host}:{port}");
        // The certificate is still the cluster's.
        cluster
            .tls_server_name
            .get_or_insert_with(|| host.to_owned());
        cluster.server = Some(format!("{scheme}://{address}"));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kubeconfig");
        std::fs::write(&path, serde_json::to_string(&config).unwrap()).unwrap();
        Self {
            passing: Mutex::new(Some(pass(listener, &upstream))),
            address,
            upstream,
            kubeconfig: path.to_str().unwrap().to_owned(),
            _folder: folder,
        }
    }

    /// The kubeconfig that leads through the gate.
    pub(super) fn kubeconfig(&self) -> &str {
        &self.kubeconfig
    }

    /// Cuts all connections and lets none through.
    pub(super) fn shut(&self) {
        if let Some(passing) = self.passing.lock().unwrap().take() {
            let shutdown = move || passing.shutdown_timeout(Duration::from_secs(5));
            std::thread::spawn(shutdown).join().unwrap();
        }
    }

    /// Lets connections through again.
    pub(super) fn open(&self) {
        let listener = TcpListener::bind(self.address).unwrap();
        *self.passing.lock().unwrap() = Some(pass(listener, &self.upstream));
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if let Ok(Some(passing)) = self.passing.get_mut().map(Option::take) {
            passing.shutdown_background();
        }
    }
}

fn pass(listener: TcpListener, upstream: &str) -> Runtime {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    listener.set_nonblocking(true).unwrap();
    let upstream = upstream.to_owned();
    runtime.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        while let Ok((mut near, _)) = listener.accept().await {
            let upstream = upstream.clone();
            tokio::spawn(async move {
                if let Ok(mut far) = TcpStream::connect(&upstream).await {
                    // Either side may end it.
                    let _ = copy_bidirectional(&mut near, &mut far).await;
                }
            });
        }
    });
    runtime
}
