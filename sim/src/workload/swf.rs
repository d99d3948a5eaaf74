//! Traces in the Standard Workload Format (Chapin et al., "Benchmarks and standards for the
//! evaluation of parallel job schedulers", JSSPP 1999, version 2.2 of the archive): one job a row
//! of 18 numbers, comments after `;`, -1 for what is not known.
//!
//! Traces are what people made of logs: rows out of order, fractions, rows that break off,
//! comments at the end of rows. A row that cannot be used is counted and told; the others are.

use std::io::{BufRead, Read};

use fairway_model::Timestamp;

use super::specs::{Shape, Specs, round_walltime};
use super::{Names, SimJob, Workload};
use crate::SimError;

/// Longest row. A file without line ends is no trace.
const ROW_BYTES_MAX: u64 = 1 << 20;

/// Most digits that a number makes sense with: 10^15 s are 30 million years.
const NUMBER_MAX: f64 = 1e15;

/// What counts of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Row {
    submit_ms: i64,
    runtime_ms: u64,
    cores: u32,
    memory_mib: u64,
    walltime_s: Option<u64>,
    user: i64,
    group: i64,
}

/// Why a row cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Useless {
    /// It has fewer numbers than the fields that must be known.
    Short,
    /// A field is no number.
    NoNumber,
    /// It never ran: its runtime is not known.
    NeverRan,
    /// Neither allocated nor requested processors are known.
    NoProcessors,
    /// Its submission is not known.
    NoSubmission,
    /// It asks for more than can be written down.
    Absurd,
}

/// Fields by their number in the standard, from 1.
struct Fields<'a>(Vec<&'a str>);

impl Fields<'_> {
    /// The number in a field; -1 if the row ends before it.
    fn number(&self, field: usize) -> Result<f64, Useless> {
        let Some(text) = self.0.get(field - 1) else {
            return Ok(-1.0);
        };
        let number: f64 = text.parse().map_err(|_| Useless::NoNumber)?;
        if number.is_nan() || number.abs() > NUMBER_MAX {
            return Err(Useless::NoNumber);
        }
        Ok(number)
    }

    /// The first of two fields that is more than zero.
    fn either(&self, first: usize, second: usize) -> Result<Option<f64>, Useless> {
        let (first, second) = (self.number(first)?, self.number(second)?);
        Ok([first, second].into_iter().find(|&number| number > 0.0))
    }
}

/// Reads one row. `None`: there is nothing in it.
fn row(line: &str) -> Option<Result<Row, Useless>> {
    let told = line.split(';').next().unwrap_or_default();
    let fields: Vec<&str> = told.split_whitespace().collect();
    (!fields.is_empty()).then(|| usable(&Fields(fields)))
}

fn usable(fields: &Fields<'_>) -> Result<Row, Useless> {
    // Up to the allocated processors at least.
    if fields.0.len() < 5 {
        return Err(Useless::Short);
    }
    let submit = fields.number(2)?;
    if submit < 0.0 {
        return Err(Useless::NoSubmission);
    }
    let runtime = fields.number(4)?;
    if runtime < 0.0 {
        return Err(Useless::NeverRan);
    }
    let cores = fields.either(5, 8)?.ok_or(Useless::NoProcessors)?;
    let requested = fields.number(9)?;
    // Kilobytes of each processor: what was asked for, not what was used.
    let memory_kib = fields.number(10)?.max(0.0) * cores;
    Ok(Row {
        submit_ms: (submit * 1000.0) as i64,
        runtime_ms: (runtime * 1000.0) as u64,
        cores: cores.ceil().min(f64::from(u32::MAX)) as u32,
        memory_mib: (memory_kib / 1024.0).ceil() as u64,
        walltime_s: (requested > 0.0).then(|| requested.ceil() as u64),
        user: fields.number(12)? as i64,
        group: fields.number(13)? as i64,
    })
}

/// Counts of what was noticed.
#[derive(Debug, Default)]
struct Noticed {
    useless: [(u64, &'static str); 6],
    no_walltime: u64,
    cut: u64,
    no_user: u64,
}

impl Noticed {
    fn note(&mut self, useless: Useless) {
        let because = match useless {
            Useless::Short => "broke off before the allocated processors",
            Useless::NoNumber => "had something that is no number",
            Useless::NeverRan => "never ran",
            Useless::NoProcessors => "told no processors",
            Useless::NoSubmission => "told no submission",
            Useless::Absurd => "asked for more than any machine has",
        };
        let kind = &mut self.useless[useless as usize];
        *kind = (kind.0 + 1, because);
    }

    fn remarks(&self) -> Vec<String> {
        let told = |n: u64, what: &str| (n > 0).then(|| format!("{n} of the rows {what}"));
        let left_out = self
            .useless
            .iter()
            .filter_map(|&(n, because)| told(n, &format!("{because}: left out")));
        let others = [
            (
                self.no_walltime,
                "asked for no time: their runtime, rounded up, is taken",
            ),
            (
                self.cut,
                "ran longer than was asked for: that is what they run here",
            ),
            (self.no_user, "told no user: `u-1` is taken"),
        ];
        let others = others.into_iter().filter_map(|(n, what)| told(n, what));
        left_out.chain(others).collect()
    }
}

/// Reads a trace, compressed or not.
pub(super) fn read(mut input: impl BufRead) -> Result<Workload, SimError> {
    let begin = input.fill_buf().map_err(unreadable)?;
    if begin.starts_with(&[0x1f, 0x8b]) {
        let plain = flate2::bufread::MultiGzDecoder::new(input);
        return rows(std::io::BufReader::new(plain));
    }
    rows(input)
}

fn unreadable(error: std::io::Error) -> SimError {
    SimError::Read {
        path: "the trace".into(),
        error,
    }
}

fn rows(mut input: impl BufRead) -> Result<Workload, SimError> {
    let mut noticed = Noticed::default();
    let mut trace = Trace::new();
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let mut limited = input.by_ref().take(ROW_BYTES_MAX);
        let read = limited.read_until(b'\n', &mut bytes).map_err(unreadable)?;
        if read == 0 {
            break;
        }
        if read as u64 == ROW_BYTES_MAX {
            return Err(SimError::Text {
                what: "trace",
                reason: "a row has more than a million characters: this is no trace in the \
                         Standard Workload Format (plain text, or the same compressed by gzip)"
                    .into(),
            });
        }
        // What is no UTF-8 stands in comments; in numbers it is no number.
        match row(&String::from_utf8_lossy(&bytes)) {
            None => {}
            Some(Ok(row)) => trace.add(row, &mut noticed),
            Some(Err(useless)) => noticed.note(useless),
        }
    }
    trace.finish(&noticed)
}

/// What was read of a trace so far.
struct Trace {
    workload: Workload,
    users: Names<fairway_model::UserName>,
    groups: Names<fairway_model::GroupName>,
    specs: Specs,
}

impl Trace {
    fn new() -> Self {
        Self {
            workload: Workload::default(),
            users: Names::new(),
            groups: Names::new(),
            specs: Specs::default(),
        }
    }

    fn add(&mut self, row: Row, noticed: &mut Noticed) {
        let ran_s = row.runtime_ms.div_ceil(1000).max(1);
        let walltime_s = row.walltime_s.unwrap_or_else(|| {
            noticed.no_walltime += 1;
            round_walltime(ran_s)
        });
        noticed.cut += u64::from(ran_s > walltime_s);
        noticed.no_user += u64::from(row.user < 0);
        // The language's longest.
        let walltime_s = walltime_s.clamp(1, 3_155_760_000);
        let shape = Shape {
            tasks: 1,
            cores: row.cores,
            memory_mib: row.memory_mib,
            gpus: 0,
            walltime_s,
            retries: 0,
        };
        // What the language has no number for, no machine has.
        let Ok(spec) = self.specs.place(shape) else {
            noticed.note(Useless::Absurd);
            return;
        };
        let user = self.users.place(&format!("u{}", row.user));
        let group = (row.group >= 0).then(|| self.groups.place(&format!("g{}", row.group)));
        let job = SimJob {
            at: Timestamp(row.submit_ms),
            user: user.unwrap_or_default(),
            group: group.flatten(),
            spec,
            first: self.workload.runtimes_ms.len(),
        };
        self.workload.jobs.push(job);
        // What a batch system lets run over its time is its own matter: the row did end.
        let most_ms = walltime_s.saturating_mul(1000);
        self.workload.runtimes_ms.push(row.runtime_ms.min(most_ms));
    }

    fn finish(self, noticed: &Noticed) -> Result<Workload, SimError> {
        let remarks = noticed.remarks();
        if self.workload.jobs.is_empty() {
            let told = match &remarks[..] {
                [] => "it has no rows".to_owned(),
                some => some.join("; "),
            };
            return Err(SimError::Text {
                what: "trace",
                reason: format!(
                    "no job in it can be used: {told}. A row is 18 numbers; see \
                     https://www.cs.huji.ac.il/labs/parallel/workload/swf.html"
                ),
            });
        }
        let workload = Workload {
            users: self.users.all,
            groups: self.groups.all,
            specs: self.specs.all,
            remarks,
            ..self.workload
        };
        Ok(workload.in_order())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(line: &str) -> Result<Row, Useless> {
        row(line).unwrap()
    }

    #[test]
    fn a_row_is_read_by_the_standard() {
        let line = "  1  0 477768  35541.5  160 32096 89734 160 108000 1024 1 7 3 1 1 -1 -1 -1\r";
        let expected = Row {
            submit_ms: 0,
            runtime_ms: 35_541_500,
            cores: 160,
            memory_mib: 160,
            walltime_s: Some(108_000),
            user: 7,
            group: 3,
        };
        assert_eq!(one(line), Ok(expected));
    }

    #[test]
    fn unknowns_are_unknown_and_oddities_do_not_matter() {
        assert_eq!(row("; 1 2 3"), None);
        assert_eq!(row("  \t "), None);
        let short = one("1 10 -1 5 2 ; no more is known").unwrap();
        assert_eq!((short.cores, short.walltime_s, short.user), (2, None, -1));
        let requested = one("1 10 -1 5 -1 -1 -1 4").unwrap();
        assert_eq!(requested.cores, 4);
        assert_eq!(one("1 10 -1 5"), Err(Useless::Short));
        assert_eq!(one("1 10 -1 -1 2"), Err(Useless::NeverRan));
        assert_eq!(one("1 10 -1 5 0 0 0 0"), Err(Useless::NoProcessors));
        assert_eq!(one("1 -1 -1 5 2"), Err(Useless::NoSubmission));
        assert_eq!(one("1 ten -1 5 2"), Err(Useless::NoNumber));
        assert_eq!(one("1 NaN -1 5 2"), Err(Useless::NoNumber));
        assert_eq!(one("1 1e300 -1 5 2"), Err(Useless::NoNumber));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = read(&bytes[..]);
        }

        #[test]
        fn no_numbers_make_it_panic(
            rows in prop::collection::vec(
                prop::collection::vec(prop_oneof![
                    any::<i64>().prop_map(|n| n.to_string()),
                    any::<f64>().prop_map(|n| n.to_string()),
                    Just("-1".to_owned()),
                    "[0-9;]{1,3}",
                ], 0..20),
                0..8,
            )
        ) {
            let text: Vec<String> = rows.iter().map(|row| row.join(" ")).collect();
            if let Ok(workload) = read(text.join("\n").as_bytes()) {
                prop_assert!(workload.jobs.is_sorted_by_key(|job| job.at));
                prop_assert_eq!(workload.jobs.len(), workload.runtimes_ms.len());
            }
        }
    }
}
