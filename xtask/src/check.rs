//! `cargo xtask check`: what must hold besides the tests. Every check runs, even if others fail.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use clap::Args;

use crate::translation::{self, Extent, TranslationError};
use local_stack::install::{self, InstallError};
use local_stack::process::{self, ProcessError, command};
use local_stack::{progress, stack, workspace};

/// What `check` is to do.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Save the API's body as SAM generates it now, in xtask/aws/api.json
    #[arg(long)]
    update: bool,
}

/// Some checks failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckError {
    /// The failed ones.
    #[error("failed: {}", .0.join(", "))]
    Failed(Vec<&'static str>),
    /// This program was asked to stop.
    #[error(transparent)]
    Process(#[from] ProcessError),
}

/// What one check found.
#[derive(Debug, thiserror::Error)]
enum Finding {
    /// Its tool cannot be had.
    #[error("a tool is missing")]
    Install(#[from] InstallError),
    /// The command failed or could not be run.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The template names no functions that could be built.
    #[error("template.yaml cannot be used")]
    Template(#[source] sam_template::Error),
    /// The translation could not be checked.
    #[error("the translation of template.yaml could not be checked")]
    Translation(#[from] TranslationError),
    /// What is wrong with the translation.
    #[error("{}", .0.join("\n"))]
    Translated(Vec<String>),
    /// A function that must not reach AWS could.
    #[error("the package `{0}` depends on {1}")]
    NeedlessSdk(&'static str, String),
    /// The check itself could not run.
    #[error("{0}")]
    Skipped(&'static str),
}

type Check = fn(&Options) -> Result<(), Finding>;

const CHECKS: [(&str, Check); 17] = [
    ("format", |_| format()),
    ("lints", |_| lints()),
    ("every function by itself, as SAM builds it", |_| functions_alone()),
    ("the gateway's sample project", |_| gateway_example()),
    ("the bench's peers", |_| bench_peers()),
    ("documentation", |_| documentation()),
    ("licences, bans and sources of dependencies", |_| licences()),
    ("unused dependencies", |_| unused_dependencies()),
    ("template, linted", |_| template_lint()),
    ("template, as SAM reads it", |_| template_validation()),
    ("template, as CloudFormation reads it", |_| cloudformation_lint()),
    ("template, as AWS gets it", translated),
    ("template, as AWS gets it, linted", |_| Ok(translation::lint()?)),
    ("template, as a security scanner reads it", |_| security_scan()),
    ("docs/openapi.yaml, linted", |_| openapi_lint()),
    ("no AWS SDK in `page` and `protected`", |_| no_needless_sdk()),
    ("known vulnerabilities of dependencies", |_| advisories()),
];

/// Runs every check.
///
/// # Errors
/// One of them finds something, or cannot be run.
pub(crate) fn run(options: &Options) -> Result<(), CheckError> {
    process::listen_to_signals()?;
    let (mut failed, mut skipped) = (Vec::new(), Vec::new());
    for (name, check) in CHECKS {
        let step = progress::step(name);
        let result = check(options);
        if process::interrupted() {
            return Err(ProcessError::Interrupted.into());
        }
        match result {
            Ok(()) => step.done(),
            Err(Finding::Skipped(reason)) => {
                progress::warn(&format!("    SKIPPED {name}: {reason}"));
                skipped.push(name);
            }
            Err(finding) => {
                progress::failure(&finding);
                step.failed();
                failed.push(name);
            }
        }
    }
    if !skipped.is_empty() {
        progress::warn(&format!("SKIPPED: {}", skipped.join(", ")));
    }
    if !failed.is_empty() {
        return Err(CheckError::Failed(failed));
    }
    progress::print(&format!("{} of {} checks passed", CHECKS.len() - skipped.len(), CHECKS.len()));
    Ok(())
}

fn format() -> Result<(), Finding> {
    cargo(&["fmt", "--all", "--check"], &[])
}

fn lints() -> Result<(), Finding> {
    cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"], &[])
}

/// Built together, packages share features of dependencies; deployed functions are built separately.
fn functions_alone() -> Result<(), Finding> {
    let template = stack::template("check", &BTreeMap::new()).map_err(Finding::Template)?;
    for function in template.functions().map_err(Finding::Template)? {
        cargo(&["check", "--package", &function.binary], &[])?;
    }
    Ok(())
}

fn documentation() -> Result<(), Finding> {
    cargo(&["doc", "--workspace", "--no-deps"], &[("RUSTDOCFLAGS", "-D warnings")])
}

fn licences() -> Result<(), Finding> {
    run_at_root(&install::cargo_deny()?, &["--workspace", "check", "licenses", "bans", "sources"], &[])
}

fn unused_dependencies() -> Result<(), Finding> {
    run_at_root(&install::cargo_shear()?, &["shear"], &[])
}

fn template_lint() -> Result<(), Finding> {
    sam(&["validate", "--lint"])
}

fn template_validation() -> Result<(), Finding> {
    sam(&["validate"])
}

fn cloudformation_lint() -> Result<(), Finding> {
    run_at_root(&install::cfn_lint()?, &["template.yaml"], &[("AWS_DEFAULT_REGION", "eu-west-1")])
}

fn translated(options: &Options) -> Result<(), Finding> {
    let extent = if options.update { Extent::Update } else { Extent::All };
    match translation::findings(&workspace::template(), extent)? {
        none if none.is_empty() => Ok(()),
        findings => Err(Finding::Translated(findings)),
    }
}

/// Its exceptions, with their reasons, are in the template: `Metadata` of each resource.
fn security_scan() -> Result<(), Finding> {
    // It needs no network, and scans this one file.
    let arguments =
        ["--file", "template.yaml", "--framework", "cloudformation", "--compact", "--quiet", "--skip-download"];
    run_at_root(&install::checkov()?, &arguments, &[])
}

fn openapi_lint() -> Result<(), Finding> {
    let redocly = install::redocly()?;
    let mut lint = at_root(Path::new("node"));
    lint.arg(redocly).args(["lint", "--config=e2e/openapi/redocly.yaml", "docs/openapi.yaml"]);
    // No telemetry, and no check for a newer version.
    lint.envs([("REDOCLY_TELEMETRY", "off"), ("REDOCLY_SUPPRESS_UPDATE_NOTICE", "true")]);
    Ok(process::run("redocly lint docs/openapi.yaml", lint)?)
}

/// Functions without AWS permissions must not have the AWS SDK in their dependency trees.
fn no_needless_sdk() -> Result<(), Finding> {
    for function in ["page", "protected"] {
        let log = workspace::local().join(format!("logs/{function}-dependencies.log"));
        let mut tree = at_root(Path::new("cargo"));
        tree.args(["tree", "--package", function, "--edges", "normal", "--prefix", "none"]);
        process::run_logged("cargo tree", tree, &log)?;
        let tree = std::fs::read_to_string(&log).map_err(|error| ProcessError::Log(log.clone(), error))?;
        if let Some(dependency) =
            tree.lines().find(|line| line.starts_with("aws-sdk") || line.starts_with("aws-config"))
        {
            return Err(Finding::NeedlessSdk(function, dependency.to_owned()));
        }
    }
    Ok(())
}

/// The sample project of the gateway is not part of this workspace.
fn gateway_example() -> Result<(), Finding> {
    let manifest = "tools/gateway/examples/shop/Cargo.toml";
    cargo(
        &["clippy", "--locked", "--manifest-path", manifest, "--target-dir", "target/examples", "--", "-D", "warnings"],
        &[],
    )
}

/// The peers of the bench are not part of this workspace; each is a package of its own.
fn bench_peers() -> Result<(), Finding> {
    for peer in ["empty", "tutorial"] {
        let manifest = format!("bench/peers/{peer}/Cargo.toml");
        cargo(&["fmt", "--check", "--manifest-path", &manifest], &[])?;
        let target = format!("target/bench/{peer}");
        let arguments = ["clippy", "--locked", "--manifest-path", &manifest, "--target-dir", &target];
        cargo(&[&arguments[..], &["--", "-D", "warnings"]].concat(), &[])?;
    }
    Ok(())
}

/// RustSec's current advisories: an old copy would miss some.
fn advisories() -> Result<(), Finding> {
    let deny = install::cargo_deny()?;
    let mut fetch = at_root(&deny);
    fetch.args(["--workspace", "fetch", "db"]);
    let log = workspace::local().join("logs/advisory-database.log");
    process::run_logged("cargo deny fetch", fetch, &log)
        .map_err(|_| Finding::Skipped("could not fetch the advisory database; this needs a network"))?;
    run_at_root(&deny, &["--workspace", "--offline", "check", "advisories"], &[])
}

fn cargo(arguments: &[&str], variables: &[(&str, &str)]) -> Result<(), Finding> {
    run_at_root(Path::new("cargo"), arguments, variables)
}

fn sam(arguments: &[&str]) -> Result<(), Finding> {
    // The plain validator requires a region although it makes no calls; no telemetry.
    let variables = [("AWS_DEFAULT_REGION", "eu-west-1"), ("SAM_CLI_TELEMETRY", "0")];
    run_at_root(&install::sam()?, arguments, &variables)
}

fn run_at_root(program: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Result<(), Finding> {
    let mut command = at_root(program);
    command.args(arguments).envs(variables.iter().copied());
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    Ok(process::run(&format!("{name} {}", arguments.join(" ")), command)?)
}

fn at_root(program: &Path) -> Command {
    let mut command = command(program);
    command.current_dir(workspace::root());
    command
}
