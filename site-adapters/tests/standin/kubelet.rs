//! Runs the containers of pods as processes of this machine.

use std::collections::HashMap;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::{Value, json};

use super::IMAGE;
use super::store::{Kind, Store, name, now};

pub(super) struct Kubelet {
    /// Where the files of Secrets are put.
    files: PathBuf,
    pretend: bool,
    containers: HashMap<String, Container>,
}

struct Container {
    /// Nothing if it only pretends to run.
    child: Option<Child>,
    started: Instant,
    started_at: String,
    /// When it was asked to end, and whether for its deadline.
    warned: Option<(Instant, bool)>,
}

impl Kubelet {
    pub(super) fn new(files: &Path, pretend: bool) -> Self {
        Self {
            files: files.to_owned(),
            pretend,
            containers: HashMap::new(),
        }
    }

    /// Whether something may happen without anybody changing an object.
    pub(super) fn is_busy(&self) -> bool {
        self.containers
            .values()
            .any(|c| c.child.is_some() || c.warned.is_some())
    }

    pub(super) fn step(&mut self, store: &mut Store) {
        let pods: Vec<Value> = store
            .all(Kind::Pod)
            .filter(|pod| self.has_work(pod))
            .cloned()
            .collect();
        for mut pod in pods {
            match pod["status"]["phase"].as_str() {
                Some("Running") => self.look_after(&mut pod),
                _ => self.begin(store, &mut pod),
            }
            store.put(Kind::Pod, pod);
        }
    }

    fn has_work(&self, pod: &Value) -> bool {
        let is_ending = !pod["metadata"]["deletionTimestamp"].is_null();
        match pod["status"]["phase"].as_str() {
            Some("Pending") => is_ending || !pod["spec"]["nodeName"].is_null(),
            Some("Running") => is_ending || !self.pretend,
            _ => false,
        }
    }

    fn begin(&mut self, store: &Store, pod: &mut Value) {
        if !pod["metadata"]["deletionTimestamp"].is_null() {
            pod["status"]["phase"] = "Failed".into();
            return;
        }
        if pod["spec"]["nodeName"].is_null() {
            return;
        }
        let image = pod["spec"]["containers"][0]["image"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        if image != IMAGE {
            let message = format!("Back-off pulling image \"{image}\"");
            return wait_for(pod, "ImagePullBackOff", &message);
        }
        let mut mounts = Vec::new();
        for volume in pod["spec"]["volumes"].as_array().into_iter().flatten() {
            let Some(secret) = volume["secret"]["secretName"].as_str() else {
                continue;
            };
            let Some(secret) = store.get(Kind::Secret, secret) else {
                return wait_for(pod, "ContainerCreating", "");
            };
            let folder = self.write_secret(secret);
            let mount = pod["spec"]["containers"][0]["volumeMounts"]
                .as_array()
                .into_iter()
                .flatten()
                .find(|mount| mount["name"] == volume["name"]);
            if let Some(path) = mount.and_then(|mount| mount["mountPath"].as_str()) {
                mounts.push((path.to_owned(), folder.to_str().unwrap().to_owned()));
            }
        }
        let child = match self.pretend {
            true => None,
            false => match start(pod, &mounts) {
                Ok(child) => Some(child),
                Err(error) => {
                    return end(
                        pod,
                        &json!({
                            "exitCode": 128, "reason": "StartError",
                            "message": format!("failed to create containerd task: {error}"),
                            "startedAt": "1970-01-01T00:00:00Z", "finishedAt": now(),
                        }),
                    );
                }
            },
        };
        let container = Container {
            child,
            started: Instant::now(),
            started_at: now(),
            warned: None,
        };
        pod["status"]["phase"] = "Running".into();
        set_state(
            pod,
            &json!({"running": {"startedAt": container.started_at}}),
            true,
        );
        let uid = pod["metadata"]["uid"].as_str().unwrap().to_owned();
        self.containers.insert(uid, container);
    }

    fn write_secret(&self, secret: &Value) -> PathBuf {
        let folder = self.files.join(name(secret));
        std::fs::create_dir_all(&folder).unwrap();
        for (file, text) in secret["stringData"].as_object().into_iter().flatten() {
            std::fs::write(folder.join(file), text.as_str().unwrap()).unwrap();
        }
        folder
    }

    fn look_after(&mut self, pod: &mut Value) {
        let uid = pod["metadata"]["uid"].as_str().unwrap().to_owned();
        let Some(container) = self.containers.get_mut(&uid) else {
            return;
        };
        let deadline = pod["spec"]["activeDeadlineSeconds"]
            .as_u64()
            .map(Duration::from_secs);
        let is_late = deadline.is_some_and(|deadline| container.started.elapsed() > deadline);
        let is_deleted = !pod["metadata"]["deletionTimestamp"].is_null();
        let grace = pod["spec"]["terminationGracePeriodSeconds"]
            .as_u64()
            .unwrap_or(30);
        match container.warned {
            None if is_late || is_deleted => {
                container.signal(Signal::TERM);
                container.warned = Some((Instant::now(), is_late && !is_deleted));
            }
            Some((at, _)) if at.elapsed() > Duration::from_secs(grace) => container.kill(),
            _ => {}
        }
        let code = match &mut container.child {
            None if container.warned.is_none() => return,
            None => 143,
            Some(child) => match child.try_wait().unwrap() {
                None => return,
                Some(status) => exit_code(status),
            },
        };
        // With a container all that it started ends.
        container.kill();
        if matches!(container.warned, Some((_, true))) {
            pod["status"]["reason"] = "DeadlineExceeded".into();
            pod["status"]["message"] =
                "Pod was active on the node longer than the specified deadline".into();
        }
        let is_late = matches!(container.warned, Some((_, true)));
        let reason = if code == 0 { "Completed" } else { "Error" };
        let state = json!({
            "exitCode": code, "reason": reason, "startedAt": container.started_at,
            "finishedAt": now(),
        });
        self.containers.remove(&uid);
        end(pod, &state);
        if is_late {
            pod["status"]["phase"] = "Failed".into();
        }
    }

    /// Ends every process.
    pub(super) fn end_all(&mut self) {
        for container in self.containers.values_mut() {
            container.kill();
            if let Some(child) = &mut container.child {
                let _ = child.wait();
            }
        }
    }
}

impl Container {
    fn pid(&self) -> Option<Pid> {
        self.child.as_ref().map(Pid::from_child)
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid() {
            // It may have ended just now.
            let _ = kill_process(pid, signal);
        }
    }

    fn kill(&self) {
        if let Some(pid) = self.pid() {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

fn exit_code(status: ExitStatus) -> i32 {
    let signal = || status.signal().map_or(255, |signal| 128 + signal);
    status.code().unwrap_or_else(signal)
}

fn set_state(pod: &mut Value, state: &Value, ready: bool) {
    let container = &pod["spec"]["containers"][0];
    pod["status"]["containerStatuses"] = json!([{
        "name": container["name"], "state": state, "lastState": {}, "ready": ready,
        "restartCount": 0, "image": container["image"], "imageID": "", "started": ready,
    }]);
}

fn wait_for(pod: &mut Value, reason: &str, message: &str) {
    let mut waiting = json!({"reason": reason});
    if !message.is_empty() {
        waiting["message"] = message.into();
    }
    set_state(pod, &json!({"waiting": waiting}), false);
}

fn end(pod: &mut Value, terminated: &Value) {
    let phase = if terminated["exitCode"] == 0 {
        "Succeeded"
    } else {
        "Failed"
    };
    pod["status"]["phase"] = phase.into();
    set_state(pod, &json!({"terminated": terminated}), false);
}

/// Replaces `$(NAME)` for variables that are set, and `$$`, as the kubelet does.
fn expand(text: &str, env: &[(String, String)]) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|r| r.split_once(')')) {
            match env.iter().find(|(known, _)| known == name) {
                Some((_, value)) => out.push_str(value),
                None => out.push_str(&format!("$({name})")),
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

fn start(pod: &Value, mounts: &[(String, String)]) -> std::io::Result<Child> {
    let container = &pod["spec"]["containers"][0];
    let mut env = vec![("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned())];
    for variable in container["env"].as_array().into_iter().flatten() {
        let value = match variable["valueFrom"]["fieldRef"]["fieldPath"].as_str() {
            Some(path) => {
                let key = path.strip_prefix("metadata.annotations['").unwrap();
                pod["metadata"]["annotations"][key.trim_end_matches("']")].as_str()
            }
            None => variable["value"].as_str(),
        };
        let name = variable["name"].as_str().unwrap_or_default();
        env.push((name.to_owned(), value.unwrap_or_default().to_owned()));
    }
    let words: Vec<String> = container["command"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|word| {
            let word = expand(word.as_str().unwrap_or_default(), &env);
            mounts
                .iter()
                .fold(word, |word, (mount, folder)| word.replace(mount, folder))
        })
        .collect();
    Command::new(&words[0])
        .args(&words[1..])
        .env_clear()
        .envs(env)
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}
