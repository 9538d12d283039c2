//! Events in payload format 1.0, of REST APIs and of HTTP APIs configured for it, and the events of REST authorizers.
//!
//! Source: <https://docs.aws.amazon.com/lambda/latest/dg/services-apigateway.html> and
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use sam_template::ApiKind;
use serde_json::{Map, Value, json};

use crate::event::{Caller, Routed, clf, epoch_millis, is_text};

impl Routed<'_> {
    /// The event of the function. `caller` is from its authorizer, `None` on a public route.
    pub(crate) fn function_event_v1(&self, caller: Option<Caller>) -> Value {
        let mut event = self.common_v1();
        if let Some(Caller { principal_id, context }) = caller {
            let mut authorizer = context;
            if let Some(principal_id) = principal_id {
                authorizer.insert("principalId".to_owned(), principal_id.into());
            }
            event["requestContext"]["authorizer"] = authorizer.into();
        }
        let body = &self.request.body;
        let is_binary = match self.api.kind {
            ApiKind::Http => !is_text(self.content_type()) || str::from_utf8(body).is_err(),
            ApiKind::Rest => is_media_type(self.content_type(), &self.api.binary_media_types),
        };
        let is_encoded = is_binary && !body.is_empty();
        event["isBase64Encoded"] = is_encoded.into();
        event["body"] = match body {
            body if body.is_empty() => Value::Null,
            body if is_encoded => BASE64_STANDARD.encode(body).into(),
            body => String::from_utf8_lossy(body).into(),
        };
        event
    }

    /// The event of an authorizer of type REQUEST. `identity` holds the values of its identity sources.
    pub(crate) fn authorizer_event_v1(&self, identity: &[String]) -> Value {
        let mut event = self.common_v1();
        event["type"] = json!("REQUEST");
        event["methodArn"] = self.route_arn().into();
        if self.api.kind == ApiKind::Http {
            event["identitySource"] = identity.join(",").into();
            event["authorizationToken"] = identity.join(",").into();
        }
        event
    }

    /// The event of an authorizer of type TOKEN.
    pub(crate) fn token_event(&self, token: &str) -> Value {
        json!({ "type": "TOKEN", "methodArn": self.route_arn(), "authorizationToken": token })
    }

    fn common_v1(&self) -> Value {
        let Self { api, request, path_parameters, .. } = self;
        let query = request.query_lists();
        let mut event = json!({
            "resource": self.resource(),
            "path": self.event_path(),
            "httpMethod": request.method,
            "headers": last_of_each(&request.header_lists),
            "multiValueHeaders": request.header_lists,
            "queryStringParameters": or_null(last_of_each(&query)),
            "multiValueQueryStringParameters": if query.is_empty() { Value::Null } else { json!(query) },
            "pathParameters": or_null(texts(path_parameters)),
            "stageVariables": or_null(texts(&api.stage_variables)),
            "requestContext": self.request_context_v1(),
        });
        if api.kind == ApiKind::Http {
            event["version"] = json!("1.0");
        }
        event
    }

    fn request_context_v1(&self) -> Value {
        let Self { api, request, .. } = self;
        let user_agent = request.headers.get("user-agent").map(String::as_str);
        let mut identity: Map<String, Value> = [
            "accessKey",
            "accountId",
            "caller",
            "cognitoAuthenticationProvider",
            "cognitoAuthenticationType",
            "cognitoIdentityId",
            "cognitoIdentityPoolId",
            "principalOrgId",
            "user",
            "userArn",
        ]
        .map(|name| (name.to_owned(), Value::Null))
        .into_iter()
        .collect();
        identity.insert("sourceIp".to_owned(), request.source_ip.to_string().into());
        identity.insert("userAgent".to_owned(), user_agent.into());
        json!({
            "accountId": api.account_id,
            "apiId": api.api_id,
            "domainName": api.domain_name,
            "domainPrefix": self.domain_prefix(),
            "extendedRequestId": request.id,
            "httpMethod": request.method,
            "identity": identity,
            "path": self.told_path(),
            "protocol": request.protocol,
            "requestId": request.id,
            "requestTime": clf(request.time),
            "requestTimeEpoch": epoch_millis(request.time),
            "resourceId": self.route_key,
            "resourcePath": self.resource(),
            "stage": api.stage,
        })
    }

    /// The route's path, such as `/items/{id}`.
    fn resource(&self) -> &str {
        self.route_key.split_once(' ').map_or(self.route_key, |(_, path)| path)
    }

    /// An HTTP API leaves the stage in `path`, a REST API does not. Both have it encoded.
    fn event_path(&self) -> &str {
        match self.api.kind {
            ApiKind::Http => &self.request.path,
            ApiKind::Rest => self.path,
        }
    }

    fn content_type(&self) -> &str {
        self.request.headers.get("content-type").map_or("", String::as_str)
    }
}

/// Whether a media type is one of a list in which `*` stands for any: `image/png`, `image/*`, `*/*`.
pub(crate) fn is_media_type(content_type: &str, list: &[String]) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    list.iter().any(|of| {
        let of = of.to_ascii_lowercase();
        match of.split_once('/') {
            Some(("*", "*")) => true,
            Some((kind, "*")) => essence.split_once('/').is_some_and(|(own, _)| own == kind),
            _ => of == essence,
        }
    })
}

fn last_of_each(lists: &BTreeMap<String, Vec<String>>) -> Map<String, Value> {
    lists.iter().filter_map(|(name, values)| Some((name.clone(), values.last()?.clone().into()))).collect()
}

fn texts(map: &BTreeMap<String, String>) -> Map<String, Value> {
    map.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect()
}

/// What is empty is `null`.
fn or_null(map: Map<String, Value>) -> Value {
    if map.is_empty() { Value::Null } else { map.into() }
}

#[cfg(test)]
mod tests {
    use super::is_media_type;

    #[test]
    fn media_types_may_have_stars() {
        let list = ["image/png".to_owned(), "Audio/*".to_owned()];
        for binary in ["image/png", "IMAGE/PNG; q=1", "audio/ogg"] {
            assert!(is_media_type(binary, &list), "{binary}");
        }
        for text in ["image/gif", "text/plain", "", "audio"] {
            assert!(!is_media_type(text, &list), "{text}");
        }
        assert!(is_media_type("", &["*/*".to_owned()]));
    }
}
