//! Reloads a template that is edited while its API is served.
//!
//! Its modification time is checked twice a second. An editor writes a file in several steps, so a change takes effect
//! when two checks in succession have seen it. An invalid template is ignored: the previous routes stay.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::{
    api::{self, Api, Source},
    gateway::Gateway,
    log,
};

/// How often the file is checked.
const INTERVAL: Duration = Duration::from_millis(500);

/// A file, and when it was last written.
#[derive(Debug)]
pub(crate) struct Watch {
    file: PathBuf,
    served: Option<SystemTime>,
    /// The state at the last check.
    seen: Option<SystemTime>,
}

impl Watch {
    /// Anything read after this is at least as new.
    pub(crate) fn new(file: &Path) -> Self {
        let now = written(file);
        Self { file: file.to_owned(), served: now, seen: now }
    }

    /// Reloads the template whenever it has changed.
    pub(crate) async fn follow(mut self, source: Source, gateway: Arc<Gateway>) {
        let source = Arc::new(source);
        loop {
            tokio::time::sleep(INTERVAL).await;
            if self.has_changed() {
                let source = Arc::clone(&source);
                // It takes some milliseconds, in which requests are served.
                let read = tokio::task::spawn_blocking(move || source.read()).await;
                // The panic has already been reported.
                let Ok(read) = read else { continue };
                serve(&self.file, read, &gateway);
            }
        }
    }

    /// Whether the file has changed, and was already changed at the previous check.
    fn has_changed(&mut self) -> bool {
        let now = written(&self.file);
        let is_settled = now == self.seen;
        self.seen = now;
        if !is_settled || now == self.served {
            return false;
        }
        self.served = now;
        true
    }
}

fn serve(file: &Path, read: Result<(Api, Vec<String>), api::Error>, gateway: &Gateway) {
    match read {
        Ok((api, notices)) => {
            log::notice(&notices);
            gateway.replace(api);
        }
        Err(error) => {
            eprintln!("gateway: {} changed, and the previous routes stay: {}", file.display(), log::chain(&error));
        }
    }
}

fn written(file: &Path) -> Option<SystemTime> {
    fs::metadata(file).and_then(|metadata| metadata.modified()).ok()
}
