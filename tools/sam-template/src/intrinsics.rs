//! CloudFormation's intrinsic functions, pseudo parameters and conditions.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;

use crate::{
    Template,
    error::{Invalid, Problem},
    resolved::{Resolved, text_of},
};

/// The name and the argument, if `node` is an intrinsic in its long form.
pub(crate) fn as_intrinsic(node: &Value) -> Option<(&str, &Value)> {
    let entries = node.as_object().filter(|entries| entries.len() == 1)?;
    let (name, argument) = entries.iter().next()?;
    (name == "Ref" || name.starts_with("Fn::")).then_some((name, argument))
}

impl Template {
    /// Resolves every intrinsic in `node`, the value at `at`. `None` is `AWS::NoValue`: as if it were not written.
    pub(crate) fn resolve(&self, node: &Value, at: String) -> Result<Option<Resolved>, Invalid> {
        Ok(self.value(node, &at)?.map(|value| Resolved { at, value }))
    }

    fn value(&self, node: &Value, at: &str) -> Result<Option<Value>, Invalid> {
        if let Some((name, argument)) = as_intrinsic(node) {
            return self.intrinsic(name, argument, at);
        }
        Ok(match node {
            Value::Array(items) => {
                let mut resolved = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    resolved.extend(self.value(item, &format!("{at}[{index}]"))?);
                }
                Some(Value::Array(resolved))
            }
            Value::Object(entries) => {
                let mut resolved = serde_json::Map::new();
                for (key, entry) in entries {
                    if let Some(value) = self.value(entry, &format!("{at}.{key}"))? {
                        resolved.insert(key.clone(), value);
                    }
                }
                Some(Value::Object(resolved))
            }
            scalar => Some(scalar.clone()),
        })
    }

    fn intrinsic(&self, name: &str, argument: &Value, at: &str) -> Result<Option<Value>, Invalid> {
        let value = match name {
            "Ref" => {
                let name = argument.as_str().ok_or_else(|| Invalid::expected(at, "the name Ref refers to"))?;
                return if name == "AWS::NoValue" { Ok(None) } else { self.reference(name, at).map(Some) };
            }
            "Fn::If" => {
                let [name, then, otherwise] = items(argument, at, "Fn::If with [condition, value, other value]")?;
                let name = name.as_str().ok_or_else(|| Invalid::expected(at, "the name of a condition"))?;
                return self.value(if self.named_condition(name, at)? { then } else { otherwise }, at);
            }
            "Fn::GetAtt" => Value::String(self.get_att(argument, at)?),
            "Fn::Sub" => Value::String(self.sub(argument, at)?),
            "Fn::Join" => {
                let [delimiter, list] = items(argument, at, "Fn::Join with [delimiter, list]")?;
                let delimiter = self.text(delimiter, at)?;
                Value::String(self.list(list, at)?.join(&delimiter))
            }
            "Fn::Split" => {
                let [delimiter, text] = items(argument, at, "Fn::Split with [delimiter, text]")?;
                let delimiter = self.text(delimiter, at)?;
                self.text(text, at)?.split(&delimiter).map(Value::from).collect()
            }
            "Fn::Select" => {
                let [index, list] = items(argument, at, "Fn::Select with [index, list]")?;
                let index = self.text(index, at)?.parse::<usize>();
                let index = index.map_err(|_| Invalid::expected(at, "an index that is a whole number"))?;
                let mut items = self.list(list, at)?;
                if index >= items.len() {
                    return Err(Invalid::expected(at, "an index within the list"));
                }
                Value::String(items.swap_remove(index))
            }
            "Fn::FindInMap" => self.find_in_map(argument, at)?,
            "Fn::Base64" => Value::String(BASE64_STANDARD.encode(self.text(argument, at)?)),
            "Fn::Equals" | "Fn::And" | "Fn::Or" | "Fn::Not" => {
                return Err(Invalid::expected(
                    at,
                    "a value; conditions belong under Conditions, and Fn::If names them",
                ));
            }
            other => return Err(Invalid::new(at, Problem::UnknownIntrinsic(other.to_owned()))),
        };
        Ok(Some(value))
    }

    /// What `Ref` gives.
    fn reference(&self, name: &str, at: &str) -> Result<Value, Invalid> {
        let parameters = &self.parameters;
        let pseudo = match name {
            "AWS::AccountId" => &parameters.account_id,
            "AWS::NotificationARNs" => return Ok(Value::Array(Vec::new())),
            "AWS::Partition" => "aws",
            "AWS::Region" => &parameters.region,
            "AWS::StackId" => {
                let (region, account, stack) = (&parameters.region, &parameters.account_id, &parameters.stack_name);
                let arn = format!(
                    "arn:aws:cloudformation:{region}:{account}:stack/{stack}/00000000-0000-0000-0000-000000000000"
                );
                return Ok(Value::String(arn));
            }
            "AWS::StackName" => &parameters.stack_name,
            "AWS::URLSuffix" => "amazonaws.com",
            _ => {
                if let Some(value) = self.parameter(name, at)? {
                    return Ok(value);
                }
                let resource = self.physical_name(name, at)?;
                let unknown = || Invalid::new(at, Problem::UnknownReference(name.to_owned()));
                return resource.map(Value::String).ok_or_else(unknown);
            }
        };
        Ok(Value::from(pseudo))
    }

    /// Both forms: `A.Arn`, and `[A, Arn]`.
    fn get_att(&self, argument: &Value, at: &str) -> Result<String, Invalid> {
        let what = "Fn::GetAtt with a logical id and an attribute";
        if let Some(text) = argument.as_str() {
            let (logical_id, attribute) = text.split_once('.').ok_or_else(|| Invalid::expected(at, what))?;
            return self.attribute(logical_id, attribute, at);
        }
        let [logical_id, attribute] = items(argument, at, what)?;
        let logical_id = logical_id.as_str().ok_or_else(|| Invalid::expected(at, what))?;
        self.attribute(logical_id, &self.text(attribute, at)?, at)
    }

    /// Both forms: text, and text with a map of names that hold within it.
    fn sub(&self, argument: &Value, at: &str) -> Result<String, Invalid> {
        let what = "Fn::Sub with text, or [text, map]";
        let (text, names) = if let Some(text) = argument.as_str() {
            (text, None)
        } else {
            let [text, names] = items(argument, at, what)?;
            (text.as_str().ok_or_else(|| Invalid::expected(at, what))?, names.as_object())
        };
        let mut result = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, following) =
                after.split_once('}').ok_or_else(|| Invalid::expected(at, "a closing brace after ${"))?;
            result.push_str(before);
            rest = following;
            if let Some(literal) = name.strip_prefix('!') {
                result.push_str("${");
                result.push_str(literal);
                result.push('}');
            } else if let Some(node) = names.and_then(|names| names.get(name.trim())) {
                result.push_str(&self.text(node, at)?);
            } else if let Some((logical_id, attribute)) = name.trim().split_once('.') {
                result.push_str(&self.attribute(logical_id, attribute, at)?);
            } else {
                let value = self.reference(name.trim(), at)?;
                let text =
                    text_of(&value).ok_or_else(|| Invalid::expected(at, "text in ${…}, not a list; use Fn::Join"))?;
                result.push_str(&text);
            }
        }
        result.push_str(rest);
        Ok(result)
    }

    fn find_in_map(&self, argument: &Value, at: &str) -> Result<Value, Invalid> {
        let [map, top, second] = items(argument, at, "Fn::FindInMap with [map, key, second key]")?;
        let (map, top, second) = (self.text(map, at)?, self.text(top, at)?, self.text(second, at)?);
        self.section("Mappings")
            .and_then(|mappings| mappings.get(&map)?.get(&top)?.get(&second))
            .cloned()
            .ok_or_else(|| Invalid::new(at, Problem::UnknownMapping(format!("{map}.{top}.{second}"))))
    }

    /// The argument of an intrinsic, as text.
    fn text(&self, node: &Value, at: &str) -> Result<String, Invalid> {
        self.value(node, at)?.as_ref().and_then(text_of).ok_or_else(|| Invalid::expected(at, "text"))
    }

    /// The argument of an intrinsic, as a list of texts.
    fn list(&self, node: &Value, at: &str) -> Result<Vec<String>, Invalid> {
        match self.value(node, at)? {
            Some(Value::Array(items)) => {
                items.iter().map(|item| text_of(item).ok_or_else(|| Invalid::expected(at, "a list of texts"))).collect()
            }
            _ => Err(Invalid::expected(at, "a list")),
        }
    }

    /// Whether the condition of this name holds.
    pub(crate) fn named_condition(&self, name: &str, at: &str) -> Result<bool, Invalid> {
        let node = self.section("Conditions").and_then(|conditions| conditions.get(name));
        let node = node.ok_or_else(|| Invalid::new(at, Problem::UnknownCondition(name.to_owned())))?;
        let place = format!("Conditions.{name}");
        self.evaluate(format!("the condition {name}"), &place, || self.condition(node, &place))
    }

    fn condition(&self, node: &Value, at: &str) -> Result<bool, Invalid> {
        let what = "a condition: Fn::Equals, Fn::And, Fn::Or, Fn::Not or Condition";
        let entry = node.as_object().filter(|entries| entries.len() == 1).and_then(|entries| entries.iter().next());
        let (name, argument) = entry.ok_or_else(|| Invalid::expected(at, what))?;
        match (name.as_str(), argument) {
            ("Condition", Value::String(name)) => self.named_condition(name, at),
            ("Fn::Equals", _) => {
                let [left, right] = items(argument, at, "Fn::Equals with two values")?;
                Ok(self.text(left, at)? == self.text(right, at)?)
            }
            ("Fn::Not", Value::Array(conditions)) if conditions.len() == 1 => Ok(!self.condition(&conditions[0], at)?),
            ("Fn::And", Value::Array(conditions)) => {
                conditions.iter().try_fold(true, |all, condition| Ok(all & self.condition(condition, at)?))
            }
            ("Fn::Or", Value::Array(conditions)) => {
                conditions.iter().try_fold(false, |any, condition| Ok(any | self.condition(condition, at)?))
            }
            _ => Err(Invalid::expected(at, what)),
        }
    }
}

fn items<'v, const N: usize>(argument: &'v Value, at: &str, what: &'static str) -> Result<&'v [Value; N], Invalid> {
    argument.as_array().and_then(|items| items.as_slice().try_into().ok()).ok_or_else(|| Invalid::expected(at, what))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::{Parameters, Problem, Template, yaml};

    const SOURCE: &str = r#"
Parameters:
  Stage: { Type: String, Default: dev }
  Origins: { Type: CommaDelimitedList, Default: "a, b" }
  Key: { Type: String }
Mappings:
  Sizes: { dev: { memory: 128, name: small }, prod: { memory: 1024, name: large } }
Conditions:
  IsDev: !Equals [!Ref Stage, dev]
  IsProd: !Not [!Condition IsDev]
  Both: !And [!Condition IsDev, !Condition IsProd]
  Either: { "Fn::Or": [{ Condition: IsDev }, { Condition: IsProd }] }
  Circle: !Not [!Condition Circle]
Resources:
  Table: { Type: AWS::DynamoDB::Table, Properties: { TableName: !Sub "${AWS::StackName}-${Stage}" } }
  Unnamed: { Type: AWS::DynamoDB::Table }
  Snake: { Type: AWS::DynamoDB::Table, Properties: { TableName: !Ref Snake } }
  Function: { Type: AWS::Serverless::Function }
"#;

    fn resolve(node: &str) -> Result<Option<Value>, Problem> {
        let template = Template::parse("t.yaml".as_ref(), SOURCE, Parameters::new("stack")).unwrap();
        let resolved = template.resolve(&yaml::parse(node).unwrap(), "here".to_owned());
        resolved.map(|resolved| resolved.map(|resolved| resolved.value)).map_err(|invalid| invalid.problem)
    }

    fn value(node: &str) -> Value {
        resolve(node).unwrap().unwrap()
    }

    #[test]
    fn ref_gives_parameters_names_and_pseudo_parameters() {
        assert_eq!(value("!Ref Stage"), "dev");
        assert_eq!(value("!Ref Origins"), json!(["a", "b"]));
        assert_eq!(value("!Ref Table"), "stack-dev");
        assert_eq!(value("!Ref Unnamed"), "stack-Unnamed");
        assert_eq!(value("{ Ref: 'AWS::Region' }"), "eu-west-1");
        assert_eq!(value("!Ref AWS::AccountId"), "123456789012");
        assert_eq!(value("!Ref AWS::Partition"), "aws");
        assert_eq!(value("!Ref AWS::URLSuffix"), "amazonaws.com");
        assert_eq!(value("!Ref AWS::StackName"), "stack");
        assert!(value("!Ref AWS::StackId").as_str().unwrap().contains(":stack/stack/"));
        assert_eq!(value("!Ref FunctionRole"), "stack-FunctionRole");
    }

    #[test]
    fn no_value_removes_what_it_stands_for() {
        assert_eq!(resolve("!Ref AWS::NoValue"), Ok(None));
        assert_eq!(value("{ a: !Ref AWS::NoValue, b: 1 }"), json!({ "b": 1 }));
        assert_eq!(value("[1, !If [IsProd, 2, !Ref AWS::NoValue], 3]"), json!([1, 3]));
    }

    #[test]
    fn get_att_gives_arns_in_both_forms() {
        let arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/stack-dev";
        assert_eq!(value("!GetAtt Table.Arn"), arn);
        assert_eq!(value("!GetAtt [Table, Arn]"), arn);
        assert_eq!(value("{ 'Fn::GetAtt': [Table, Arn] }"), arn);
        assert_eq!(value("!GetAtt Function.Arn"), "arn:aws:lambda:eu-west-1:123456789012:function:stack-Function");
        assert_eq!(value("!GetAtt FunctionRole.Arn"), "arn:aws:iam::123456789012:role/stack-FunctionRole");
    }

    #[test]
    fn sub_knows_names_attributes_its_own_map_and_literals() {
        assert_eq!(value("!Sub 'a-${Stage}-${Table}-${AWS::Region}'"), "a-dev-stack-dev-eu-west-1");
        assert_eq!(
            value("!Sub '${Function.Arn}/x'"),
            "arn:aws:lambda:eu-west-1:123456789012:function:stack-Function/x"
        );
        assert_eq!(value("!Sub ['${x}${Stage}', { x: !Join ['-', !Ref Origins] }]"), "a-bdev");
        assert_eq!(value("!Sub '${!Stage} $ {} ${Stage}'"), "${Stage} $ {} dev");
        assert_eq!(value("!Sub no names"), "no names");
    }

    #[test]
    fn lists_are_joined_split_and_selected_from() {
        assert_eq!(value("!Join [',', [a, !Ref Stage, 3]]"), "a,dev,3");
        assert_eq!(value("!Split ['/', a/b/c]"), json!(["a", "b", "c"]));
        assert_eq!(value("!Select [1, !Split ['/', a/b/c]]"), "b");
        assert_eq!(value("!Select ['0', !Ref Origins]"), "a");
    }

    #[test]
    fn mappings_and_base64() {
        assert_eq!(value("!FindInMap [Sizes, !Ref Stage, memory]"), 128);
        assert_eq!(value("!FindInMap [Sizes, prod, name]"), "large");
        assert_eq!(value("!Base64 abc"), "YWJj");
        assert_eq!(value("{ 'Fn::Base64': !Ref Stage }"), "ZGV2");
    }

    #[test]
    fn conditions_choose() {
        assert_eq!(value("!If [IsDev, yes, no]"), "yes");
        assert_eq!(value("!If [IsProd, yes, no]"), "no");
        assert_eq!(value("!If [Both, yes, no]"), "no");
        assert_eq!(value("{ 'Fn::If': [Either, !Ref Stage, !Ref Key] }"), "dev");
    }

    #[test]
    fn only_what_is_chosen_is_evaluated() {
        assert_eq!(value("!If [IsDev, 1, !Ref Key]"), 1);
        assert_eq!(resolve("!If [IsProd, 1, !Ref Key]"), Err(Problem::MissingParameter("Key".to_owned())));
    }

    #[test]
    fn mistakes_are_named() {
        let named = |node: &str| resolve(node).unwrap_err().to_string();
        assert_eq!(
            named("!Ref Tabel"),
            "Tabel is neither a parameter nor a resource of the template; correct the name"
        );
        assert_eq!(
            named("!GetAtt Table.Colour"),
            "the value of Table.Colour is not known outside AWS; use a parameter with a default instead"
        );
        assert_eq!(
            named("!If [IsTest, 1, 2]"),
            "there is no condition IsTest; correct its name or add it under Conditions"
        );
        assert_eq!(
            named("!FindInMap [Sizes, test, memory]"),
            "Mappings has no Sizes.test.memory; correct the key or add it"
        );
        assert_eq!(
            named("!ImportValue x"),
            "Fn::ImportValue is not evaluated here; use a parameter with a default instead"
        );
        assert_eq!(named("!If [Circle, 1, 2]"), "the condition Circle refers to itself");
        assert_eq!(named("!Ref Snake"), "the name of Snake refers to itself");
        assert_eq!(named("!Select [2, [a, b]]"), "expected an index within the list");
        assert_eq!(named("!Select [x, [a, b]]"), "expected an index that is a whole number");
        assert_eq!(named("!Join [a]"), "expected Fn::Join with [delimiter, list]");
        assert_eq!(named("!Sub '${Stage'"), "expected a closing brace after ${");
        assert_eq!(named("!Sub '${Origins}'"), "expected text in ${…}, not a list; use Fn::Join");
        assert_eq!(
            named("!Equals [a, b]"),
            "expected a value; conditions belong under Conditions, and Fn::If names them"
        );
    }
}
