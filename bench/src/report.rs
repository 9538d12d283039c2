//! The report: a table for people, JSON for programs, a chart.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::parts::Part;
use clap::ValueEnum as _;
use serde::Serialize;

use crate::Anything;
use crate::iterations::{Cold, MEMORY_MEGABYTES};
use crate::results::Results;
use crate::targets::{self, Target};

/// Everything that a run found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Whether it was a short run.
    pub(crate) is_quick: bool,
    /// What it ran on.
    pub(crate) machine: String,
    /// What the peers ran on, and what compiled the bench.
    pub(crate) versions: String,
    #[serde(flatten)]
    pub(crate) results: Results,
    pub(crate) targets: Vec<Target>,
}

impl Report {
    pub(crate) fn new(is_quick: bool, results: Results) -> Self {
        let targets = targets::check(&results);
        Self { is_quick, machine: machine(), versions: versions(), results, targets }
    }

    /// Prints the table, and writes it, the JSON and the picture into a directory.
    #[allow(clippy::print_stdout, reason = "the table is what it is for")]
    pub(crate) fn write(&self, directory: &Path) -> Result<(), Anything> {
        let table = self.table()?;
        println!("{table}");
        fs::write(directory.join("report.txt"), &table)?;
        fs::write(directory.join("report.json"), serde_json::to_string_pretty(self)?)?;
        let mut written = "report.txt, report.json".to_owned();
        if !self.results.cold.is_empty() {
            fs::write(directory.join("report.svg"), self.picture()?)?;
            written.push_str(", report.svg");
        }
        println!("written: {written} in {}", directory.display());
        Ok(())
    }

    fn table(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        let kind = match (self.is_quick, self.results.parts.len() == Part::value_variants().len()) {
            (true, _) => "a short run: an impression, not a proof",
            (false, true) => "a full run",
            (false, false) => "some parts of a full run",
        };
        writeln!(text, "\n{kind}; {}; {}", self.machine, self.versions)?;
        self.cold_starts(&mut text)?;
        self.warm_calls(&mut text)?;
        self.primitives(&mut text)?;
        self.loads(&mut text)?;
        self.archives(&mut text)?;
        self.targets(&mut text)?;
        Ok(text)
    }

    fn cold_starts(&self, text: &mut String) -> std::fmt::Result {
        if self.results.cold.is_empty() {
            return Ok(());
        }
        writeln!(text, "\nCold: from the start of the process to its first answer, DynamoDB over TLS, ms")?;
        let empty = |megabytes: u32| {
            let found = |cold: &&Cold| cold.name == "empty bootstrap" && cold.memory_megabytes == megabytes;
            self.results.cold.iter().find(found).map_or(f64::NAN, |cold| cold.first_answer_ms)
        };
        writeln!(
            text,
            "{:22} {:>7} {:>9} {:>9} {:>9} {:>9} {:>9}",
            "", "MB", "to ready", "the call", "in all", "CPU", "x empty"
        )?;
        for megabytes in MEMORY_MEGABYTES {
            for cold in self.results.cold.iter().filter(|cold| cold.memory_megabytes == megabytes) {
                writeln!(
                    text,
                    "{:22} {megabytes:7} {:9.2} {:9.2} {:9.2} {:9.2} {:9.1}",
                    cold.name,
                    cold.ready_ms,
                    cold.first_call_ms,
                    cold.first_answer_ms,
                    cold.cpu_ms,
                    cold.first_answer_ms / empty(megabytes)
                )?;
            }
        }

        Ok(())
    }

    fn warm_calls(&self, text: &mut String) -> std::fmt::Result {
        if self.results.warm.is_empty() && self.results.hashing.is_empty() {
            return Ok(());
        }
        writeln!(text, "\nWarm: with DynamoDB Local")?;
        writeln!(text, "{:26} {:>9} {:>9} {:>12} {:>12}", "", "p50 µs", "p99 µs", "CPU µs/call", "peak MB")?;
        for warm in self.results.warm.iter().chain(&self.results.hashing) {
            writeln!(
                text,
                "{:26} {:9.0} {:9.0} {:12.0} {:>12}",
                warm.name,
                warm.p50_us,
                warm.p99_us,
                warm.cpu_us,
                if warm.peak_rss_bytes == 0 { "-".to_owned() } else { megabytes(warm.peak_rss_bytes) },
            )?;
        }

        Ok(())
    }

    fn primitives(&self, text: &mut String) -> std::fmt::Result {
        if !self.results.primitives.is_empty() {
            writeln!(text, "\nPrimitives, µs")?;
        }
        for primitive in &self.results.primitives {
            let times: Vec<_> = primitive.us.iter().map(|(who, us)| format!("{who} {us:.2}")).collect();
            writeln!(text, "{:22} {}", primitive.name, times.join("   "))?;
        }

        Ok(())
    }

    fn loads(&self, text: &mut String) -> std::fmt::Result {
        if self.results.load.is_empty() {
            return Ok(());
        }
        writeln!(
            text,
            "\nThe whole path: gateway, authorizer, function, DynamoDB Local, and the load on the same machine"
        )?;
        writeln!(
            text,
            "{:22} {:>8} {:>9} {:>9} {:>8} {:>8} {:>6}   memory",
            "", "clients", "requests", "a second", "p50 ms", "p99 ms", "wrong"
        )?;
        for load in &self.results.load {
            let memory = load.rss_bytes.map_or_else(String::new, |(before, after)| {
                format!("{} MB, then {} MB", megabytes(before), megabytes(after))
            });
            writeln!(
                text,
                "{:22} {:8} {:9} {:9.0} {:8.2} {:8.2} {:6}   {memory}",
                load.name, load.clients, load.requests, load.requests_per_second, load.p50_ms, load.p99_ms, load.wrong
            )?;
        }

        Ok(())
    }

    fn archives(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "\nArchives")?;
        for size in &self.results.sizes {
            let (archive, bootstrap) = (megabytes(size.archive_bytes), megabytes(size.bootstrap_bytes));
            let processor =
                if size.is_deployed { format!("{}, deployed", size.processor) } else { size.processor.clone() };
            writeln!(text, "{:12} {processor:16} {archive:>6} MB, of a bootstrap of {bootstrap:>6} MB", size.name)?;
        }

        Ok(())
    }

    fn targets(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "\nTargets")?;
        for target in &self.targets {
            let result = match (target.is_reached, target.is_explained) {
                (true, _) => "reached",
                (false, true) => "MISSED (explained in docs/PERFORMANCE.md)",
                (false, false) => "MISSED",
            };
            let side = if target.is_least { "at least" } else { "at most" };
            writeln!(text, "{:70} {:9.2}  {side:8} {:6.2}  {result}", target.name, target.found, target.limit)?;
        }
        Ok(())
    }

    /// Bars of the cold starts, at a whole CPU and at 128 MB. A logarithm: the longest is hundreds of times the
    /// shortest.
    fn picture(&self) -> Result<String, std::fmt::Error> {
        const LEFT: f64 = 190.0;
        const WIDTH: f64 = 520.0;
        const ROW: f64 = 26.0;
        let sizes = [MEMORY_MEGABYTES[0], MEMORY_MEGABYTES[3]];
        let rows: Vec<&Cold> = sizes
            .iter()
            .flat_map(|megabytes| self.results.cold.iter().filter(move |cold| cold.memory_megabytes == *megabytes))
            .collect();
        let longest = rows.iter().map(|cold| cold.first_answer_ms).fold(1.0, f64::max);
        #[allow(clippy::cast_precision_loss, reason = "a few rows")]
        let height = 70.0 + ROW * rows.len() as f64 + 30.0;
        let mut svg = String::new();
        writeln!(
            svg,
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 {height:.0}" font-family="system-ui, sans-serif" font-size="13"><rect width="800" height="{height:.0}" fill="#ffffff"/><text x="16" y="28" font-size="16" font-weight="600" fill="#1a1a1a">Cold start to the first answer, ms (logarithmic)</text>"##
        )?;
        let mut y = 50.0;
        let mut last = 0;
        for cold in rows {
            if cold.memory_megabytes != last {
                last = cold.memory_megabytes;
                y += 14.0;
                let what = if last == sizes[0] { "a whole CPU (1769 MB)" } else { "128 MB" };
                writeln!(svg, r##"<text x="16" y="{y:.0}" fill="#555555">{what}</text>"##)?;
                y += 8.0;
            }
            let width = WIDTH * (1.0 + cold.first_answer_ms).ln() / (1.0 + longest).ln();
            let colour = if cold.name == "authorizer" { "#0b6bcb" } else { "#b8c4d0" };
            writeln!(
                svg,
                r##"<text x="{:.0}" y="{:.0}" text-anchor="end" fill="#1a1a1a">{}</text><rect x="{LEFT}" y="{:.0}" width="{width:.1}" height="{:.0}" rx="2" fill="{colour}"/><text x="{:.1}" y="{:.0}" fill="#1a1a1a">{:.1}</text>"##,
                LEFT - 8.0,
                y + 16.0,
                cold.name,
                y + 3.0,
                ROW - 8.0,
                LEFT + width + 6.0,
                y + 16.0,
                cold.first_answer_ms
            )?;
            y += ROW - 2.0;
        }
        writeln!(svg, "</svg>")?;
        Ok(svg)
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.2}", targets::megabytes(bytes))
}

/// Of Node.js, which runs peers, and of Rust.
fn versions() -> String {
    let version = |program: &str| {
        let output = Command::new(program).arg("--version").output().ok();
        output.map_or_else(String::new, |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    format!("Node.js {}, {}", version("node"), version("rustc"))
}

/// Processor and number of CPUs, as Linux says.
fn machine() -> String {
    let cpus = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1)).unwrap_or("a CPU");
    format!("{cpus} CPUs, {model}")
}
