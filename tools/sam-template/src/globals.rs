//! `Globals`: properties that every function or HTTP API of a template has.
//!
//! SAM's rules: maps are merged, lists are joined with the global entries first, anything else is replaced. An
//! intrinsic is a value, not a map.

use serde_json::{Map, Value};

use crate::intrinsics::as_intrinsic;

/// The section of `Globals` that applies to resources of this type.
pub(crate) fn section_for(kind: &str) -> Option<&'static str> {
    match kind {
        "AWS::Serverless::Function" => Some("Function"),
        "AWS::Serverless::Api" => Some("Api"),
        "AWS::Serverless::HttpApi" => Some("HttpApi"),
        "AWS::Serverless::SimpleTable" => Some("SimpleTable"),
        _ => None,
    }
}

/// The value that holds when `Globals` says `global` and the resource says `own`.
pub(crate) fn merge(global: Option<&Value>, own: Option<&Value>) -> Option<Value> {
    match (global, own) {
        (Some(global), Some(own)) => Some(merge_both(global, own)),
        (one, None) | (None, one) => one.cloned(),
    }
}

fn merge_both(global: &Value, own: &Value) -> Value {
    match (global, own) {
        (Value::Object(globals), Value::Object(owns))
            if as_intrinsic(global).is_none() && as_intrinsic(own).is_none() =>
        {
            Value::Object(merge_maps(globals, owns))
        }
        (Value::Array(globals), Value::Array(owns)) => globals.iter().chain(owns).cloned().collect(),
        _ => own.clone(),
    }
}

fn merge_maps(globals: &Map<String, Value>, owns: &Map<String, Value>) -> Map<String, Value> {
    let mut merged = globals.clone();
    for (key, own) in owns {
        let value = globals.get(key).map_or_else(|| own.clone(), |global| merge_both(global, own));
        merged.insert(key.clone(), value);
    }
    merged
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::merge;

    #[test]
    fn maps_merge_lists_join_and_the_rest_is_replaced() {
        let global = json!({ "map": { "a": 1, "b": 1 }, "list": [1], "scalar": 1, "global": true });
        let own = json!({ "map": { "b": 2 }, "list": [2], "scalar": 2 });
        assert_eq!(
            merge(Some(&global), Some(&own)).unwrap(),
            json!({ "map": { "a": 1, "b": 2 }, "list": [1, 2], "scalar": 2, "global": true })
        );
    }

    #[test]
    fn an_intrinsic_is_replaced_and_never_merged() {
        let global = json!({ "Ref": "A" });
        assert_eq!(merge(Some(&global), Some(&json!({ "Ref": "B" }))).unwrap(), json!({ "Ref": "B" }));
        assert_eq!(merge(Some(&global), Some(&json!({ "x": 1 }))).unwrap(), json!({ "x": 1 }));
        assert_eq!(merge(Some(&json!([1])), Some(&json!("x"))).unwrap(), json!("x"));
    }
}
