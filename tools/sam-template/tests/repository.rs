//! The repository's own template: what local tooling reads from it is what it deploys.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::{collections::BTreeMap, path::Path, time::Duration};

use sam_template::{Authorizer, AuthorizerEvent, LambdaAuthorizer, Parameters, Template};
use serde_json::json;

fn template(values: &[(&str, &str)]) -> Template {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../template.yaml");
    let mut parameters = Parameters::new("latchkey");
    parameters.values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Template::load(&path, parameters).unwrap()
}

#[test]
fn its_tables_can_be_created() {
    let tables = template(&[]).tables().unwrap();
    let names: Vec<_> = tables.iter().map(|table| (table.logical_id.as_str(), table.name.as_str())).collect();
    for expected in ["DenylistTable", "LoginAttemptsTable", "SessionsTable", "SigningKeysTable", "UsersTable"] {
        assert!(names.contains(&(expected, format!("latchkey-{expected}").as_str())), "{expected} is not in {names:?}");
    }
    let denylist = tables.iter().find(|table| table.logical_id == "DenylistTable").unwrap();
    assert_eq!(denylist.ttl_attribute.as_deref(), Some("expires_at"));
    assert_eq!(
        denylist.create_table,
        json!({
            "TableName": "latchkey-DenylistTable",
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [
                { "AttributeName": "sub", "AttributeType": "S" },
                { "AttributeName": "revocation", "AttributeType": "S" },
            ],
            "KeySchema": [
                { "AttributeName": "sub", "KeyType": "HASH" },
                { "AttributeName": "revocation", "KeyType": "RANGE" },
            ],
        })
    );
}

#[test]
fn its_functions_run_the_binaries_of_the_workspace() {
    let functions = template(&[]).functions().unwrap();
    let binaries: BTreeMap<_, _> = functions.iter().map(|f| (f.logical_id.as_str(), f.binary.as_str())).collect();
    for (logical_id, binary) in [
        ("AuthorizerFunction", "authorizer"),
        ("DiscoveryFunction", "discovery"),
        ("LoginFunction", "login"),
        ("LogoutFunction", "logout"),
        ("PageFunction", "page"),
        ("ProtectedFunction", "protected"),
    ] {
        assert_eq!(binaries.get(logical_id), Some(&binary));
    }
    // `Globals`, and those that have their own.
    for function in functions {
        let seconds = match function.logical_id.as_str() {
            "LoginFunction" | "TokenFunction" | "AccountFunction" => 20,
            "RotateKeysFunction" => 60,
            _ => 10,
        };
        assert_eq!(function.timeout, Duration::from_secs(seconds), "{}", function.logical_id);
    }
}

#[test]
fn an_environment_names_the_tables_and_the_kms_key_only_where_it_is_used() {
    let template_of = |parameters: &[(&str, &str)], function: &str| template(parameters).environment(function);
    let environment = template_of(&[], "AuthorizerFunction").unwrap();
    assert_eq!(environment.get("DENYLIST_TABLE_NAME").map(String::as_str), Some("latchkey-DenylistTable"));
    assert_eq!(environment.get("LATCHKEY_ISSUER").map(String::as_str), Some(""));
    let of_protected = template_of(&[], "ProtectedFunction").unwrap();
    let of_all = [("LATCHKEY_LOG_LEVEL", "INFO"), ("METRICS_SERVICE", "latchkey")];
    assert_eq!(of_protected, BTreeMap::from(of_all.map(|(name, value)| (name.to_owned(), value.to_owned()))));

    let has_kms_key = |parameters: &[(&str, &str)], function: &str| {
        let environment = template_of(parameters, function).unwrap();
        environment.get("LATCHKEY_KMS_KEY_ID").is_some_and(|id| id.starts_with("arn:aws:kms:"))
    };
    for (function, signs) in [
        ("LoginFunction", true),
        ("TokenFunction", true),
        ("AuthorizerFunction", false),
        ("LogoutFunction", false),
        ("AccountFunction", false),
        ("DiscoveryFunction", false),
    ] {
        assert_eq!(has_kms_key(&[], function), signs, "{function}");
    }
    assert!(has_kms_key(&[("Hs256", "accepted")], "AuthorizerFunction"));

    let environment = template_of(&[("Issuer", "https://login.example.com")], "LoginFunction").unwrap();
    assert_eq!(environment.get("LATCHKEY_ISSUER").map(String::as_str), Some("https://login.example.com"));
    assert_eq!(environment.get("LATCHKEY_ACCESS_TOKEN_LIFETIME_SECONDS").map(String::as_str), Some("900"));

    let refused = template_of(&[("Audience", "two words")], "LoginFunction").unwrap_err();
    assert!(
        refused.to_string().ends_with("it must be 1 to 200 printable ASCII characters without spaces"),
        "{refused}"
    );
    assert!(!refused.to_string().contains("two words"));
}

/// CloudFormation asks for keys when the property changes; the function, which the schedule calls as well, reads the
/// variable.
#[test]
fn the_purposes_of_keys_are_the_same_in_the_resource_and_in_the_environment() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../template.yaml")).unwrap();
    let properties: Vec<_> = text.lines().filter_map(|line| line.trim().strip_prefix("Purposes: ")).collect();
    let purposes = template(&[]).environment("RotateKeysFunction").unwrap().remove("LATCHKEY_KEY_PURPOSES").unwrap();
    assert_eq!(properties, [format!("[{}]", purposes.replace(',', ", "))]);
}

#[test]
fn its_api_has_one_authorizer_that_only_public_routes_go_without() {
    let apis = template(&[("AllowedOrigins", "https://a.example.com,https://b.example.com")]).http_apis().unwrap();
    let [api] = apis.as_slice() else { panic!("one API, not {apis:?}") };
    assert_eq!((api.logical_id.as_str(), api.stage.as_str()), ("Api", "$default"));
    assert_eq!(
        api.authorizers.get("AccessTokenAuthorizer"),
        Some(&Authorizer::Lambda(LambdaAuthorizer {
            function: "AuthorizerFunction".to_owned(),
            event: AuthorizerEvent::HttpV2,
            enable_simple_responses: true,
            identity_sources: vec!["$request.header.Authorization".to_owned()],
            result_ttl: Duration::ZERO,
        }))
    );
    let authorizer_of = |method: &str, path: &str| {
        let route = api.routes.iter().find(|route| route.method == method && route.path == path);
        route.map(|route| (route.function.as_str(), route.authorizer.as_deref()))
    };
    let guarded = Some("AccessTokenAuthorizer");
    assert_eq!(authorizer_of("POST", "/login"), Some(("LoginFunction", None)));
    assert_eq!(authorizer_of("GET", "/.well-known/jwks.json"), Some(("DiscoveryFunction", None)));
    assert_eq!(authorizer_of("POST", "/logout"), Some(("LogoutFunction", guarded)));
    assert_eq!(authorizer_of("GET", "/me"), Some(("ProtectedFunction", guarded)));
    assert_eq!(authorizer_of("GET", "/admin-only"), Some(("ProtectedFunction", guarded)));
    let cors = api.cors.as_ref().unwrap();
    assert_eq!(cors.allow_origins, ["https://a.example.com", "https://b.example.com"]);
    assert_eq!(cors.max_age, Some(600));
    // Throttling is AWS's alone.
    assert_eq!(api.unread, ["Resources.Api.Properties.DefaultRouteSettings", "Resources.Api.Properties.RouteSettings"]);
}

#[test]
fn its_parameters_refuse_what_would_weaken_or_break_it() {
    for (name, value) in [
        ("AllowedOrigins", "**"),
        ("AllowedOrigins", "https://good.example.com,http://example.com"),
        ("AllowedOrigins", "https://good.example.com,*"),
        ("AllowedOrigins", "https://example.com/path"),
        ("AuthorizerCacheSeconds", "3601"),
    ] {
        assert!(template(&[(name, value)]).http_apis().is_err(), "{name}={value}");
    }
    for (name, value) in
        [("Issuer", "http://login.example.com"), ("AccessTokenLifetimeSeconds", "86400"), ("Hs256", "yes")]
    {
        assert!(template(&[(name, value)]).environment("TokenFunction").is_err(), "{name}={value}");
    }
    let cached = template(&[("AuthorizerCacheSeconds", "60")]).http_apis().unwrap();
    let Some(Authorizer::Lambda(authorizer)) = cached[0].authorizers.get("AccessTokenAuthorizer") else {
        panic!("no Lambda authorizer")
    };
    assert_eq!(authorizer.result_ttl, Duration::from_mins(1));
}

#[test]
fn a_template_that_is_not_there_is_named() {
    let error = Template::load(Path::new("no/such/template.yaml"), Parameters::new("latchkey")).unwrap_err();
    assert_eq!(error.to_string(), "cannot read the template no/such/template.yaml");
}

/// Everything that a deployment reads of the template.
fn deploy(template: &Template) -> Result<(), sam_template::Error> {
    for function in template.functions()? {
        template.environment(&function.logical_id)?;
    }
    template.tables()?;
    template.http_apis()?;
    Ok(())
}

/// CloudFormation refuses such values by the same patterns and ranges before it makes anything. What it cannot see, a
/// function refuses at its start (`e2e/tests/start.rs`).
#[test]
fn a_bad_deployment_parameter_is_rejected_before_anything_is_created() {
    deploy(&template(&[])).unwrap();
    for (name, bad, reason) in [
        ("Issuer", "http://login.example.com", "it must be an https URL without query or fragment, or empty"),
        ("Issuer", "https://login.example.com?a=b", "it must be an https URL without query or fragment, or empty"),
        ("Audience", "", "it must be 1 to 200 printable ASCII characters without spaces"),
        ("AccessTokenLifetimeSeconds", "59", "it must be at least 60"),
        ("AccessTokenLifetimeSeconds", "31536000", "it must be at most 3600"),
        ("AccessTokenLifetimeSeconds", "soon", "it must be a number"),
        ("RefreshGraceSeconds", "61", "it must be at most 60"),
        ("MinPasswordLength", "7", "it must be at least 8"),
        ("AuthorizerCacheSeconds", "61", "it must be one of 0, 10, 30, 60, 300, 3600"),
        ("AllowedMethods", "get", "it must be HTTP methods in capitals, separated only by commas"),
        ("AllowedHeaders", "*", "it must be header names in lower case, separated only by commas"),
        ("FreeAttemptsPerAddress", "0", "it must be at least 1"),
        ("Registration", "maybe", "it must be one of enabled, disabled"),
        ("SigningAlgorithm", "none", "it must be one of ES256, RS256, EdDSA, HS256"),
    ] {
        let error = deploy(&template(&[(name, bad)])).unwrap_err();
        let message = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        assert!(message.contains(&format!("the parameter {name} is invalid: {reason}")), "{bad}: {message}");
    }
    for origins in ["*,https://app.example.com", "http://app.example.com", "https://app.example.com/path", ","] {
        assert!(deploy(&template(&[("AllowedOrigins", origins)])).is_err(), "{origins}");
    }
}

/// Cookies for any page would defeat the protection: credentials are never allowed, for any
/// origin.
#[test]
fn no_origin_is_ever_allowed_together_with_credentials() {
    for origins in ["*", "https://app.example.com,http://localhost:5173"] {
        for api in template(&[("AllowedOrigins", origins)]).http_apis().unwrap() {
            let cors = api.cors.unwrap();
            assert_eq!(cors.allow_origins, origins.split(',').collect::<Vec<_>>());
            assert!(!cors.allow_credentials);
        }
    }
}
