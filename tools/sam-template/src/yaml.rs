//! From YAML text to one tree in CloudFormation's JSON form: a short tag such as `!GetAtt` becomes its long form,
//! `Fn::GetAtt`. What evaluates intrinsics then has one form to know.

use saphyr::{LoadableYamlNode, ScanError, Tag, Yaml};
use serde_json::{Map, Number, Value};

/// Parses the first document of `source`. An empty file is `null`.
pub(crate) fn parse(source: &str) -> Result<Value, ScanError> {
    let documents = Yaml::load_from_str(source)?;
    Ok(documents.first().map_or(Value::Null, value))
}

fn value(node: &Yaml<'_>) -> Value {
    if let Yaml::Tagged(tag, inner) = node {
        return tagged(tag, value(inner));
    }
    if let Some(items) = node.as_sequence() {
        return items.iter().map(value).collect();
    }
    if let Some(entries) = node.as_mapping() {
        return Value::Object(entries.iter().map(|(key, entry)| (text(key), value(entry))).collect());
    }
    scalar(node)
}

fn scalar(node: &Yaml<'_>) -> Value {
    if let Some(boolean) = node.as_bool() {
        Value::Bool(boolean)
    } else if let Some(integer) = node.as_integer() {
        Value::Number(integer.into())
    } else if let Some(float) = node.as_floating_point() {
        Number::from_f64(float).map_or(Value::Null, Value::Number)
    } else if let Some(text) = node.as_str() {
        Value::String(text.to_owned())
    } else {
        Value::Null
    }
}

/// A mapping's key is text to CloudFormation even where YAML sees a number: an account id in `Mappings`, say.
fn text(key: &Yaml<'_>) -> String {
    match scalar(key) {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

fn tagged(tag: &Tag, inner: Value) -> Value {
    let name = match tag.suffix.as_str() {
        plain @ ("Ref" | "Condition") => plain.to_owned(),
        function => format!("Fn::{function}"),
    };
    Value::Object(Map::from_iter([(name, inner)]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::parse;

    #[test]
    fn short_tags_become_long_forms() {
        let parsed = parse(
            "a: !Ref B\nc: !GetAtt D.Arn\ne: !Sub ['${x}', {x: !Ref B}]\nf: !If\n  - G\n  - !Ref AWS::NoValue\n  - 1\n\
             h: !Condition I\n",
        )
        .unwrap();
        assert_eq!(
            parsed,
            json!({
                "a": { "Ref": "B" },
                "c": { "Fn::GetAtt": "D.Arn" },
                "e": { "Fn::Sub": ["${x}", { "x": { "Ref": "B" } }] },
                "f": { "Fn::If": ["G", { "Ref": "AWS::NoValue" }, 1] },
                "h": { "Condition": "I" },
            })
        );
    }

    #[test]
    fn scalars_keep_their_types() {
        let parsed = parse("a: 1\nb: 2.0\nc: true\nd: '1'\ne:\nf: 2010-09-09\ng: \"\"\n123456789012: x\n").unwrap();
        let expected = json!({
            "a": 1, "b": 2.0, "c": true, "d": "1", "e": null, "f": "2010-09-09", "g": "", "123456789012": "x"
        });
        assert_eq!(parsed, expected);
    }

    #[test]
    fn anchors_and_merged_lines_are_plain_values() {
        let parsed = parse("a: &x {k: [1, 2]}\nb: *x\nc: >-\n  one\n  two\n").unwrap();
        assert_eq!(parsed, json!({ "a": { "k": [1, 2] }, "b": { "k": [1, 2] }, "c": "one two" }));
    }

    #[test]
    fn an_empty_file_is_null_and_a_broken_one_names_the_line() {
        assert_eq!(parse("").unwrap(), json!(null));
        assert!(parse("a: [1\nb: 2\n").unwrap_err().to_string().contains("line"));
    }
}
