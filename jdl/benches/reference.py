"""The evaluation that benches/language.rs measures, in HTCondor's library.

Prints the time of one evaluation, called through the library's Python bindings,
and of one that asks both ads whether they match.
"""

import pathlib
import timeit

import htcondor2  # registers the functions that HTCondor adds to the library
import classad2

here = pathlib.Path(__file__).parent
job = classad2.ClassAd((here / "job.jdl").read_text())
site = classad2.ClassAd((here / "site.classad").read_text())
requirements = classad2.ExprTree((here / "requirements.classad").read_text())
assert requirements.eval(job, site) is True

for name, call in [
    ("evaluate Requirements", lambda: requirements.eval(job, site)),
    ("match", lambda: site.matches(job)),
    ("read a job", lambda: classad2.ClassAd((here / "job.jdl").read_text())),
]:
    count = 2000
    seconds = min(timeit.repeat(call, number=count, repeat=5)) / count
    print(f"{name}: {seconds * 1e6:.2f} µs")
