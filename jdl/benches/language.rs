//! How fast the language is: reading a description, evaluating Requirements against a
//! site. `benches/reference.py` measures the same evaluation in HTCondor's library,
//! called through its Python bindings.
//!
//! ```sh
//! cargo bench -p fairway-jdl
//! python jdl/benches/reference.py   # in an environment with PyPI's `htcondor`
//! ```

#![expect(clippy::unwrap_used, reason = "a panic is how a benchmark fails")]

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fairway_jdl::syntax::format;
use fairway_jdl::{Ad, Expr, eval};

const REQUIREMENTS: &str = include_str!("requirements.classad");
const SITE: &str = include_str!("site.classad");
const JOB: &str = include_str!("job.jdl");

fn evaluating(criterion: &mut Criterion) {
    let requirements = Expr::parse(REQUIREMENTS).unwrap();
    let (job, site) = (Ad::parse(JOB).unwrap(), Ad::parse(SITE).unwrap());
    assert!(eval(&requirements, &job, Some(&site)).is_true());
    criterion.bench_function("evaluate Requirements", |bencher| {
        bencher.iter(|| eval(&requirements, &job, Some(&site)));
    });
}

fn reading(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("read");
    for (name, text) in [("a job", JOB), ("a site", SITE)] {
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |bencher| bencher.iter(|| Ad::parse(text).unwrap()));
    }
    group.throughput(Throughput::Bytes(JOB.len() as u64));
    group.bench_function("a job, to lay it out", |bencher| {
        bencher.iter(|| format(JOB).unwrap())
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = evaluating, reading
}
criterion_main!(benches);
