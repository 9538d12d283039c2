//! The AWS calls of functions, compared with the permissions of their roles, in both directions. IAM itself decided
//! about every call; this checks that no call was refused, and that no permission is unused.

use std::collections::{BTreeMap, BTreeSet};

use e2e::deployment::{Aws, Stack};
use serde_json::Value;

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// As a list: IAM takes a single member for one.
fn list(value: &Value) -> Vec<String> {
    match value {
        Value::Array(members) => members.iter().map(|member| text(member).to_owned()).collect(),
        Value::Null => Vec::new(),
        member => vec![text(member).to_owned()],
    }
}

/// Whether the call has all values that the statement's conditions require, and no others. For IAM a call without
/// attributes fulfils `ForAllValues`, which is why the statements also require `Select`.
fn fulfils(call: &Value, statement: &Value) -> bool {
    let operators = statement["Condition"].as_object().into_iter().flatten();
    operators.into_iter().all(|(operator, keys)| {
        let must_be_named = match operator.as_str() {
            "ForAllValues:StringEquals" | "StringEquals" => true,
            "StringEqualsIfExists" => false,
            other => panic!("{other}"),
        };
        keys.as_object().unwrap().iter().all(|(key, allowed)| {
            let (named, allowed) = (list(&call["conditions"][key]), list(allowed));
            !(must_be_named && named.is_empty()) && named.iter().all(|value| allowed.contains(value))
        })
    })
}

/// The refused calls and the unused permissions of the selected functions, from call `since`
/// on.
pub(crate) fn compared_with_calls(
    aws: &Aws,
    stack: &Stack,
    since: usize,
    is_chosen: impl Fn(&str) -> bool,
) -> Vec<String> {
    // Until IAM knows a role, every call is refused; that is not an error of the role.
    let calls: Vec<Value> = aws.calls().split_off(since).into_iter().filter(|call| call["known"] == true).collect();
    let mut findings = BTreeSet::new();
    println!("\n{:20} {:28} {:32} calls", "function", "action", "statement");
    for function in stack.parts("functions").keys().filter(|function| is_chosen(function)) {
        let role = &stack.parts("roles")[&format!("{function}Role")];
        let own: Vec<_> = calls.iter().filter(|call| call["role"] == role["name"]).collect();
        for call in own.iter().filter(|call| call["allowed"] == false) {
            findings.insert(format!("refused: {function}: {} on {}", text(&call["action"]), text(&call["resource"])));
        }
        let statements = role["statements"].as_array().unwrap();
        // Lambda itself writes the log, with the function's role.
        let (logs, asked): (Vec<_>, Vec<_>) =
            statements.iter().partition(|statement| statement["Sid"] == "WriteOwnLog");
        let group = &stack.parts("log_groups")[&function.replace("Function", "LogGroup")]["arn"];
        assert_eq!(logs.len(), 1, "{function}");
        assert_eq!(
            (list(&logs[0]["Action"]).join(" "), &logs[0]["Resource"]),
            ("logs:CreateLogStream logs:PutLogEvents".to_owned(), group)
        );
        for statement in &asked {
            let (sid, resource) = (text(&statement["Sid"]), text(&statement["Resource"]));
            for action in list(&statement["Action"]) {
                let asks = |call: &&&Value| {
                    text(&call["action"]) == action && text(&call["resource"]) == resource && fulfils(call, statement)
                };
                let count = own.iter().filter(asks).count();
                println!("{function:20} {action:28} {sid:32} {count:5}");
                if count == 0 {
                    findings.insert(format!("never asked: {function}: {action} on {resource} ({sid})"));
                }
            }
        }
        if asked.is_empty() && own.is_empty() {
            println!("{function:20} nothing asked, nothing allowed");
        }
    }
    let by_outcome = calls.iter().fold(BTreeMap::new(), |mut counts, call| {
        *counts.entry(call["allowed"] == true).or_insert(0) += 1;
        counts
    });
    println!(
        "{:?} calls allowed, {:?} refused",
        by_outcome.get(&true).unwrap_or(&0),
        by_outcome.get(&false).unwrap_or(&0)
    );
    findings.into_iter().collect()
}
