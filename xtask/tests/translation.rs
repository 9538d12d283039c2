//! What SAM accepts and AWS does not is found in the translation of the template.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fs;

use xtask::translation::{self, Extent};
use xtask::workspace;

/// A change of the template that SAM's translator accepts: what it is, what is replaced by what, and what is found.
struct Breakage {
    what: &'static str,
    from: &'static str,
    to: &'static str,
    finding: &'static str,
}

const BREAKAGES: &[Breakage] = &[
    Breakage {
        what: "a list that SAM cannot read takes the place of the whole CORS configuration",
        from: "      CorsConfiguration: !If
        - PagesElsewhereMayCall
        - AllowOrigins: !Split",
        to: "      CorsConfiguration:
          AllowOrigins: !Split",
        finding: r#"CORS is ["https://localhost"], which is no object"#,
    },
    Breakage {
        what: "a number of CORS is a parameter's text",
        from: "          MaxAge: 600",
        to: "          MaxAge: !Ref AccessTokenLifetimeSeconds",
        finding: r#"x-amazon-apigateway-cors: maxAge is "900", and must be a number"#,
    },
    Breakage {
        what: "a list of CORS is one text",
        from: r#"AllowMethods: !Split [",", !Ref AllowedMethods]"#,
        to: "AllowMethods: !Ref AllowedMethods",
        finding: r#"allowMethods is "GET,POST,PUT,PATCH,DELETE", and must be a texts"#,
    },
    Breakage {
        what: "how long a verdict is kept is a parameter's text",
        from: "              ReauthorizeEvery: !If
                - CacheIsOff
                - 0",
        to: "              ReauthorizeEvery: !If
                - CacheIsOff
                - !Ref AuthorizerCacheSeconds",
        finding: r#"authorizerResultTtlInSeconds is "0", and must be a number"#,
    },
    Breakage {
        what: "verdicts are kept though the parameter says they are not",
        from: "                - CacheIsOff
                - 0",
        to: "                - CacheIsOff
                - 300",
        finding: "a verdict is kept for 300 s, and AuthorizerCacheSeconds is 0",
    },
    Breakage {
        what: "the authorizer's simple answers are not understood",
        from: "            EnableSimpleResponses: true\n",
        to: "",
        finding: "AccessTokenAuthorizer does not take the answers that the authorizer gives",
    },
    Breakage {
        what: "API Gateway may not call the authorizer",
        from: "            EnableFunctionDefaultPermissions: true",
        to: "            EnableFunctionDefaultPermissions: false",
        finding: "AccessTokenAuthorizer: API Gateway has no permission to call AuthorizerFunction",
    },
    Breakage {
        what: "a protected route is open",
        from: "            Path: /me\n",
        to: "            Path: /me\n            Auth: { Authorizer: NONE }\n",
        finding: "GET /me is described as protected, and anybody may call it",
    },
    Breakage {
        what: "a route leads to a function that API Gateway may not call",
        from: "    Properties:
      DisableExecuteApiEndpoint",
        to: "    Properties:
      DefinitionBody:
        openapi: 3.0.1
        info: { title: x, version: '1' }
        paths:
          /more:
            get:
              x-amazon-apigateway-integration:
                type: aws_proxy
                httpMethod: POST
                payloadFormatVersion: '2.0'
                uri: !Sub arn:${AWS::Partition}:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${ProtectedFunction.Arn}/invocations
      DisableExecuteApiEndpoint",
        finding: "GET /more: API Gateway has no permission to call ProtectedFunction",
    },
    Breakage {
        what: "the switch of the address is a text",
        from: "DisableExecuteApiEndpoint: !If [ExecuteApiEndpointIsDisabled, true, false]",
        to: "DisableExecuteApiEndpoint: !Ref ExecuteApiEndpoint",
        finding: r#"disableExecuteApiEndpoint is "enabled", and must be a boolean"#,
    },
    Breakage {
        what: "the stage has settings for a route that there is not",
        from: r#"        "POST /login":"#,
        to: r#"        "POST /signin":"#,
        finding: "the stage has settings for POST /signin, which is no route",
    },
    Breakage {
        what: "the access log has a variable that HTTP APIs do not have",
        from: r#""latency_ms":"$context.responseLatency","#,
        to: r#""latency_ms":"$context.responseLatency","authorizer_latency_ms":"$context.authorizer.latency","#,
        finding: "the access log has $context.authorizer.latency",
    },
    Breakage {
        what: "the platform drops metrics",
        from: "      ApplicationLogLevel: TRACE",
        to: "      ApplicationLogLevel: !Ref LogLevel",
        finding: "LoginFunction: ApplicationLogLevel is INFO",
    },
    Breakage {
        what: "a function has another's role",
        from: "      Role: !GetAtt PageFunctionRole.Arn",
        to: "      Role: !GetAtt ProtectedFunctionRole.Arn",
        finding: "has the role of",
    },
];

#[test]
fn what_sam_accepts_and_aws_does_not_is_found() {
    let template = fs::read_to_string(workspace::template()).unwrap();
    let directory = workspace::local().join("test/translation");
    fs::create_dir_all(&directory).unwrap();
    for (number, Breakage { what, from, to, finding }) in BREAKAGES.iter().enumerate() {
        assert_eq!(template.matches(from).count(), 1, "{what}: the template has changed, and this change with it");
        let file = directory.join(format!("{number}.yaml"));
        fs::write(&file, template.replacen(from, to, 1)).unwrap();
        let findings = translation::findings(&file, Extent::Defaults).unwrap();
        assert!(findings.iter().any(|line| line.contains(finding)), "{what}: {findings:#?}");
    }
}

#[test]
fn nothing_is_found_in_the_template_itself() {
    let findings = translation::findings(&workspace::template(), Extent::Defaults).unwrap();
    assert!(findings.is_empty(), "{findings:#?}");
}
