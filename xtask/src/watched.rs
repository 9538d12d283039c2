//! Watches files of the checkout by polling.
//!
//! Reading the times of some hundred files takes a millisecond, so the notification APIs of the operating systems,
//! which all differ, are not needed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// When each file was last written.
type Times = BTreeMap<PathBuf, SystemTime>;

/// Files, and directories with all that is below them.
#[derive(Debug)]
pub(crate) struct Watched {
    roots: Vec<PathBuf>,
    /// The state at the last reported change.
    told: Times,
    /// The state at the last check.
    seen: Times,
}

impl Watched {
    /// Remembers the current state. Files may be created later.
    #[must_use]
    pub(crate) fn new(roots: Vec<PathBuf>) -> Self {
        let told = times(&roots);
        Self { roots, seen: told.clone(), told }
    }

    /// The files that were written, created or removed since the last reported change. A change is reported by the
    /// second check that sees it, so not while files are still being written.
    pub(crate) fn changed(&mut self) -> Vec<PathBuf> {
        let now = times(&self.roots);
        if now != self.seen {
            self.seen = now;
            return Vec::new();
        }
        let before = std::mem::replace(&mut self.told, now);
        let mut changed: Vec<_> = self.told.iter().filter(|(file, time)| before.get(*file) != Some(time)).collect();
        changed.extend(before.iter().filter(|(file, _)| !self.told.contains_key(*file)));
        changed.into_iter().map(|(file, _)| file.clone()).collect()
    }
}

fn times(roots: &[PathBuf]) -> Times {
    let mut times = Times::new();
    for root in roots {
        add(root, &mut times);
    }
    times
}

/// An unreadable file is treated as missing: it may have been removed since its name was read.
fn add(path: &Path, times: &mut Times) {
    // Editors keep files of their own beside the one that is edited.
    let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    let Ok(metadata) = fs::metadata(path) else { return };
    if metadata.is_dir() {
        fs::read_dir(path).into_iter().flatten().flatten().for_each(|entry| add(&entry.path(), times));
    } else if let Ok(time) = metadata.modified()
        && !hidden
    {
        times.insert(path.to_owned(), time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_reported_once_and_by_the_second_check() {
        let directory = std::env::temp_dir().join(format!("latchkey-watched-{}", std::process::id()));
        let file = directory.join("below/file.rs");
        fs::create_dir_all(directory.join("below")).unwrap();
        let mut watched = Watched::new(vec![directory.clone(), directory.join("absent")]);
        assert_eq!(watched.changed(), Vec::<PathBuf>::new());

        let write = |seconds| {
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            fs::File::create(&file).unwrap().set_modified(time).unwrap();
        };
        let remove = |_| fs::remove_file(&file).unwrap();
        for change in [&write as &dyn Fn(u64), &write, &remove] {
            change(u64::from(file.exists()) + 1);
            assert_eq!(watched.changed(), Vec::<PathBuf>::new());
            assert_eq!(watched.changed(), std::slice::from_ref(&file));
            assert_eq!(watched.changed(), Vec::<PathBuf>::new());
        }

        fs::write(directory.join("below/.file.rs.swp"), "").unwrap();
        for _ in 0..3 {
            assert_eq!(watched.changed(), Vec::<PathBuf>::new());
        }
        fs::remove_dir_all(directory).unwrap();
    }
}
