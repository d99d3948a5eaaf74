//! The objects of the cluster, and the log of their changes that watches read.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};

use super::{NAMESPACE, Settings};

/// Changes that are kept for watches.
const LOG_MAX: usize = 100_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Job,
    Pod,
    Secret,
    Event,
    Node,
    Quota,
    Range,
    Class,
}

impl Kind {
    pub(super) const fn kind(self) -> &'static str {
        match self {
            Self::Job => "Job",
            Self::Pod => "Pod",
            Self::Secret => "Secret",
            Self::Event => "Event",
            Self::Node => "Node",
            Self::Quota => "ResourceQuota",
            Self::Range => "LimitRange",
            Self::Class => "PriorityClass",
        }
    }

    pub(super) const fn version(self) -> &'static str {
        match self {
            Self::Job => "batch/v1",
            Self::Class => "scheduling.k8s.io/v1",
            _ => "v1",
        }
    }

    /// As in messages: `jobs.batch`.
    pub(super) const fn resource(self) -> &'static str {
        match self {
            Self::Job => "jobs.batch",
            Self::Pod => "pods",
            Self::Secret => "secrets",
            Self::Event => "events",
            Self::Node => "nodes",
            Self::Quota => "resourcequotas",
            Self::Range => "limitranges",
            Self::Class => "priorityclasses.scheduling.k8s.io",
        }
    }
}

/// One line of the log.
#[derive(Clone)]
pub(super) struct Change {
    pub(super) version: u64,
    pub(super) kind: Kind,
    /// `ADDED`, `MODIFIED` or `DELETED`.
    pub(super) event: &'static str,
    pub(super) object: Value,
}

pub(super) struct Store {
    version: u64,
    /// Versions up to this are too old to be watched from.
    compacted: u64,
    objects: BTreeMap<(Kind, String), Value>,
    log: VecDeque<Change>,
    uids: u64,
    /// Something has changed since the controllers last looked.
    pub(super) is_new: bool,
}

impl Store {
    pub(super) fn new(settings: &Settings) -> Self {
        let mut store = Self {
            version: 300,
            compacted: 0,
            objects: BTreeMap::new(),
            log: VecDeque::new(),
            uids: 0,
            is_new: true,
        };
        for node in &settings.nodes {
            store.put(Kind::Node, node.clone());
        }
        for class in ["grid-pilot-low", "system-cluster-critical"] {
            let class = json!({"metadata": {"name": class}, "value": 100});
            store.put(Kind::Class, class);
        }
        if let Some(hard) = &settings.quota {
            store.put(
                Kind::Quota,
                json!({
                    "metadata": {"name": "pilots", "namespace": NAMESPACE},
                    "spec": {"hard": hard},
                    "status": {"hard": hard, "used": {}},
                }),
            );
        }
        if let Some(mib) = settings.container_memory_max_mib {
            let limit = json!({"type": "Container", "max": {"memory": format!("{mib}Mi")}});
            store.put(
                Kind::Range,
                json!({
                    "metadata": {"name": "pilots", "namespace": NAMESPACE},
                    "spec": {"limits": [limit]},
                }),
            );
        }
        store
    }

    pub(super) const fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn get(&self, kind: Kind, name: &str) -> Option<&Value> {
        self.objects.get(&(kind, name.to_owned()))
    }

    pub(super) fn all(&self, kind: Kind) -> impl Iterator<Item = &Value> {
        let whole = (kind, String::new())..;
        self.objects
            .range(whole)
            .take_while(move |((other, _), _)| *other == kind)
            .map(|(_, object)| object)
    }

    /// Makes or replaces an object, and returns it as it is then. Nothing happens if it is as it
    /// was.
    pub(super) fn put(&mut self, kind: Kind, mut object: Value) -> Value {
        let name = name(&object).to_owned();
        let key = (kind, name);
        if self.objects.get(&key) == Some(&object) {
            return object;
        }
        let event = if self.objects.contains_key(&key) {
            "MODIFIED"
        } else {
            self.uids += 1;
            let meta = &mut object["metadata"];
            meta["uid"] = format!("00000000-0000-4000-8000-{:012x}", self.uids).into();
            meta["creationTimestamp"] = now().into();
            "ADDED"
        };
        object["kind"] = kind.kind().into();
        object["apiVersion"] = kind.version().into();
        self.note(kind, event, &mut object);
        self.objects.insert(key, object.clone());
        object
    }

    pub(super) fn remove(&mut self, kind: Kind, name: &str) {
        if let Some(mut object) = self.objects.remove(&(kind, name.to_owned())) {
            self.note(kind, "DELETED", &mut object);
        }
    }

    fn note(&mut self, kind: Kind, event: &'static str, object: &mut Value) {
        self.version += 1;
        self.is_new = true;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.log.push_back(Change {
            version: self.version,
            kind,
            event,
            object: object.clone(),
        });
        while self.log.len() > LOG_MAX {
            if let Some(old) = self.log.pop_front() {
                self.compacted = old.version;
            }
        }
    }

    pub(super) fn compact(&mut self) {
        // Versions that nobody saw: a watch that was up to date is too old as well.
        self.version += 10;
        self.compacted = self.version - 1;
        self.log.clear();
    }

    /// Changes of a kind after a version; `Err` with the oldest that is kept if that is too old.
    pub(super) fn after(&self, kind: Kind, version: u64) -> Result<Vec<Change>, u64> {
        if version < self.compacted {
            return Err(self.compacted);
        }
        let start = self.log.partition_point(|change| change.version <= version);
        let changes = self.log.range(start..);
        Ok(changes
            .filter(|change| change.kind == kind)
            .cloned()
            .collect())
    }
}

/// An object's name.
pub(super) fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// Now, as Kubernetes writes it.
pub(super) fn now() -> String {
    let now = k8s_openapi::jiff::Timestamp::now();
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
