//! What criterion found (`benches/primitives.rs`), and beside it fast-jwt on the same tokens and keys.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use local_stack::workspace;
use serde::Serialize;
use serde_json::Value;

use crate::Anything;

/// Times of one kind of work, by who does it, in microseconds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Primitive {
    pub(crate) name: String,
    pub(crate) us: BTreeMap<String, f64>,
}

/// Where the criterion bench leaves the tokens and keys that it verified.
const CASES: &str = "target/bench/cases.json";

pub(crate) fn read(peers: &Path) -> Result<Vec<Primitive>, Anything> {
    let mut primitives = Vec::new();
    let directory = workspace::root().join("target/criterion");
    for group in sorted(&directory)? {
        let mut us = BTreeMap::new();
        for function in sorted(&group)? {
            let Ok(text) = fs::read_to_string(function.join("new/estimates.json")) else { continue };
            let estimates: Value = serde_json::from_str(&text)?;
            let nanoseconds = estimates["median"]["point_estimate"].as_f64().ok_or("criterion left no median")?;
            us.insert(name_of(&function), nanoseconds / 1e3);
        }
        if !us.is_empty() {
            primitives.push(Primitive { name: name_of(&group), us });
        }
    }
    let rates = fast_jwt(peers)?;
    for (algorithm, rate) in rates.as_object().into_iter().flatten() {
        let name = format!("verify {algorithm}");
        if let (Some(primitive), Some(rate)) =
            (primitives.iter_mut().find(|primitive| primitive.name == name), rate.as_f64())
        {
            primitive.us.insert("fast-jwt".to_owned(), 1e6 / rate);
        }
    }
    Ok(primitives)
}

fn fast_jwt(peers: &Path) -> Result<Value, Anything> {
    let cases = fs::File::open(workspace::root().join(CASES))?;
    let output = Command::new("node")
        .arg(peers.join("node/verify.js"))
        .arg("2")
        .stdin(Stdio::from(cases))
        .stderr(Stdio::inherit())
        .output()?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn sorted(directory: &Path) -> Result<Vec<PathBuf>, Anything> {
    let mut entries: Vec<_> =
        fs::read_dir(directory)?.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    entries.sort();
    Ok(entries)
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
