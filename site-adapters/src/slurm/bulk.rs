//! Pilots that differ only in their number and document go to Slurm as one job array. Pure.
//!
//! The array has the name of its first pilot, and a member's index is its pilot's number minus
//! the first one's. So a member's name follows from the array's name and the index, and a
//! member is found by its name although Slurm keeps one name for all.

use fairway_model::PilotId;

use crate::PilotJob;

/// Longest script of an array, in bytes. Slurm takes 4 MiB by default; but it sends the whole
/// script to the node of each member, which is why it is kept far below.
const SCRIPT_BYTES_MAX: usize = 128 << 10;
/// What a member costs in the script besides its document, in bytes: generously.
const MEMBER_BYTES: usize = 128;

/// One submission: a job, or an array of several.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    pub(super) members: Vec<Member<'a>>,
    bytes: usize,
}

/// One job of a submission.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member<'a> {
    /// Its place in the call.
    pub(super) place: usize,
    /// Its index in the array.
    pub(super) index: u64,
    pub(super) job: &'a PilotJob,
}

/// What an array may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Indices are below this: Slurm's `MaxArraySize`. 0: no arrays.
    pub(super) index_end: u64,
    /// Only indices without gaps.
    pub(super) contiguous: bool,
}

impl<'a> Batch<'a> {
    fn of(place: usize, job: &'a PilotJob) -> Self {
        Self {
            members: vec![Member {
                place,
                index: 0,
                job,
            }],
            bytes: cost(job),
        }
    }

    /// The one that the submission is named and rendered after.
    pub(super) fn first(&self) -> &'a PilotJob {
        self.members[0].job
    }

    /// The indices for `--array`, if it is one: `0-3,7`.
    pub(super) fn array(&self) -> Option<String> {
        (self.members.len() > 1)
            .then(|| ranges(&self.members.iter().map(|it| it.index).collect::<Vec<_>>()))
    }

    fn takes(&self, job: &PilotJob, rules: Rules) -> bool {
        let index = job.pilot.0 - self.first().pilot.0;
        let last = self.members.last().map_or(0, |it| it.index);
        index > last
            && index < rules.index_end
            && (!rules.contiguous || index == last + 1)
            && self.bytes + cost(job) <= SCRIPT_BYTES_MAX
            && are_alike(self.first(), job)
    }
}

fn cost(job: &PilotJob) -> usize {
    job.stdin.len() + MEMBER_BYTES + job.program.iter().map(|word| word.len() + 3).sum::<usize>()
}

/// Whether there is an array among `jobs`, if Slurm takes arrays.
pub(super) fn may_have_arrays(jobs: &[PilotJob]) -> bool {
    let any = Rules {
        index_end: u64::MAX,
        contiguous: false,
    };
    batches(jobs, any)
        .iter()
        .any(|batch| batch.members.len() > 1)
}

/// Arranges `jobs` for submission. Each is in one batch.
pub(super) fn batches(jobs: &[PilotJob], rules: Rules) -> Vec<Batch<'_>> {
    let (mut fit, alone): (Vec<_>, Vec<_>) = jobs
        .iter()
        .enumerate()
        .partition(|(_, job)| stem(job).is_some());
    fit.sort_by_key(|(_, job)| job.pilot);
    let mut batches: Vec<Batch<'_>> = Vec::new();
    // Of each kind the last batch is the one that may still grow.
    let mut open: Vec<usize> = Vec::new();
    for (place, job) in fit {
        let kind = open
            .iter_mut()
            .find(|batch| are_alike(batches[**batch].first(), job));
        match kind {
            Some(batch) if batches[*batch].takes(job, rules) => {
                let batch = &mut batches[*batch];
                batch.bytes += cost(job);
                batch.members.push(Member {
                    place,
                    index: job.pilot.0 - batch.first().pilot.0,
                    job,
                });
                continue;
            }
            Some(batch) => *batch = batches.len(),
            None => open.push(batches.len()),
        }
        batches.push(Batch::of(place, job));
    }
    batches.extend(alone.into_iter().map(|(place, job)| Batch::of(place, job)));
    batches
}

/// A pilot's name without its number, if it is a name that numbers can be added to and a job
/// that can be a member.
fn stem(job: &PilotJob) -> Option<&str> {
    let (stem, number) = split_name(&job.name)?;
    (number == job.pilot.0 && job.nodes <= 1 && !job.stdin.contains('\0')).then_some(stem)
}

/// `fw-0badcafe-p42` is `fw-0badcafe-p` and 42.
fn split_name(name: &str) -> Option<(&str, u64)> {
    let digits = name.bytes().rev().take_while(u8::is_ascii_digit).count();
    let (stem, number) = name.split_at(name.len() - digits);
    let is_canonical = !number.starts_with('0') || number == "0";
    (stem.ends_with('p') && is_canonical).then_some((stem, number.parse().ok()?))
}

/// The name of the member `index` of an array named `name`: the array's own if it is not ours.
pub(super) fn member_name(name: &str, index: u64) -> String {
    match split_name(name) {
        Some((stem, first)) => format!("{stem}{}", first.saturating_add(index)),
        None => name.to_owned(),
    }
}

/// Whether two jobs are equal in all but number and document.
fn are_alike(one: &PilotJob, other: &PilotJob) -> bool {
    let PilotJob {
        pilot: PilotId(_),
        ce,
        name: _,
        resources,
        nodes,
        run_as,
        reserve_at,
        avoid,
        walltime_s,
        program,
        stdin: _,
    } = one;
    stem(one) == stem(other)
        && *resources == other.resources
        && *nodes == other.nodes
        && *run_as == other.run_as
        && *reserve_at == other.reserve_at
        && *avoid == other.avoid
        && *walltime_s == other.walltime_s
        && *program == other.program
        && *ce == other.ce
}

/// Ascending numbers as Slurm writes them: `0-3,7`.
pub(super) fn ranges(numbers: &[u64]) -> String {
    let mut text = String::new();
    let mut rest = numbers;
    while let [first, ..] = rest {
        let length = rest
            .iter()
            .zip(*first..)
            .take_while(|(number, expected)| *number == expected)
            .count();
        let last = rest[length - 1];
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(&first.to_string());
        if last > *first {
            text.push('-');
            text.push_str(&last.to_string());
        }
        rest = &rest[length..];
    }
    text
}

/// The numbers in `0-3,7%2`; what follows the `%` says how many may run at a time. `None` if it
/// is something else.
pub(super) fn numbers(ranges: &str) -> Option<Vec<u64>> {
    /// More than any `MaxArraySize` (it is at most 4 000 001).
    const NUMBERS_MAX: usize = 4 << 20;
    let ranges = ranges.split('%').next()?;
    let mut numbers = Vec::new();
    for range in ranges.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (last, step) = last.split_once(':').unwrap_or((last, "1"));
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        let step: usize = step.parse().ok().filter(|step| *step > 0)?;
        numbers.extend((first..=last).step_by(step).take(NUMBERS_MAX));
        if numbers.len() > NUMBERS_MAX {
            return None;
        }
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::super::tests::job;
    use super::*;

    fn numbered(number: u64) -> PilotJob {
        let mut job = job();
        job.pilot = PilotId(number);
        job.name = format!("fw-0badcafe-p{number}");
        job.stdin = format!("document {number}");
        job
    }

    const RULES: Rules = Rules {
        index_end: 1001,
        contiguous: false,
    };

    fn arrays(jobs: &[PilotJob], rules: Rules) -> Vec<(String, String)> {
        let batches = batches(jobs, rules);
        let mut places: Vec<usize> = batches
            .iter()
            .flat_map(|batch| batch.members.iter().map(|member| member.place))
            .collect();
        places.sort_unstable();
        assert_eq!(places, (0..jobs.len()).collect::<Vec<_>>());
        for member in batches.iter().flat_map(|batch| &batch.members) {
            assert_eq!(jobs[member.place].name, member.job.name);
        }
        batches
            .iter()
            .map(|batch| {
                for member in &batch.members {
                    let name = member_name(&batch.first().name, member.index);
                    assert!(batch.members.len() == 1 || name == member.job.name);
                }
                (
                    batch.first().name.clone(),
                    batch.array().unwrap_or_default(),
                )
            })
            .collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |(name, array): &(&str, &str)| ((*name).to_owned(), (*array).to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn equal_pilots_become_one_array() {
        let jobs: Vec<_> = [44, 42, 43, 50].map(numbered).into();
        assert_eq!(arrays(&jobs, RULES), pairs(&[("fw-0badcafe-p42", "0-2,8")]));
        let contiguous = Rules {
            contiguous: true,
            ..RULES
        };
        assert_eq!(
            arrays(&jobs, contiguous),
            pairs(&[("fw-0badcafe-p42", "0-2"), ("fw-0badcafe-p50", "")])
        );
    }

    #[test]
    fn what_differs_goes_apart() {
        let mut jobs: Vec<_> = (0..10).map(numbered).collect();
        jobs[1].walltime_s += 1;
        jobs[3].walltime_s += 1;
        jobs[4].nodes = 2;
        jobs[5].name = "fw-test-n5".into();
        jobs[6].name = "fw-0badcafe-p06".into();
        jobs[7].stdin.push('\0');
        jobs[8].name = "fw-0badcafe-p9".into();
        assert_eq!(
            arrays(&jobs, RULES),
            pairs(&[
                ("fw-0badcafe-p0", "0,2,9"),
                ("fw-0badcafe-p1", "0,2"),
                ("fw-0badcafe-p4", ""),
                ("fw-test-n5", ""),
                ("fw-0badcafe-p06", ""),
                ("fw-0badcafe-p7", ""),
                ("fw-0badcafe-p9", ""),
            ])
        );
    }

    #[test]
    fn arrays_stay_within_slurms_bounds() {
        let jobs: Vec<_> = [7, 8, 9, 10, 2000].map(numbered).into();
        let short = Rules {
            index_end: 3,
            ..RULES
        };
        assert_eq!(
            arrays(&jobs, short),
            pairs(&[
                ("fw-0badcafe-p7", "0-2"),
                ("fw-0badcafe-p10", ""),
                ("fw-0badcafe-p2000", ""),
            ])
        );
        for index_end in [0, 1] {
            let none = Rules { index_end, ..RULES };
            assert_eq!(arrays(&jobs, none).len(), 5);
        }

        let mut long: Vec<_> = (0..40).map(numbered).collect();
        long.iter_mut()
            .for_each(|job| job.stdin = "x".repeat(10_000));
        let arrays = arrays(&long, RULES);
        assert_eq!(arrays.len(), 4, "{arrays:?}");
    }

    #[test]
    fn ranges_can_be_read_back() {
        let sets: [&[u64]; 5] = [&[], &[0], &[3, 4], &[0, 2, 4], &[1, 2, 3, 9, 10, 99]];
        for set in sets.into_iter().skip(1) {
            assert_eq!(numbers(&ranges(set)).as_deref(), Some(set));
        }
        assert_eq!(ranges(sets[0]), "");
        assert_eq!(numbers("0-9:3,20%5"), Some(vec![0, 3, 6, 9, 20]));
        for text in ["", "a", "1-", "-1", "1,", "1-9:0", "0-5,..."] {
            assert_eq!(numbers(text), None, "{text}");
        }
    }
}
