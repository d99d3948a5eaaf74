//! What people see.

use fairway_sim::{Outcome, report};

use crate::{jobs, run, standing};

fn outcomes() -> Vec<Outcome> {
    let workload = jobs(&[
        (0, 300, 2, 1),
        (0, 200, 1, 2),
        (60, 200, 1, 2),
        (120, 600, 4, 3),
        (180, 100, 1, 1),
    ]);
    let setup = standing(2, 4);
    ["fifo", "fairshare"]
        .map(|kind| run(&setup, &workload, kind))
        .into()
}

#[test]
fn outcomes_stand_side_by_side() {
    insta::assert_snapshot!(report::table(&outcomes()));
}

#[test]
fn a_page_holds_everything() {
    let about = ["2 nodes <of> 4 cores & no more".to_owned()];
    let page = report::html("A tiny run", &about, &outcomes());
    insta::assert_snapshot!(page);
}

#[test]
fn plots_are_pictures_of_their_own() {
    let pictures = report::pictures(&outcomes());
    let names: Vec<&str> = pictures.iter().map(|it| it.name.as_str()).collect();
    let expected = [
        "utilisation",
        "share-error",
        "shares-1-fifo",
        "shares-2-fairshare",
    ];
    assert_eq!(names, expected);
    assert!(pictures.iter().all(|it| is_well_formed(&it.svg)));
    insta::assert_snapshot!(pictures[3].svg);
}

#[test]
fn a_program_reads_the_same() {
    let mut outcomes = outcomes();
    outcomes.truncate(1);
    outcomes[0].series.truncate(2);
    insta::assert_json_snapshot!(outcomes);
}

/// Whether every element that is opened is closed, in the right order.
fn is_well_formed(page: &str) -> bool {
    let mut open: Vec<&str> = Vec::new();
    for tag in page.split('<').skip(1) {
        let Some((tag, _)) = tag.split_once('>') else {
            return false;
        };
        if tag.starts_with('!') || tag.ends_with('/') {
            continue;
        }
        match tag.strip_prefix('/') {
            Some(name) => {
                if open.pop() != Some(name) {
                    return false;
                }
            }
            None => open.extend(tag.split_whitespace().next()),
        }
    }
    open.is_empty()
}

#[test]
fn a_page_about_much_is_bounded_and_well_formed() {
    let rows: Vec<_> = (0..6000)
        .map(|n| (n * 7, 60 + n * 37 % 900, 1 + n % 3, n % 40))
        .collect();
    let workload = jobs(&rows);
    let mut setup = standing(100, 4);
    let outcome = run(&setup, &workload, "fairshare");
    let page = report::html("Much", &[], std::slice::from_ref(&outcome));
    assert!(is_well_formed(&page));
    assert!(page.len() < 500_000, "{}", page.len());
    assert!(page.contains("groups of 3 nodes"));
    setup.until_s = Some(1);
    let nothing = run(&setup, &workload, "fifo");
    assert!(is_well_formed(&report::html("Little", &[], &[nothing])));
    assert!(is_well_formed(&report::html("Nothing", &[], &[])));
}
