//! Identity sources: what a request must have before its authorizer is called, and the key of the cache.

use crate::event::Routed;

/// One identity source, such as `$request.header.Authorization`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum IdentitySource {
    Header(String),
    QueryString(String),
    Context(String),
    StageVariable(String),
}

impl IdentitySource {
    /// Reads a source as a template writes it; `None` if API Gateway does not know it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Some(name) = text.strip_prefix("$request.header.") {
            Some(Self::Header(name.to_ascii_lowercase()))
        } else if let Some(name) = text.strip_prefix("$request.querystring.") {
            Some(Self::QueryString(name.to_owned()))
        } else if let Some(name) = text.strip_prefix("$context.") {
            Some(Self::Context(name.to_owned()))
        } else {
            text.strip_prefix("$stageVariables.").map(|name| Self::StageVariable(name.to_owned()))
        }
    }

    fn value(&self, routed: &Routed<'_>) -> Option<String> {
        match self {
            Self::Header(name) if name == "cookie" => Some(routed.request.cookies.join("; ")),
            Self::Header(name) => routed.request.headers.get(name).cloned(),
            Self::QueryString(name) => routed.request.query_parameters.get(name).cloned(),
            Self::Context(name) => routed.context_variable(name),
            Self::StageVariable(name) => routed.api.stage_variables.get(name).cloned(),
        }
    }
}

/// The values of all sources in their order, or `None` if one is missing or empty.
pub(crate) fn values(sources: &[IdentitySource], routed: &Routed<'_>) -> Option<Vec<String>> {
    sources.iter().map(|source| source.value(routed).filter(|value| !value.is_empty())).collect()
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        net::{IpAddr, Ipv4Addr},
    };

    use hyper::body::Bytes;
    use sam_template::ApiKind;

    use super::{IdentitySource, values};
    use crate::{
        event::{ApiContext, Routed},
        request::{Arrival, Request},
    };

    fn found(sources: &[&str]) -> Option<Vec<String>> {
        let (parts, ()) = hyper::Request::builder()
            .uri("/items?q=1&empty=")
            .header("Authorization", "Bearer x")
            .header("x-empty", "")
            .header("cookie", "a=1")
            .body(())
            .unwrap()
            .into_parts();
        let arrival = Arrival::now(IpAddr::V4(Ipv4Addr::LOCALHOST), 3000);
        let request = Request::new(&parts, "/items".to_owned(), Bytes::new(), &arrival, "localhost");
        let api = ApiContext {
            kind: ApiKind::Http,
            api_id: "api".to_owned(),
            account_id: String::new(),
            region: String::new(),
            domain_name: "localhost".to_owned(),
            stage: "$default".to_owned(),
            stage_variables: BTreeMap::from([("colour".to_owned(), "blue".to_owned())]),
            binary_media_types: Vec::new(),
        };
        let path_parameters = BTreeMap::new();
        let routed = Routed {
            api: &api,
            request: &request,
            path: "/items",
            route_key: "GET /items",
            path_parameters: &path_parameters,
        };
        let sources: Vec<_> = sources.iter().map(|source| IdentitySource::parse(source).unwrap()).collect();
        values(&sources, &routed)
    }

    #[test]
    fn every_kind_of_source_has_its_value() {
        assert_eq!(
            found(&[
                "$request.header.authorization",
                "$request.header.AUTHORIZATION",
                "$request.querystring.q",
                "$context.routeKey",
                "$context.identity.sourceIp",
                "$stageVariables.colour",
                "$request.header.Cookie",
            ])
            .unwrap(),
            ["Bearer x", "Bearer x", "1", "GET /items", "127.0.0.1", "blue", "a=1"]
        );
        assert_eq!(found(&[]), Some(Vec::new()));
    }

    #[test]
    fn one_that_is_missing_or_empty_makes_all_of_them_nothing() {
        for source in [
            "$request.header.x-other",
            "$request.header.x-empty",
            "$request.querystring.Q",
            "$request.querystring.empty",
            "$context.nothing",
            "$stageVariables.size",
        ] {
            assert_eq!(found(&["$request.header.authorization", source]), None, "{source}");
        }
    }

    #[test]
    fn other_texts_are_no_sources() {
        for text in ["", "Authorization", "method.request.header.Authorization", "$request.body"] {
            assert_eq!(IdentitySource::parse(text), None, "{text}");
        }
    }
}
