//! The resources in AWS after a deployment, compared with what functions need.

use std::collections::{BTreeMap, BTreeSet};

use e2e::deployment::{Aws, Stack};
use local_stack::package::{Architecture, budget_bytes};
use local_stack::{stack, workspace};
use serde_json::{Value, json};

use crate::roles::text;

/// Prints the resources, and checks that nothing is missing.
pub(crate) fn must_be_whole(stack: &Stack) {
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for [logical_id, kind, status] in stack.resources() {
        assert_eq!(status, "CREATE_COMPLETE", "{logical_id}");
        *kinds.entry(kind).or_default() += 1;
    }
    println!("\nmade in the emulator:");
    for (kind, count) in kinds {
        println!("  {count:2} {kind}");
    }
    let api = &stack.parts("apis")["Api"];
    println!("CORS: {}", api["CorsConfiguration"]);
    assert_eq!(
        api["CorsConfiguration"],
        json!({
            "AllowHeaders": ["authorization", "content-type", "traceparent", "tracestate", "baggage", "x-requested-with"],
            "AllowMethods": ["GET", "POST", "PUT", "PATCH", "DELETE"],
            "AllowOrigins": ["https://localhost"],
            "ExposeHeaders": ["retry-after", "www-authenticate", "x-request-id"],
            "MaxAge": 600,
        })
    );
    let authorizer = &api["authorizers"][0];
    println!("authorizer: {authorizer}");
    assert_eq!(authorizer["AuthorizerResultTtlInSeconds"], 0);
    assert_eq!(authorizer["IdentitySource"], json!(["$request.header.Authorization"]));
    let guarded = |route: &&Value| route["AuthorizationType"] == "CUSTOM";
    let routes = api["routes"].as_array().unwrap();
    println!("routes: {}, of which {} are guarded", routes.len(), routes.iter().filter(guarded).count());

    let template = stack::template("latchkey-dev", &BTreeMap::new()).unwrap();
    for table in template.tables().unwrap() {
        let (logical_id, described) =
            stack.parts("tables").iter().find(|(id, _)| table.name.contains(id.as_str())).unwrap();
        assert_eq!(described["KeySchema"], table.create_table["KeySchema"], "{logical_id}");
        assert_eq!(described["BillingModeSummary"]["BillingMode"], "PAY_PER_REQUEST", "{logical_id}");
    }
    let key = &stack.parts("keys")["SealingKey"];
    assert_eq!((&key["KeyState"], &key["rotates"]), (&json!("Enabled"), &json!(true)));
    assert_eq!(stack.output("KmsKeyId"), text(&key["Arn"]));
    assert_eq!(
        key["policy"]["Statement"][1],
        json!({
            "Sid": "OnlyWithPurpose",
            "Effect": "Deny",
            "Principal": { "AWS": "*" },
            "Action": ["kms:Encrypt", "kms:Decrypt"],
            "Resource": "*",
            "Condition": { "Null": { "kms:EncryptionContext:purpose": "true" } },
        })
    );
    assert!(stack.parts("log_groups").values().all(|group| group["retentionInDays"] == 7));
    let rule = stack.parts("rules").values().next().unwrap();
    let rotate_keys = &stack.parts("functions")["RotateKeysFunction"]["FunctionArn"];
    assert_eq!((&rule["State"], &rule["targets"][0]["Arn"]), (&json!("ENABLED"), rotate_keys));
    let topic = stack.output("AlarmTopicArn");
    for (logical_id, alarm) in stack.parts("alarms") {
        assert_eq!(alarm["AlarmActions"], json!([topic]), "{logical_id}");
    }

    // Every function has a role and a log of its own, and the variables that the template says, with what was made in
    // them.
    let tables: BTreeSet<_> = stack.parts("tables").values().map(|table| text(&table["TableName"])).collect();
    let functions = template.functions().unwrap();
    assert_eq!(stack.parts("functions").len(), functions.len());
    assert_eq!(stack.parts("log_groups").len(), functions.len() + 1, "and one for requests");
    let mut roles = BTreeSet::new();
    for (logical_id, configuration) in stack.parts("functions") {
        let role = &stack.parts("roles")[&format!("{logical_id}Role")];
        assert_eq!(configuration["Role"], role["arn"], "{logical_id}");
        assert!(roles.insert(text(&role["arn"])), "{logical_id} shares a role");
        assert_eq!(role["managed"], json!(["arn:aws:iam::aws:policy/AWSXrayWriteOnlyAccess"]), "{logical_id}");
        assert_eq!(role["trusts"]["Statement"][0]["Principal"], json!({ "Service": "lambda.amazonaws.com" }));
        let variables = configuration["Environment"]["Variables"].as_object().unwrap();
        let expected: Vec<_> = template.environment(logical_id).unwrap().into_keys().collect();
        let mut found: Vec<_> = variables.keys().cloned().collect();
        found.sort();
        assert_eq!(found, expected, "{logical_id}");
        for (name, value) in variables.iter().filter(|(name, _)| name.ends_with("_TABLE_NAME")) {
            assert!(tables.contains(text(value)), "{logical_id}: {name}={value}");
        }
        // Functions that may use the key get its id, and no others.
        let may_use_it = role["statements"].to_string().contains("\"kms:");
        let id = variables.get("LATCHKEY_KMS_KEY_ID").filter(|id| *id != "");
        assert_eq!(id, may_use_it.then_some(&key["Arn"]), "{logical_id}");
    }
}

/// What Lambda fetches and unpacks at every cold start is within its budget: the archives that were uploaded.
pub(crate) fn archives_must_be_small(stack: &Stack) {
    let binaries: BTreeMap<_, _> = stack::template("latchkey-dev", &BTreeMap::new())
        .unwrap()
        .functions()
        .unwrap()
        .into_iter()
        .map(|function| (function.logical_id, function.binary))
        .collect();
    let mut too_large = Vec::new();
    println!("\nuploaded for {}:", Architecture::DEPLOYED);
    for (logical_id, configuration) in stack.parts("functions") {
        assert_eq!(configuration["Architectures"], json!([Architecture::DEPLOYED.to_string()]), "{logical_id}");
        // An ELF file says for which processor it is: 183 is AArch64.
        let bootstrap = workspace::root().join(".aws-sam/build").join(logical_id).join("bootstrap");
        let header = std::fs::read(&bootstrap).unwrap();
        assert_eq!(u16::from_le_bytes([header[18], header[19]]), 183, "{}", bootstrap.display());
        let size = configuration["CodeSize"].as_u64().unwrap();
        let budget = budget_bytes(Architecture::DEPLOYED, &binaries[logical_id]);
        println!("  {logical_id:20} {size:9} of {budget:9} bytes");
        if size > budget {
            too_large.push(logical_id);
        }
    }
    assert!(too_large.is_empty(), "over their budget: {too_large:?}");
}

/// Every metric that functions write is in the log by now.
pub(crate) fn metrics_are_written(aws: &Aws) {
    let mut names = BTreeSet::new();
    for line in aws.log().iter().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        for directive in line["_aws"]["CloudWatchMetrics"].as_array().into_iter().flatten() {
            for metric in directive["Metrics"].as_array().into_iter().flatten() {
                names.insert(text(&metric["Name"]).to_owned());
            }
        }
    }
    println!("metrics: {}", names.iter().cloned().collect::<Vec<_>>().join(", "));
    for name in
        ["Logins", "LoginLatency", "Authorizations", "AuthorizationLatency", "RefusedAuthorizations", "Refreshes"]
    {
        assert!(names.contains(name), "no metric {name} in {names:?}");
    }
}
