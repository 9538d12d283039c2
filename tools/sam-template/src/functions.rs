//! Lambda functions: their binary, their timeout, their environment.

use std::{collections::BTreeMap, path::Path, time::Duration};

use serde_json::Value;

use crate::{
    Resource, Template,
    error::{Invalid, Problem},
};

/// A function of the template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Its key under `Resources`.
    pub logical_id: String,
    /// Its name in AWS.
    pub name: String,
    /// The binary it runs: `Metadata.BuildProperties.Binary`, else the last part of `CodeUri`.
    pub binary: String,
    /// How long one invocation may take.
    pub timeout: Duration,
}

pub(crate) const TYPE: &str = "AWS::Serverless::Function";

/// Lambda's own default.
const DEFAULT_TIMEOUT_SECONDS: u64 = 3;

pub(crate) fn read(template: &Template) -> Result<Vec<Function>, Invalid> {
    template.resources(&[TYPE])?.iter().map(function).collect()
}

fn function(resource: &Resource<'_>) -> Result<Function, Invalid> {
    let at = resource.at();
    let unknown = || Invalid::new(&at, Problem::UnknownReference(resource.logical_id.to_owned()));
    Ok(Function {
        logical_id: resource.logical_id.to_owned(),
        name: resource.template.physical_name(resource.logical_id, &at)?.ok_or_else(unknown)?,
        binary: binary(resource)?,
        timeout: Duration::from_secs(match resource.property("Timeout")? {
            Some(timeout) => timeout.unsigned()?,
            None => DEFAULT_TIMEOUT_SECONDS,
        }),
    })
}

fn binary(resource: &Resource<'_>) -> Result<String, Invalid> {
    if let Some(Value::String(binary)) = resource.body.pointer("/Metadata/BuildProperties/Binary") {
        return Ok(binary.clone());
    }
    let code_uri = resource.property("CodeUri")?;
    let last_part = code_uri.as_ref().and_then(|uri| Path::new(uri.value.as_str()?).file_name()?.to_str());
    last_part.map(str::to_owned).ok_or_else(|| Invalid::new(resource.at(), Problem::NoBinary))
}

pub(crate) fn environment(template: &Template, logical_id: &str) -> Result<BTreeMap<String, String>, Invalid> {
    let function = template.resources(&[TYPE])?.into_iter().find(|resource| resource.logical_id == logical_id);
    let function =
        function.ok_or_else(|| Invalid::new("Resources", Problem::UnknownFunction(logical_id.to_owned())))?;
    let Some(variables) = function.property("Environment")?.and_then(|environment| environment.get("Variables")) else {
        return Ok(BTreeMap::new());
    };
    variables.entries()?.into_iter().map(|(name, value)| Ok((name, value.text()?))).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::{Error, Parameters, Problem, Template};

    const SOURCE: &str = "
Parameters:
  Secret: { Type: String }
  Origins: { Type: CommaDelimitedList, Default: 'a,b' }
Conditions:
  Never: !Equals [a, b]
Globals:
  Function:
    Timeout: 7
    Environment: { Variables: { SHARED: global, LEVEL: info } }
Resources:
  Plain: { Type: AWS::Serverless::Function, Properties: { CodeUri: functions/plain/, Timeout: '9' } }
  Named:
    Type: AWS::Serverless::Function
    Metadata: { BuildProperties: { Binary: binary } }
    Properties:
      CodeUri: .
      FunctionName: !Sub '${AWS::StackName}-given'
      Environment:
        Variables:
          LEVEL: debug
          NUMBER: 5
          FLAG: true
          ABSENT: !If [Never, x, !Ref AWS::NoValue]
          TABLE: !Ref Table
  NeedsSecret:
    Type: AWS::Serverless::Function
    Properties: { CodeUri: x, Environment: { Variables: { SECRET: !Ref Secret } } }
  WithList:
    Type: AWS::Serverless::Function
    Properties: { CodeUri: x, Environment: { Variables: { ORIGINS: !Ref Origins } } }
  Absent: { Type: AWS::Serverless::Function, Condition: Never, Properties: {} }
  Table: { Type: AWS::DynamoDB::Table }
";

    fn template() -> Template {
        Template::parse("t.yaml".as_ref(), SOURCE, Parameters::new("stack")).unwrap()
    }

    #[test]
    fn functions_have_binaries_names_and_timeouts_without_their_secrets() {
        let functions = template().functions().unwrap();
        let read: Vec<_> = functions
            .iter()
            .map(|function| {
                let (id, name, binary) = (&function.logical_id, &function.name, &function.binary);
                (id.as_str(), name.as_str(), binary.as_str(), function.timeout)
            })
            .collect();
        assert_eq!(
            read,
            [
                ("Named", "stack-given", "binary", Duration::from_secs(7)),
                ("NeedsSecret", "stack-NeedsSecret", "x", Duration::from_secs(7)),
                ("Plain", "stack-Plain", "plain", Duration::from_secs(9)),
                ("WithList", "stack-WithList", "x", Duration::from_secs(7)),
            ]
        );
    }

    #[test]
    fn an_environment_is_text_with_globals_merged() {
        let environment = template().environment("Named").unwrap();
        let expected =
            [("FLAG", "true"), ("LEVEL", "debug"), ("NUMBER", "5"), ("SHARED", "global"), ("TABLE", "stack-Table")];
        assert!(environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).eq(expected));
    }

    #[test]
    fn what_an_environment_lacks_is_named_with_its_place() {
        let message = |logical_id| template().environment(logical_id).unwrap_err().to_string();
        assert_eq!(
            message("NeedsSecret"),
            "t.yaml, Resources.NeedsSecret.Properties.Environment.Variables.SECRET: the parameter Secret has no \
             default; give it a value"
        );
        assert_eq!(
            message("WithList"),
            "t.yaml, Resources.WithList.Properties.Environment.Variables.ORIGINS: expected text"
        );
        assert_eq!(message("Absent"), "t.yaml, Resources: there is no function Absent in the template");
    }

    #[test]
    fn a_function_without_a_binary_is_an_error_that_says_where_to_name_it() {
        let source = "Resources: { F: { Type: AWS::Serverless::Function, Properties: { CodeUri: ./ } } }";
        let template = Template::parse("t.yaml".as_ref(), source, Parameters::new("stack")).unwrap();
        let error = template.functions().unwrap_err();
        assert!(matches!(error, Error::Invalid { problem: Problem::NoBinary, at, .. } if at == "Resources.F"));
    }
}
