//! Errors in a template. Every message names the place and the solution.

use std::{io, path::PathBuf};

/// Why a template could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be read.
    #[error("cannot read the template {}", path.display())]
    Read {
        /// The template.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// The file is not YAML.
    #[error("the template {} is not YAML", path.display())]
    Yaml {
        /// The template.
        path: PathBuf,
        /// What the parser said, with the line.
        source: saphyr::ScanError,
    },
    /// The template is YAML, but something in it cannot be used.
    #[error("{}, {at}: {problem}", path.display())]
    Invalid {
        /// The template.
        path: PathBuf,
        /// The place in the template, such as `Resources.Api.Properties.Auth`.
        at: String,
        /// What is wrong there.
        problem: Problem,
    },
}

/// What is wrong at one place of a template.
///
/// No message holds the value of a parameter: it can be a secret.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// A template without resources.
    #[error("the template has no resources; is this a CloudFormation template?")]
    NoResources,
    /// A value was given for a parameter that is not in the template.
    #[error("there is no parameter {0}; correct its name or add it to the template")]
    UnknownParameter(String),
    /// A parameter that is needed has neither a value nor a default.
    #[error("the parameter {0} has no default; give it a value")]
    MissingParameter(String),
    /// The default of a parameter is the name of a value in AWS Systems Manager.
    #[error("the parameter {0} is looked up in AWS Systems Manager, which is not available here; give it a value")]
    RemoteParameter(String),
    /// A parameter's value is not one the template allows.
    #[error("the parameter {name} is invalid: {reason}")]
    RefusedParameter {
        /// The parameter.
        name: String,
        /// The template's own `ConstraintDescription`, or the constraint.
        reason: String,
    },
    /// A name that is neither a parameter nor a resource.
    #[error("{0} is neither a parameter nor a resource of the template; correct the name")]
    UnknownReference(String),
    /// An attribute whose value is not known without AWS.
    #[error("the value of {0} is not known outside AWS; use a parameter with a default instead")]
    UnknownAttribute(String),
    /// A condition that is not in the template.
    #[error("there is no condition {0}; correct its name or add it under Conditions")]
    UnknownCondition(String),
    /// A key that is not in a mapping.
    #[error("Mappings has no {0}; correct the key or add it")]
    UnknownMapping(String),
    /// A function that is not in the template.
    #[error("there is no function {0} in the template")]
    UnknownFunction(String),
    /// An authorizer that is not in the API.
    #[error("the API has no authorizer {0}; add it under Auth.Authorizers or correct the name")]
    UnknownAuthorizer(String),
    /// An intrinsic function that this reader does not evaluate.
    #[error("{0} is not evaluated here; use a parameter with a default instead")]
    UnknownIntrinsic(String),
    /// Something refers to itself.
    #[error("{0} refers to itself")]
    Circular(String),
    /// A required property is not there.
    #[error("{0} is missing")]
    Missing(String),
    /// A value of the wrong type or form.
    #[error("expected {0}")]
    Expected(&'static str),
    /// The binary of a function is not named.
    #[error("CodeUri does not name a binary; name it in Metadata.BuildProperties.Binary")]
    NoBinary,
}

/// A [`Problem`] and its place, before it is known which file is being read.
#[derive(Debug)]
pub(crate) struct Invalid {
    pub(crate) at: String,
    pub(crate) problem: Problem,
}

impl Invalid {
    pub(crate) fn new(at: impl Into<String>, problem: Problem) -> Self {
        Self { at: at.into(), problem }
    }

    pub(crate) fn expected(at: impl Into<String>, what: &'static str) -> Self {
        Self::new(at, Problem::Expected(what))
    }
}
