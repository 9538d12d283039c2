//! The template as AWS gets it: SAM's translation, checked by `xtask/aws/hold.py`.

use std::path::{Path, PathBuf};
use std::{fs, io};

use local_stack::install::{self, InstallError};
use local_stack::process::{self, ProcessError, command};
use local_stack::workspace;

/// The translation could not be checked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TranslationError {
    /// A tool.
    #[error("a tool is missing")]
    Install(#[from] InstallError),
    /// It could not be run.
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error("{0} cannot be read or written")]
    File(PathBuf, #[source] io::Error),
}

/// For which parameters a template is translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    #[cfg(test)]
    Defaults,
    /// The defaults, those of `samconfig.toml`, and each at its ends.
    All,
    /// The same, and the API's body is kept as it is now.
    Update,
}

/// Translates a template and returns the findings, a line each.
///
/// # Errors
/// It cannot be looked at.
pub(crate) fn findings(template: &Path, extent: Extent) -> Result<Vec<String>, TranslationError> {
    let root = workspace::root();
    let mut hold = python("hold.py")?;
    hold.args(match extent {
        #[cfg(test)]
        Extent::Defaults => Some("--defaults"),
        Extent::All => None,
        Extent::Update => Some("--update"),
    });
    hold.arg(template);
    hold.args(["samconfig.toml", "docs/openapi.yaml", "xtask/aws/api.json"].map(|file| root.join(file)));
    let output = hold.output().map_err(|error| TranslationError::File(template.to_owned(), error))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut findings: Vec<String> = text.lines().map(str::to_owned).collect();
    if !output.status.success() && findings.is_empty() {
        findings.push(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(findings)
}

/// Lints each different translation: since cfn-lint no longer translates, it does not see what SAM makes.
///
/// # Errors
/// The template cannot be translated, or the linter finds something.
pub(crate) fn lint() -> Result<(), TranslationError> {
    let directory = workspace::local().join("check/translated");
    let failed = |error| TranslationError::File(directory.clone(), error);
    if directory.exists() {
        fs::remove_dir_all(&directory).map_err(failed)?;
    }
    fs::create_dir_all(&directory).map_err(failed)?;
    let mut print = python("hold.py")?;
    print.arg("--print").arg(&directory).arg(workspace::template()).arg(workspace::root().join("samconfig.toml"));
    process::run("hold.py --print", print)?;
    let mut lint = command(install::cfn_lint()?);
    // SAM has replaced the parameters of CORS by values, so the linter takes them for unused.
    lint.args(["--regions", "eu-west-1", "--ignore-checks", "W2001", "--"]);
    for entry in fs::read_dir(&directory).map_err(failed)? {
        lint.arg(entry.map_err(failed)?.path());
    }
    lint.current_dir(workspace::root());
    Ok(process::run("cfn-lint", lint)?)
}

fn python(script: &str) -> Result<std::process::Command, TranslationError> {
    let mut python = command(install::aws_python()?);
    // Nothing may be left in the checkout.
    python.env("PYTHONDONTWRITEBYTECODE", "1");
    python.arg(workspace::root().join("xtask/aws").join(script)).current_dir(workspace::root());
    Ok(python)
}

#[cfg(test)]
mod tests;
