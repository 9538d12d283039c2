//! What SAM accepts and AWS does not is found in the translation of the template.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fs;

use super::Extent;
use crate::translation;
use local_stack::workspace;

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
        from: r#"      CorsConfiguration: !If
        - PagesElsewhereMayCall
        - AllowOrigins: !Split [",", !Ref AllowedOrigins]
          AllowMethods: !Split [",", !Ref AllowedMethods]
          AllowHeaders: !Split [",", !Ref AllowedHeaders]
          # The response headers that a script of another origin may read.
          ExposeHeaders: [retry-after, www-authenticate, x-request-id]
          MaxAge: 600
        - !Ref AWS::NoValue
"#,
        to: r#"      CorsConfiguration:
        AllowOrigins: !Split [",", !Ref AllowedOrigins]
        AllowMethods: [GET, POST]
        AllowHeaders: [authorization]
        MaxAge: 600
"#,
        finding: r#"x-amazon-apigateway-cors is ["https://localhost"], and must be an object"#,
    },
    Breakage {
        what: "a number of CORS is a parameter's text",
        from: "          MaxAge: 600",
        to: "          MaxAge: !Ref AccessTokenLifetimeSeconds",
        finding: r#"x-amazon-apigateway-cors: maxAge is "900", and must be a number of 0 or more"#,
    },
    Breakage {
        what: "a list of CORS is one text",
        from: r#"AllowMethods: !Split [",", !Ref AllowedMethods]"#,
        to: "AllowMethods: !Ref AllowedMethods",
        finding: r#"allowMethods is "GET,POST,PUT,PATCH,DELETE", and must be a list of texts"#,
    },
    Breakage {
        what: "the cache time of decisions is a parameter's text",
        from: "              ReauthorizeEvery: !If
                - CacheIsOff
                - 0",
        to: "              ReauthorizeEvery: !If
                - CacheIsOff
                - !Ref AuthorizerCacheSeconds",
        finding: r#"authorizerResultTtlInSeconds is "0", and must be a number of 0 or more"#,
    },
    Breakage {
        what: "decisions are cached although the parameter says they are not",
        from: "                - CacheIsOff
                - 0",
        to: "                - CacheIsOff
                - 300",
        finding: "a decision is cached for 300 s, and AuthorizerCacheSeconds is 0",
    },
    Breakage {
        what: "the authorizer's simple answers are not understood",
        from: "            EnableSimpleResponses: true\n",
        to: "",
        finding: "AccessTokenAuthorizer does not take the authorizer's answers",
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
        what: "a guarded function has an open REST API beside",
        from: "          Properties:
            ApiId: !Ref Api
            Method: GET
            Path: /me
",
        to: "          Properties:
            ApiId: !Ref Api
            Method: GET
            Path: /me
        Open:
          Type: Api
          Properties: { Method: GET, Path: /me }
",
        finding: "is of the type AWS::ApiGateway::RestApi, of which nothing is held",
    },
    Breakage {
        what: "a guarded function has an open address of its own",
        from: "      CodeUri: functions/protected\n",
        to: "      CodeUri: functions/protected\n      FunctionUrlConfig: { AuthType: NONE }\n",
        finding: "is of the type AWS::Lambda::Url, of which nothing is held",
    },
    Breakage {
        what: "a guarded function has an open route that is not in the body",
        from: "  # ---------------------------------------------------------------- Roles\n",
        to: "  OpenRoute:
    Type: AWS::ApiGatewayV2::Route
    Properties: { ApiId: !Ref Api, RouteKey: GET /open }
",
        finding: "OpenRoute is of the type AWS::ApiGatewayV2::Route, of which nothing is held",
    },
    Breakage {
        what: "anybody may call a function, with a context of their own making",
        from: "  # ---------------------------------------------------------------- Roles\n",
        to: "  Anybody:
    Type: AWS::Lambda::Permission
    Properties:
      Action: lambda:InvokeFunction
      FunctionName: !Ref ProtectedFunction
      Principal: '*'
",
        finding: "Anybody lets * call ProtectedFunction for None, which nothing needs",
    },
    Breakage {
        what: "the switch of the address is a text",
        from: "DisableExecuteApiEndpoint: !If [ExecuteApiEndpointIsDisabled, true, false]",
        to: "DisableExecuteApiEndpoint: !Ref ExecuteApiEndpoint",
        finding: r#"disableExecuteApiEndpoint is "enabled", and must be true or false"#,
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
        what: "the access log does not say which request it is about",
        from: r#"{"request_id":"$context.requestId","#,
        to: "{",
        finding: "the access log must have $context.requestId",
    },
    Breakage {
        what: "an alarm is on a metric that is never written",
        from: "      MetricName: 5xx\n",
        to: "      MetricName: 5XXError\n",
        finding: "ServerErrorsAlarm is on AWS/ApiGateway/5XXError by ApiId, which is never written",
    },
    Breakage {
        what: "an alarm is silent when what it watches is gone",
        from: "      TreatMissingData: breaching\n",
        to: "      TreatMissingData: notBreaching\n",
        finding: "RotateKeysStoppedAlarm: TreatMissingData is notBreaching, and should be breaching",
    },
    Breakage {
        what: "an alarm always fires behind a REST API",
        from: "          Expression: 100 * SUM([errors, less_refusals]) / calls\n",
        to: "          Expression: 100 * errors / calls\n",
        finding: "AuthorizerErrorsAlarm fires for {'calls': 100, 'errors': 100, 'refusals': 100}",
    },
    Breakage {
        what: "a function starts before there is a key that it needs",
        from: "  TokenFunction:
    Type: AWS::Serverless::Function
    # It starts when there are keys of every purpose, also after an update that needs a new one.
    DependsOn: Keys
",
        to: "  TokenFunction:
    Type: AWS::Serverless::Function
",
        finding: "TokenFunction does not depend on Keys",
    },
    Breakage {
        what: "a table forgets nothing",
        from: "        - { AttributeName: revocation, KeyType: RANGE }
      TimeToLiveSpecification: { AttributeName: expires_at, Enabled: true }
",
        to: "        - { AttributeName: revocation, KeyType: RANGE }
",
        finding: "DenylistTable: TimeToLiveSpecification is null",
    },
    Breakage {
        what: "the dashboard is not JSON",
        from: r#"          "widgets": ["#,
        to: r#"          "widgets": [,"#,
        finding: "the body of Dashboard is not JSON",
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
    let mut missed = Vec::new();
    for (number, Breakage { what, from, to, finding }) in BREAKAGES.iter().enumerate() {
        assert_eq!(template.matches(from).count(), 1, "{what}: the template has changed, and this change with it");
        let file = directory.join(format!("{number}.yaml"));
        fs::write(&file, template.replacen(from, to, 1)).unwrap();
        let findings = translation::findings(&file, Extent::Defaults).unwrap();
        if !findings.iter().any(|line| line.contains(finding)) {
            missed.push(format!("{what}: no \"{finding}\" in {findings:#?}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn nothing_is_found_in_the_template_itself() {
    let findings = translation::findings(&workspace::template(), Extent::Defaults).unwrap();
    assert!(findings.is_empty(), "{findings:#?}");
}
