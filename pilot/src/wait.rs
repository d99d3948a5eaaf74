//! Collecting an ended child with what it used. The standard library drops that
//! account, and no safe wrapper of `wait4` exists: this is the crate's one unsafe call.
#![expect(
    unsafe_code,
    reason = "wait4 is the only way to learn what one child used"
)]

use std::io;
use std::time::Duration;

use fairway_model::AttemptEnd;
use rustix::process::Pid;

/// A child that ended, and what it and the descendants that it waited for used.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    /// How it ended.
    pub(crate) end: AttemptEnd,
    /// User and system time.
    pub(crate) cpu: Duration,
    /// Peak resident memory of the largest single process, in KiB.
    pub(crate) memory_peak_kib: u64,
}

/// Collects the child `pid` if it has ended; does not wait.
pub(crate) fn collect(pid: Pid) -> io::Result<Option<Ended>> {
    let mut status: libc::c_int = 0;
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both pointers are to live, writable memory of the right type; an all-zero
    // `rusage` is valid, so that it is initialised whatever the kernel writes.
    let (found, usage) = unsafe {
        let pid = pid.as_raw_nonzero().get();
        let found = libc::wait4(pid, &raw mut status, libc::WNOHANG, usage.as_mut_ptr());
        (found, usage.assume_init())
    };
    match found {
        0 => return Ok(None),
        -1 => return Err(io::Error::last_os_error()),
        _ => {}
    }
    let end = if libc::WIFSIGNALED(status) {
        AttemptEnd::Signaled {
            signal: libc::WTERMSIG(status),
        }
    } else {
        AttemptEnd::Exited {
            code: libc::WEXITSTATUS(status),
        }
    };
    Ok(Some(Ended {
        end,
        cpu: duration(usage.ru_utime) + duration(usage.ru_stime),
        memory_peak_kib: u64::try_from(usage.ru_maxrss).unwrap_or(0),
    }))
}

fn duration(time: libc::timeval) -> Duration {
    let micros = time
        .tv_sec
        .saturating_mul(1_000_000)
        .saturating_add(time.tv_usec);
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}
