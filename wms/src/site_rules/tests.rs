use std::path::Path;

use fairway_model::Site;

use super::*;

fn read(text: &str) -> Site {
    toml::from_str(text).unwrap()
}

/// `lyon` with one CE `a`; what follows stands in its `adapter`, in its CE, and beside both.
fn lyon(adapter: &str, ce: &str, beside: &str) -> Site {
    read(&format!(
        "name = \"lyon\"\n{beside}\n[adapter]\n{adapter}\n[[ces]]\nname = \"a\"\n{ce}\n"
    ))
}

const SLURM: &str = "kind = \"slurm\"";

#[test]
fn the_least_description_will_do() {
    assert_eq!(faults(&lyon("kind = \"local\"", "", "")), [""; 0]);
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let site = read(
        r#"
        name = "lyon"
        cores_max = 4
        maintenance = [{ from = "2026-12-02T00:00:00Z", to = "2026-12-01T00:00:00Z" }]
        accounts = { alice = "root", bob = "bob; rm" }
        [adapter]
        kind = "slurm"
        conf = "slurm.conf"
        work_dir = "/scratch/../etc"
        ssh = { host = "-oProxyCommand=x", config = "config" }
        rest = { url = "ftp://x", user = "a b", ca = "ca.pem", secret = { env = "a=b" } }
        [[ces]]
        name = "a"
        queue = "x\n#SBATCH -p y"
        constraint = "a; b"
        gpu_type = "-a100"
        reservation = "$(id)"
        types = ["besteffort"]
        options = ["--wrap=`id`", "nodes=1", "--", "--exclude=n 1"]
        pilot_program = "--help"
        shape = { cores = 0, nodes = 1001, walltime_s = 0 }
        [[ces]]
        name = "a"
        shape = { cores = 4, nodes = 2 }
        limits = { pilots_max = 1, queued_max = 2, cores_max = 4, per_owner_max = 1 }
        supply = { warm = { pilots = 2, idle_s = 0 } }
        "#,
    );
    insta::assert_snapshot!(faults(&site).join("\n"));
}

#[test]
fn other_adapters_are_looked_at_too() {
    let mut told = Vec::new();
    for adapter in [
        "kind = \"pbs\"\nserver = \"a b\"\nenv = { \"A B\" = \"x\", PBS_SERVER = \"a\\nb\" }\nssh = { host = \"a@b@c\" }",
        "kind = \"oar\"\nnode_level = \"host; drop\"\nrest = { url = \"https://user:secret@oar/\" }",
        "kind = \"oar\"\nrest = { url = \"http://oar.example.org\", secret = { file = \"/a\" } }",
        "kind = \"kubernetes\"\nkubeconfig = \"x\"\nnamespace = \"A\"\nimage = \"a b\"\nimage_pull_secrets = [\"-\"]\n\
         gpu_resource = \"\"\nnode_selector = { \"a b\" = \"c\" }\ntolerations = [1]\naffinity = 1\npod_template_patch = []",
        "kind = \"agent\"\nbatch_system = \"a\\nb\"",
        "kind = \"local\"\ncores = 0",
    ] {
        told.extend(faults(&lyon(adapter, "", "")));
    }
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn what_batch_systems_have_is_not_refused() {
    for (adapter, ce) in [
        (
            SLURM,
            "constraint = \"[rack1|rack2]&ib*4\"\noptions = [\"--exclude=n[1-3]\", \"-J\", \"--gres=gpu:2\"]",
        ),
        (
            "kind = \"oar\"\nwork_dir = \"/home/fairway\"",
            "constraint = \"cluster='grisou' and memnode >= 64000\"\ntypes = [\"besteffort\", \"inner=12\"]",
        ),
        (
            "kind = \"pbs\"",
            "constraint = \"model=haswell:ib=true\"\nqueue = \"workq@server\"\noptions = [\"-lplace=excl\"]",
        ),
        (
            "kind = \"slurm\"\nrest = { url = \"http://127.0.0.1:6820\", secret = { env = \"JWT\" } }",
            "",
        ),
    ] {
        assert_eq!(faults(&lyon(adapter, ce, "")), [""; 0], "{adapter} {ce}");
    }
}

fn too_much(site: &Site, present: Option<&Site>) -> Vec<String> {
    overreach(site, present, Path::new("/etc/fairway/sites"))
}

#[test]
fn admins_name_only_what_is_their_site_s() {
    for adapter in [
        "kind = \"agent\"",
        "kind = \"slurm\"\nbin_dir = \"/opt/slurm/bin\"\nconf = \"/etc/slurm.conf\"\n\
         ssh = { host = \"login\", config = \"/etc/fairway/sites/lyon/ssh_config\" }",
        "kind = \"slurm\"\nrest = { url = \"https://slurm\", ca = \"/etc/fairway/sites/lyon/ca.pem\", \
         secret = { env = \"FAIRWAY_SITE_LYON_JWT\" } }",
        "kind = \"kubernetes\"\nkubeconfig = \"/etc/fairway/sites/lyon/kubeconfig\"",
    ] {
        assert_eq!(
            too_much(
                &lyon(adapter, "options = [\"-x\"]", "accounts = { a = \"b\" }"),
                None
            ),
            [""; 0]
        );
    }
}

#[test]
fn what_acts_with_the_server_s_rights_is_for_operators() {
    let mut told = Vec::new();
    for adapter in [
        "kind = \"local\"",
        "kind = \"slurm\"\nbin_dir = \"/tmp/bin\"\nconf = \"/etc/fairway/sites/lyon/../paris/slurm.conf\"",
        "kind = \"slurm\"\nssh = { host = \"login\" }",
        "kind = \"oar\"\nssh = { host = \"login\", config = \"/etc/fairway/sites/lyons/config\" }",
        "kind = \"slurm\"\nrest = { url = \"https://slurm\", ca = \"/etc/fairway/sites/lyon\", \
         secret = { env = \"FAIRWAY_SITE_LYON_EAST_JWT\" } }",
        "kind = \"oar\"\nrest = { url = \"https://oar\", secret = { file = \"/etc/shadow\" } }",
        "kind = \"pbs\"\nenv = { LD_PRELOAD = \"/etc/fairway/sites/lyon/x.so\", PBS_CONF_FILE = \"/etc/pbs.conf\", \
         PBS_SERVER = \"pbs1\" }",
        "kind = \"kubernetes\"",
        "kind = \"kubernetes\"\nkubeconfig = \"/root/.kube/config\"",
    ] {
        told.push(format!("# {adapter}"));
        told.extend(too_much(
            &lyon(
                adapter,
                "options = [\"--export-file=/etc/shadow\"]",
                "accounts = { a = \"b\" }",
            ),
            None,
        ));
    }
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn what_an_operator_wrote_may_stay() {
    let present = lyon(
        "kind = \"slurm\"\nconf = \"/etc/slurm/slurm.conf\"",
        "options = [\"-x\"]",
        "",
    );
    let mut changed = present.clone();
    changed.ces[0].shape.cores = 8;
    assert_eq!(too_much(&changed, Some(&present)), [""; 0]);
    let other = lyon(
        "kind = \"slurm\"\nconf = \"/etc/other.conf\"",
        "options = [\"-x\"]",
        "",
    );
    assert_eq!(too_much(&other, Some(&present)).len(), 1);
}

/// Every file that the documentation shows makes sense.
#[test]
fn the_examples_make_sense() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/sites");
    let mut kinds = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let site = read(&std::fs::read_to_string(&path).unwrap());
        assert_eq!(faults(&site), [""; 0], "{}", path.display());
        kinds.insert(site.adapter.kind());
    }
    let all = ["agent", "kubernetes", "local", "oar", "pbs", "slurm"];
    assert!(kinds.into_iter().eq(all));
}
