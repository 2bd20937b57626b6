//! Threads for one call: scoped, so a forked process finds no dead pool, and none for small work.

use crate::{Error, Result};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// How many threads a call may use: `OXIFORMERS_NUM_THREADS`, 1 where `TOKENIZERS_PARALLELISM` is off, or the cores.
pub fn threads() -> usize {
    // Asking the system reads several files; the answer does not change.
    static CORES: OnceLock<usize> = OnceLock::new();
    if let Some(count) =
        std::env::var("OXIFORMERS_NUM_THREADS").ok().and_then(|text| text.trim().parse().ok())
    {
        return usize::max(count, 1);
    }
    let off = std::env::var("TOKENIZERS_PARALLELISM").is_ok_and(|text| {
        matches!(text.trim().to_ascii_lowercase().as_str(), "" | "off" | "false" | "f" | "no" | "n" | "0")
    });
    if off {
        return 1;
    }
    *CORES.get_or_init(|| thread::available_parallelism().map_or(1, usize::from))
}

/// `work(0), ..., work(count - 1)` in order, on up to `threads` threads of which the caller is one.
///
/// Threads take the next index when they are done with one. Where a thread can't be started the others do its work.
pub fn map<T: Send>(count: usize, threads: usize, work: impl Fn(usize) -> T + Sync) -> Result<Vec<T>> {
    if threads <= 1 || count <= 1 {
        return Ok((0..count).map(work).collect());
    }
    let next = AtomicUsize::new(0);
    let run = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return done;
            }
            done.push((index, work(index)));
        }
    };
    let mut results = thread::scope(|scope| {
        let helpers: Vec<_> = (1..threads.min(count))
            .map_while(|_| thread::Builder::new().name("oxiformers".into()).spawn_scoped(scope, run).ok())
            .collect();
        let mut results = run();
        for helper in helpers {
            let part = helper.join().map_err(|_| {
                Error::io(
                    "a worker thread",
                    std::io::Error::other("it panicked; this is a bug in oxiformers"),
                )
            })?;
            results.extend(part);
        }
        Ok(results)
    })?;
    results.sort_unstable_by_key(|result| result.0);
    Ok(results.into_iter().map(|result| result.1).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_order_and_does_everything_once() {
        for threads in [1, 2, 7, 64] {
            let done = map(1000, threads, |index| index * index).unwrap_or_default();
            assert_eq!(done, (0..1000).map(|index| index * index).collect::<Vec<_>>());
        }
        assert!(map(0, 4, |index| index).is_ok_and(|done| done.is_empty()));
    }

    #[test]
    fn a_panic_becomes_an_error() {
        let failed = map(2, 2, |index| {
            // Both threads must be running, so that the panic is the helper's.
            std::thread::sleep(std::time::Duration::from_millis(50));
            assert!(std::thread::current().name() != Some("oxiformers"), "on purpose");
            index
        });
        assert!(failed.is_err());
    }
}
