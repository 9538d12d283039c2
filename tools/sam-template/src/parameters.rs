//! The values a template is read with, and the constraints it sets on them.

use std::{collections::BTreeMap, fmt};

use regex_lite::Regex;
use serde_json::Value;

use crate::{
    Template,
    error::{Invalid, Problem},
    resolved::text_of,
};

/// The arguments of a deployment: the stack's name, parameter values, region and account.
#[derive(Clone)]
pub struct Parameters {
    /// `AWS::StackName`, and the first part of names that AWS would generate.
    pub stack_name: String,
    /// Values for the template's parameters. Those not given have their defaults.
    pub values: BTreeMap<String, String>,
    /// `AWS::Region`.
    pub region: String,
    /// `AWS::AccountId`.
    pub account_id: String,
}

impl Parameters {
    /// No values, for a stack of this name, in a region and an account that stand for any.
    #[must_use]
    pub fn new(stack_name: impl Into<String>) -> Self {
        Self {
            stack_name: stack_name.into(),
            values: BTreeMap::new(),
            region: "eu-west-1".to_owned(),
            account_id: "123456789012".to_owned(),
        }
    }
}

/// Names only: a value can be a secret.
impl fmt::Debug for Parameters {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Parameters")
            .field("stack_name", &self.stack_name)
            .field("values", &self.values.keys().collect::<Vec<_>>())
            .field("region", &self.region)
            .field("account_id", &self.account_id)
            .finish()
    }
}

impl Template {
    /// The value `Ref` of a parameter gives, or `None` if there is no such parameter.
    pub(crate) fn parameter(&self, name: &str, at: &str) -> Result<Option<Value>, Invalid> {
        let Some(declaration) = self.section("Parameters").and_then(|parameters| parameters.get(name)) else {
            return Ok(None);
        };
        let kind = declaration.get("Type").and_then(Value::as_str).unwrap_or("String");
        let text = match self.parameters.values.get(name) {
            Some(given) => given.clone(),
            None if kind.starts_with("AWS::SSM::") => {
                return Err(Invalid::new(at, Problem::RemoteParameter(name.to_owned())));
            }
            None => declaration
                .get("Default")
                .and_then(text_of)
                .ok_or_else(|| Invalid::new(at, Problem::MissingParameter(name.to_owned())))?,
        };
        let is_list = kind == "CommaDelimitedList" || kind.contains("List<");
        let items: Vec<&str> = if is_list { text.split(',').map(str::trim).collect() } else { vec![&text] };
        for item in &items {
            check(declaration, kind, item).map_err(|constraint| {
                let described = declaration.get("ConstraintDescription").and_then(Value::as_str);
                let reason = described.map_or(constraint, |described| format!("it must be {described}"));
                Invalid::new(format!("Parameters.{name}"), Problem::RefusedParameter { name: name.to_owned(), reason })
            })?;
        }
        Ok(Some(if is_list { items.into_iter().map(Value::from).collect() } else { Value::String(text) }))
    }
}

/// Holds one value against the constraints of its parameter; an error says which one it breaks.
fn check(declaration: &Value, kind: &str, value: &str) -> Result<(), String> {
    let number_of = |key: &str| declaration.get(key).and_then(text_of).and_then(|text| text.parse::<f64>().ok());
    if matches!(kind, "Number" | "List<Number>") {
        let number: f64 = value.parse().map_err(|_| "it must be a number".to_owned())?;
        if let Some(minimum) = number_of("MinValue").filter(|minimum| number < *minimum) {
            return Err(format!("it must be at least {minimum}"));
        }
        if let Some(maximum) = number_of("MaxValue").filter(|maximum| number > *maximum) {
            return Err(format!("it must be at most {maximum}"));
        }
    }
    let length = u32::try_from(value.chars().count()).map_or(f64::INFINITY, f64::from);
    if let Some(minimum) = number_of("MinLength").filter(|minimum| length < *minimum) {
        return Err(format!("it must have at least {minimum} characters"));
    }
    if let Some(maximum) = number_of("MaxLength").filter(|maximum| length > *maximum) {
        return Err(format!("it must have at most {maximum} characters"));
    }
    if let Some(allowed) = declaration.get("AllowedValues").and_then(Value::as_array) {
        let allowed: Vec<String> = allowed.iter().filter_map(text_of).collect();
        if !allowed.iter().any(|allowed| allowed == value) {
            return Err(format!("it must be one of {}", allowed.join(", ")));
        }
    }
    if let Some(pattern) = declaration.get("AllowedPattern").and_then(Value::as_str) {
        // CloudFormation uses Java's expressions. One that cannot be parsed here is left to the deployment.
        let matches = Regex::new(&format!("^(?:{pattern})$")).map(|expression| expression.is_match(value));
        if matches == Ok(false) {
            return Err(format!("it must match {pattern}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::{Error, Parameters, Problem, Template};

    const SOURCE: &str = r#"
Parameters:
  Plain: { Type: String, Default: x }
  Required: { Type: String, NoEcho: true, MinLength: 4, MaxLength: 6 }
  Number: { Type: Number, Default: 5, MinValue: 2, MaxValue: 10 }
  List: { Type: CommaDelimitedList, Default: "a, b,c" }
  Choice: { Type: String, Default: one, AllowedValues: [one, two] }
  Pattern: { Type: String, Default: "", AllowedPattern: "^$|^[a-z]+$", ConstraintDescription: lower case or empty }
  Lookahead: { Type: String, Default: x, AllowedPattern: "(?=x)x" }
  Remote: { Type: "AWS::SSM::Parameter::Value<String>", Default: /name }
Resources: { R: { Type: X } }
"#;

    fn parameter(name: &str, given: Option<&str>) -> Result<Value, Problem> {
        let mut parameters = Parameters::new("stack");
        if let Some(given) = given {
            parameters.values.insert(name.to_owned(), given.to_owned());
        }
        let template = Template::parse("t.yaml".as_ref(), SOURCE, parameters).unwrap();
        template.parameter(name, "here").map(Option::unwrap).map_err(|invalid| invalid.problem)
    }

    fn refusal(name: &str, given: &str) -> String {
        parameter(name, Some(given)).unwrap_err().to_string()
    }

    #[test]
    fn values_and_defaults_have_their_types() {
        assert_eq!(parameter("Plain", None), Ok(json!("x")));
        assert_eq!(parameter("Plain", Some("y")), Ok(json!("y")));
        assert_eq!(parameter("Number", None), Ok(json!("5")));
        assert_eq!(parameter("List", None), Ok(json!(["a", "b", "c"])));
        assert_eq!(parameter("Lookahead", None), Ok(json!("x")));
        assert_eq!(parameter("Remote", Some("x")), Ok(json!("x")));
    }

    #[test]
    fn a_value_that_is_needed_and_missing_is_named() {
        assert_eq!(parameter("Required", None), Err(Problem::MissingParameter("Required".to_owned())));
        assert_eq!(parameter("Remote", None), Err(Problem::RemoteParameter("Remote".to_owned())));
    }

    #[test]
    fn constraints_hold_and_their_messages_show_no_value() {
        assert_eq!(refusal("Number", "1"), "the parameter Number is invalid: it must be at least 2");
        assert_eq!(refusal("Number", "11"), "the parameter Number is invalid: it must be at most 10");
        assert_eq!(refusal("Number", "x"), "the parameter Number is invalid: it must be a number");
        assert_eq!(refusal("Required", "abc"), "the parameter Required is invalid: it must have at least 4 characters");
        assert_eq!(
            refusal("Required", "secret!"),
            "the parameter Required is invalid: it must have at most 6 characters"
        );
        assert_eq!(refusal("Choice", "three"), "the parameter Choice is invalid: it must be one of one, two");
        assert_eq!(refusal("Pattern", "A1"), "the parameter Pattern is invalid: it must be lower case or empty");
    }

    #[test]
    fn a_value_for_an_unknown_parameter_is_refused_at_once() {
        let mut parameters = Parameters::new("stack");
        parameters.values.insert("Plian".to_owned(), "x".to_owned());
        let error = Template::parse("t.yaml".as_ref(), SOURCE, parameters).unwrap_err();
        assert!(matches!(&error, Error::Invalid { problem: Problem::UnknownParameter(name), .. } if name == "Plian"));
        assert_eq!(
            error.to_string(),
            "t.yaml, Parameters: there is no parameter Plian; correct its name or add it to the template"
        );
    }

    #[test]
    fn debug_output_has_no_values() {
        let mut parameters = Parameters::new("stack");
        parameters.values.insert("Required".to_owned(), "hidden".to_owned());
        assert!(!format!("{parameters:?}").contains("hidden"));
    }
}
