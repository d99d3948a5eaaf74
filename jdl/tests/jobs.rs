//! Job descriptions: what becomes of good ones, and what is said of bad ones.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeSet;
use std::fmt::Write as _;

use fairway_jdl::job::{TASKS_MAX, schema};
use fairway_jdl::json::{from_json, json_to_jdl, to_json};
use fairway_jdl::syntax::TEXT_BYTES_MAX;
use fairway_jdl::{Diagnostic, Dialect, JobNode, JobSpec, MissingFiles, ReadOptions, Severity};
use fairway_model::{JobId, TaskId};
use proptest::prelude::*;

fn task_id(index: u32) -> TaskId {
    TaskId::new(JobId(12), index)
}

fn read(text: &str) -> JobSpec {
    match JobSpec::read(text) {
        Ok((spec, _)) => spec,
        Err(errors) => panic!("{}", rendered(&errors)),
    }
}

fn rendered(diagnostics: &[Diagnostic]) -> String {
    let rendered: Vec<&str> = diagnostics.iter().map(|d| &*d.rendered).collect();
    rendered.join("\n\n")
}

/// Everything that is made of a description, with its first and last tasks.
fn told(spec: &JobSpec, warnings: &[Diagnostic]) -> String {
    let mut told = String::new();
    let (dialect, why, count) = (spec.dialect(), spec.dialect_evidence(), spec.task_count());
    writeln!(told, "{}: {count} tasks", spec.name()).unwrap();
    writeln!(told, "{dialect}: {why}").unwrap();
    let inputs = spec.inputs();
    let inputs: Vec<&str> = inputs.iter().map(|input| &*input.path).collect();
    writeln!(told, "to send: {inputs:?}").unwrap();
    if !spec.remote_inputs().is_empty() {
        writeln!(told, "not to send: {:?}", spec.remote_inputs()).unwrap();
    }
    if let Some(depends) = spec.depends() {
        let waits: Vec<String> = depends
            .dependencies
            .iter()
            .map(|it| it.to_string())
            .collect();
        writeln!(told, "waits for {:?} of {waits:?}", depends.join).unwrap();
    }
    for node in spec.nodes() {
        let JobNode { name, tasks, .. } = node;
        let names = |nodes: &[u32]| -> Vec<String> {
            let names = nodes
                .iter()
                .map(|node| spec.nodes()[*node as usize].name.to_string());
            names.collect()
        };
        let (parents, children) = (names(&node.parents), names(&node.children));
        writeln!(
            told,
            "node {name} {tasks:?}: after {parents:?}, before {children:?}"
        )
        .unwrap();
    }
    let firsts = spec.nodes().iter().map(|node| node.tasks.start);
    let shown: BTreeSet<u32> = (0..count.min(3)).chain(firsts).chain([count - 1]).collect();
    for index in shown {
        let task = spec.task(task_id(index));
        writeln!(
            told,
            "\n{}: {} {:?}",
            task_id(index),
            task.executable,
            task.arguments
        )
        .unwrap();
        for (name, value) in &task.environment {
            writeln!(told, "  {name}={value}").unwrap();
        }
        let files = [
            ("<", &task.stdin),
            (">", &task.stdout),
            ("2>", &task.stderr),
        ];
        for (label, file) in files {
            if let Some(file) = file {
                writeln!(told, "  {label} {file}").unwrap();
            }
        }
        for input in &*task.inputs {
            writeln!(told, "  in  {} as {}", input.path, input.name).unwrap();
        }
        for output in &task.outputs {
            writeln!(told, "  out {output}").unwrap();
        }
        if index == 0 || !spec.uniform() {
            writeln!(told, "  needs {}", task.needs.key).unwrap();
        }
    }
    if !warnings.is_empty() {
        write!(told, "\n{}", rendered(warnings)).unwrap();
    }
    told
}

#[test]
fn good_descriptions_become_tasks() {
    insta::glob!("good/*.jdl", |path| {
        let text = std::fs::read(path).unwrap();
        let told = match JobSpec::read_bytes(&text) {
            Ok((spec, warnings)) => told(&spec, &warnings),
            Err(errors) => panic!("{}: {}", path.display(), rendered(&errors)),
        };
        insta::assert_snapshot!(told);
    });
}

#[test]
fn bad_descriptions_are_refused_with_place_and_remedy() {
    insta::glob!("bad/*.jdl", |path| {
        let text = std::fs::read(path).unwrap();
        let errors = match JobSpec::read_bytes(&text) {
            Ok(_) => panic!("{} is accepted", path.display()),
            Err(errors) => errors,
        };
        assert!(errors.iter().any(|e| e.severity == Severity::Error));
        insta::assert_snapshot!(rendered(&errors));
    });
}

#[test]
fn the_schema_is_as_it_was() {
    insta::assert_json_snapshot!(schema());
}

#[test]
fn what_json_is_written_fits_the_schema_and_reads_back() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    insta::glob!("good/*.jdl", |path| {
        let text = std::fs::read(path).unwrap();
        let (spec, _) = JobSpec::read_bytes(&text).unwrap();
        let json = to_json(spec.ad());
        let wrong: Vec<String> = validator
            .iter_errors(&json)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(wrong.is_empty(), "{}: {wrong:#?}", path.display());
        assert_eq!(from_json(&json).unwrap(), *spec.ad(), "{}", path.display());
        let (again, _) = JobSpec::read(&json_to_jdl(&json.to_string()).unwrap()).unwrap();
        assert_eq!(again.task_count(), spec.task_count(), "{}", path.display());
    });
}

#[test]
fn windows_files_and_byte_order_marks_are_texts() {
    let text = "\u{feff}[\r\n  Executable = \"a\";\r\n  Arguments = \"x\";\r\n]\r\n";
    let (spec, warnings) = JobSpec::read_bytes(text.as_bytes()).unwrap();
    assert_eq!(spec.task(task_id(0)).arguments, ["x".into()]);
    assert_eq!(warnings, []);
}

#[test]
fn latin1_is_read_with_a_warning() {
    let (spec, warnings) = JobSpec::read_bytes(b"# caf\xe9\nExecutable = \"a\";").unwrap();
    assert_eq!(spec.name(), "a");
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].message.contains("Latin-1"), "{:?}", warnings[0]);
}

#[test]
fn what_is_no_text_is_refused() {
    let elf = b"\x7fELF\x02\x01\x01\0\0\0\0";
    let utf16 = b"\xff\xfeE\0x\0";
    for bytes in [&elf[..], &utf16[..], b"Executable = \"a\0b\";", b"\0"] {
        let errors = JobSpec::read_bytes(bytes).unwrap_err();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].help.is_some());
    }
    let long = vec![b' '; TEXT_BYTES_MAX + 1];
    let errors = JobSpec::read_bytes(&long).unwrap_err();
    assert!(errors[0].message.contains("too many to be read"));
}

#[test]
fn no_more_is_said_than_can_be_read() {
    let text = "CpuNumber = ;\n".repeat(10_000);
    let errors = JobSpec::read(&text).unwrap_err();
    assert!(errors.len() <= fairway_jdl::diagnostic::DIAGNOSTICS_MAX);
}

#[test]
fn open_quotes_on_every_line_are_told_in_one_pass() {
    let text = "\\\"\n".repeat(TEXT_BYTES_MAX / 3);
    assert!(JobSpec::read(&text).is_err());
}

#[test]
fn one_description_serves_a_million_tasks() {
    let spec = read(
        "JobType = \"Parametric\"; Parameters = 1000000; Executable = \"a\"; Arguments = \"_PARAM_\";",
    );
    assert_eq!(spec.task_count(), 1_000_000);
    assert!(spec.uniform());
    assert!(std::sync::Arc::ptr_eq(&spec.needs(0), &spec.needs(999_999)));
    assert_eq!(spec.task(task_id(999_999)).arguments, ["999999".into()]);
}

#[test]
fn different_needs_are_found_once() {
    let text = "[ Executable = \"/bin/x\"; JobType = \"Parametric\"; Parameters = { 1, 2, 1, 3, 2, 1 }; \
                CpuNumber = _PARAM_; ]";
    let (spec, _) = JobSpec::read(text).unwrap();
    assert!(spec.kinds_within(2).is_none());
    let kinds = spec.kinds_within(3).unwrap();
    let all = kinds
        .all()
        .iter()
        .map(|(needs, tasks)| (needs.resources.cores, *tasks));
    assert_eq!(all.collect::<Vec<_>>(), [(1, 3), (2, 2), (3, 1)]);
    let of: Vec<usize> = (0..6).map(|index| kinds.of(index)).collect();
    assert_eq!(of, [0, 1, 0, 2, 1, 0]);
    let cores: Vec<u32> = (0..6)
        .map(|index| spec.needs(index).resources.cores)
        .collect();
    assert_eq!(cores, [1, 2, 1, 3, 2, 1]);
}

#[test]
fn needs_differ_only_where_a_parameter_says_so() {
    let spec = read(
        "JobType = \"Parametric\"; Parameters = { 1, 2, 2 }; Executable = \"a\"; CpuNumber = _PARAM_;",
    );
    assert!(!spec.uniform());
    assert_eq!(spec.needs(1).resources.cores, 2);
    assert_ne!(spec.needs(0).key, spec.needs(1).key);
    assert_eq!(spec.needs(1).key, spec.needs(2).key);
    // By way of another attribute.
    let spec = read(
        "JobType = \"Parametric\"; Parameters = 3; Executable = \"a\"; Low = _PARAM_ * 10;\n\
         Requirements = other.X > Low;",
    );
    assert!(!spec.uniform());
    assert_eq!(spec.needs(2).ad.to_string(), "[ low = 2 * 10 ]");
}

#[test]
fn the_key_does_not_depend_on_how_names_are_written() {
    let a = read("Executable = \"a\"; Requirements = other.GlueCEUniqueID == Wanted; Wanted = 1;");
    let b = read("executable = \"b\"; requirements = OTHER.glueceuniqueid == wanted; WANTED = 1;");
    assert_eq!(a.needs(0).key, b.needs(0).key);
    assert_eq!(*a.needs(0), *b.needs(0));
}

#[test]
fn strictly_nothing_is_forgiven_and_notices_stay() {
    let strict = ReadOptions {
        strict: true,
        ..ReadOptions::default()
    };
    let errors = JobSpec::read_with("[ Executable = a.out ]", &strict).unwrap_err();
    assert_eq!(errors[0].severity, Severity::Error);
    let latin1 = b"# caf\xe9\n[ Executable = \"a\" ]";
    assert!(JobSpec::read_bytes_with(latin1, &strict).is_err());
    let text = "[ Executable = \"a\"; FuzzyRank = true ]";
    let (_, notices) = JobSpec::read_with(text, &strict).unwrap();
    assert_eq!(notices[0].severity, Severity::Notice);
}

#[test]
fn a_dialect_can_be_asked_for() {
    let text = "Executable = \"a\"; Arguments = \"%s\"; Parameters = 3; ParameterStart = 1;";
    let counts = [Dialect::Glite, Dialect::Dirac, Dialect::Alien].map(|dialect| {
        let options = ReadOptions {
            dialect: Some(dialect),
            ..ReadOptions::default()
        };
        let (spec, _) = JobSpec::read_with(text, &options).unwrap();
        assert_eq!(spec.dialect(), dialect);
        spec.task_count()
    });
    assert_eq!(counts, [2, 3, 1]);
    assert_eq!(read(text).dialect(), Dialect::Dirac);
}

#[test]
fn nodes_in_files_count_where_that_is_asked_for() {
    let text = "Type = \"dag\"; Nodes = [ a = [ file = \"a.jdl\" ]; b = [ file = \"a.jdl\" ] ]; \
                Dependencies = { { a, b } };";
    assert!(JobSpec::read(text).is_err());
    let options = ReadOptions {
        missing_files: MissingFiles::Count,
        ..ReadOptions::default()
    };
    let (spec, warnings) = JobSpec::read_with(text, &options).unwrap();
    assert_eq!((spec.task_count(), warnings.len()), (2, 2));
    assert!(spec.has_dependencies());
}

#[test]
fn a_node_waits_for_all_tasks_of_another() {
    let spec = read(
        "Type = \"dag\"; Nodes = [ a = [ JobType = \"Parametric\"; Parameters = 3; Executable = \"x\" ]; \
         b = [ Executable = \"y\" ] ]; Dependencies = { { a, b } };",
    );
    assert_eq!(spec.nodes()[0].tasks, 0..3);
    assert_eq!(
        (0..4).map(|it| spec.node_of(it)).collect::<Vec<_>>(),
        [Some(0), Some(0), Some(0), Some(1)]
    );
    assert_eq!(*spec.nodes()[1].parents, [0]);
    assert_eq!(spec.task(task_id(3)).executable, "y".into());
}

#[test]
fn what_a_short_text_makes_large_is_refused() {
    let list = |count: usize, item: &str| vec![item; count].join(",");
    let nodes = list(
        5000,
        "[ Executable = \"a\"; InputSandbox = { root.InputSandbox } ]",
    );
    let files = list(8000, "\"f\"");
    let text =
        format!("Type = \"Collection\"; InputSandbox = {{ {files} }}; Nodes = {{ {nodes} }};");
    let errors = JobSpec::read(&text).unwrap_err();
    assert!(errors[0].message.contains("too much"), "{}", errors[0]);
    let (values, files) = (list(9000, "1"), list(9000, "\"_PARAM_\""));
    let text = format!(
        "JobType = \"Parametric\"; Parameters = {{ {values} }}; Executable = \"a\"; OutputSandbox = {{ {files} }};"
    );
    let errors = JobSpec::read(&text).unwrap_err();
    assert!(errors[0].message.contains("too many"), "{}", errors[0]);
}

#[test]
fn limits_are_told() {
    let many = "[],".repeat(fairway_jdl::job::NODES_MAX) + "[]";
    let text = format!("Type = \"Collection\"; Nodes = {{ {many} }};");
    let errors = JobSpec::read(&text).unwrap_err();
    assert!(errors[0].message.contains("100001 nodes"), "{}", errors[0]);
    let nodes: String = (0..1100)
        .map(|it| format!("n{it} = [ Executable = \"a\" ];"))
        .collect();
    let names: Vec<String> = (0..1100).map(|it| format!("n{it}")).collect();
    let group = names.join(",");
    let text = format!(
        "Type = \"dag\"; Nodes = [ {nodes} ]; Dependencies = {{ {{ {{ {group} }}, {{ {group} }} }} }};"
    );
    let errors = JobSpec::read(&text).unwrap_err();
    assert!(
        errors[0].message.contains("too many dependencies"),
        "{}",
        errors[0]
    );
}

proptest! {
    #[test]
    fn glite_counts_up_to_the_bound(end in -50_i64..500, start in -50_i64..50, step in 1_i64..30) {
        let text = format!(
            "JobType = \"Parametric\"; Parameters = {end}; ParameterStart = {start}; \
             ParameterStep = {step}; Executable = \"a\"; Arguments = \"_PARAM_\";"
        );
        let expected: Vec<String> = (start..end)
            .step_by(usize::try_from(step).unwrap())
            .map(|value| value.to_string())
            .collect();
        match JobSpec::read(&text) {
            Ok((spec, _)) => {
                let values: Vec<String> = (0..spec.task_count())
                    .map(|i| spec.task(task_id(i)).arguments.join(" "))
                    .collect();
                prop_assert_eq!(values, expected);
            }
            Err(_) => prop_assert!(expected.is_empty()),
        }
    }

    #[test]
    fn dirac_applies_factor_and_step(
        count in 1_u32..40, start in -9_i64..9, step in -9_i64..9, factor in -2_i64..3,
    ) {
        let text = format!(
            "Parameters = {count}; ParameterStart = {start}; ParameterStep = {step}; \
             ParameterFactor = {factor}; Executable = \"a\"; Arguments = \"%s\"; JobName = \"b\";"
        );
        let spec = read(&text);
        prop_assert_eq!(spec.dialect(), Dialect::Dirac);
        prop_assert_eq!(spec.task_count(), count);
        let mut value = start;
        for index in 0..count {
            prop_assert_eq!(spec.task(task_id(index)).arguments.join(" "), value.to_string());
            value = value * factor + step;
        }
    }

    #[test]
    fn a_list_makes_a_task_of_each_value(values in proptest::collection::vec("[a-z0-9 ./]{0,8}", 1..20)) {
        let list: Vec<String> = values.iter().map(|value| format!("\"{value}\"")).collect();
        let text = format!(
            "JobType = \"Parametric\"; Parameters = {{ {} }}; Executable = \"a\"; \
             Environment = {{ \"V=_PARAM_\" }};",
            list.join(", ")
        );
        let spec = read(&text);
        prop_assert_eq!(spec.task_count() as usize, values.len());
        for (index, value) in (0..).zip(&values) {
            let environment = spec.task(task_id(index)).environment;
            prop_assert_eq!(&*environment[0].1, value);
            prop_assert_eq!(&environment[1], &("ParameterValue".into(), value.as_str().into()));
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Err(errors) = JobSpec::read_bytes(&bytes) {
            prop_assert!(errors.iter().any(|e| e.severity == Severity::Error));
        }
    }

    #[test]
    fn every_task_of_what_is_accepted_can_be_made(
        body in proptest::collection::vec(
            (
                prop_oneof![
                    Just("Arguments"), Just("StdOutput"), Just("InputSandbox"), Just("Environment"),
                    Just("Parameters"), Just("JobType"), Just("CpuNumber"), Just("Requirements"),
                    Just("Site"), Just("ParameterStep"), Just("Parameters.A"), Just("CPUTime"),
                ],
                prop_oneof![
                    Just("1"), Just("\"_PARAM_\""), Just("{ \"a\", \"b\" }"), Just("\"%s%n\""),
                    Just("other.X > _PARAM_"), Just("\"Parametric\""), Just("{ \"A=1\" }"),
                    Just("\"%(A)s\""), Just("3"), Just("std.out"), Just("{ 1, 2 }"), Just("Arguments"),
                ],
            ),
            0..8,
        ),
    ) {
        let body: String = body.iter().map(|(name, value)| format!("{name} = {value};\n")).collect();
        let text = format!("Executable = \"a\";\n{body}");
        if let Ok((spec, _)) = JobSpec::read(&text) {
            prop_assert!((1..=TASKS_MAX).contains(&spec.task_count()));
            for index in 0..spec.task_count() {
                prop_assert_eq!(spec.task(task_id(index)).needs, spec.needs(index));
            }
        }
    }

    #[test]
    fn nodes_are_in_the_order_that_is_written(
        tasks in proptest::collection::vec(1_u32..4, 1..12),
        pairs in proptest::collection::vec((0_usize..12, 0_usize..12), 0..30),
        back in any::<bool>(),
    ) {
        let count = tasks.len();
        let nodes: String = tasks.iter().enumerate().map(|(i, tasks)| format!(
            "n{i} = [ JobType = \"Parametric\"; Parameters = {tasks}; Executable = \"a\" ];\n"
        )).collect();
        let edges: BTreeSet<(usize, usize)> = pairs
            .into_iter()
            .map(|(a, b)| (a % count, b % count))
            .filter(|(a, b)| a < b)
            .collect();
        let mut written: Vec<String> = edges.iter().map(|(a, b)| format!("{{ n{a}, n{b} }}")).collect();
        let closed = edges.first().filter(|_| back);
        written.extend(closed.map(|(a, b)| format!("{{ n{b}, n{a} }}")));
        let text = format!(
            "Type = \"dag\"; Nodes = [ {nodes} Dependencies = {{ {} }} ];", written.join(", ")
        );
        let spec = match JobSpec::read(&text) {
            Ok((spec, _)) => spec,
            Err(errors) => {
                prop_assert!(closed.is_some(), "{}", rendered(&errors));
                prop_assert!(errors.iter().any(|it| it.message.contains(" -> ")), "{}", rendered(&errors));
                return Ok(());
            }
        };
        prop_assert!(closed.is_none());
        let mut start = 0;
        for (place, (node, tasks)) in (0_u32..).zip(spec.nodes().iter().zip(&tasks)) {
            prop_assert_eq!(&node.tasks, &(start..start + tasks));
            start += tasks;
            for index in node.tasks.clone() {
                prop_assert_eq!(spec.node_of(index), Some(place));
            }
        }
        prop_assert_eq!(spec.task_count(), start);
        let read: BTreeSet<(usize, usize)> = spec.nodes().iter().enumerate()
            .flat_map(|(a, node)| node.children.iter().map(move |b| (a, *b as usize)))
            .collect();
        let back: BTreeSet<(usize, usize)> = spec.nodes().iter().enumerate()
            .flat_map(|(b, node)| node.parents.iter().map(move |a| (*a as usize, b)))
            .collect();
        prop_assert_eq!(&read, &edges);
        prop_assert_eq!(&back, &edges);
    }

    #[test]
    fn a_node_takes_over_what_it_does_not_say(
        of_all in proptest::collection::btree_map("Own[A-D]", 0_i64..9, 0..5),
        of_node in proptest::collection::btree_map("Own[A-D]", 10_i64..19, 0..5),
    ) {
        let written = |ad: &std::collections::BTreeMap<String, i64>| -> String {
            ad.iter().map(|(name, value)| format!("{name} = {value}; ")).collect()
        };
        let text = format!(
            "Type = \"Collection\"; {} Nodes = {{ [ Executable = \"a\"; {} ] }};",
            written(&of_all), written(&of_node)
        );
        let spec = read(&text);
        let ad = spec.node_ad(0).unwrap();
        for (name, value) in of_all.iter().filter(|(name, _)| !of_node.contains_key(*name)).chain(&of_node) {
            prop_assert_eq!(ad.get(name).unwrap().to_string(), value.to_string());
        }
        prop_assert_eq!(ad.len(), 1 + of_all.keys().chain(of_node.keys()).collect::<BTreeSet<_>>().len());
    }
}
