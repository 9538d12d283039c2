//! From the events of functions to the routes of HTTP and REST APIs.

use std::time::Duration;

use serde_json::Value;

use crate::{
    Route, Template,
    error::{Invalid, Problem},
    functions,
    http_api::{Api, ApiKind, IMPLICIT_API, known_authorizer},
    resolved::Resolved,
    rest_api::IMPLICIT_REST_API,
    sorted,
};

/// An event of a function, before its API is known.
pub(crate) struct Event<'t> {
    kind: ApiKind,
    function: &'t str,
    pub(crate) at: String,
    properties: Option<Resolved>,
    /// Its `ApiId` or `RestApiId`; `None` is the API that SAM adds.
    pub(crate) api: Option<Resolved>,
}

/// The events of all functions for this kind of API.
pub(crate) fn events(template: &Template, kind: ApiKind) -> Result<Vec<Event<'_>>, Invalid> {
    let (event_type, api_property) = match kind {
        ApiKind::Http => ("HttpApi", "ApiId"),
        ApiKind::Rest => ("Api", "RestApiId"),
    };
    let mut found = Vec::new();
    for resource in template.resources(&[functions::TYPE])? {
        let events = sorted(resource.body.pointer("/Properties/Events").and_then(Value::as_object));
        for (name, event) in events {
            if event.get("Type").and_then(Value::as_str) != Some(event_type) {
                continue;
            }
            let at = format!("{}.Properties.Events.{name}", resource.at());
            let properties = match event.get("Properties") {
                Some(properties) => template.resolve(properties, format!("{at}.Properties"))?,
                None => None,
            };
            let api = properties.as_ref().and_then(|properties| properties.get(api_property));
            found.push(Event { kind, function: resource.logical_id, at, properties, api });
        }
    }
    Ok(found)
}

impl Event<'_> {
    /// The id of the API the event belongs to.
    pub(crate) fn api_id(&self, template: &Template) -> Result<String, Invalid> {
        if let Some(api) = &self.api {
            return api.text();
        }
        let implicit = match self.kind {
            ApiKind::Http => IMPLICIT_API,
            ApiKind::Rest => IMPLICIT_REST_API,
        };
        Ok(template.physical_name(implicit, &self.at)?.unwrap_or_default())
    }

    fn property(&self, name: &str) -> Option<Resolved> {
        self.properties.as_ref().and_then(|properties| properties.get(name))
    }

    fn required(&self, name: &str) -> Result<Resolved, Invalid> {
        let missing = || Invalid::new(format!("{}.Properties", self.at), Problem::Missing(name.to_owned()));
        self.property(name).ok_or_else(missing)
    }

    /// Adds the event's route to its API.
    pub(crate) fn add_to(&self, api: &mut Api) -> Result<(), Invalid> {
        let path = match self.property("Path") {
            None if self.kind == ApiKind::Rest || self.property("Method").is_some() => {
                return self.required("Path").map(drop);
            }
            None => "$default".to_owned(),
            Some(path) => path.text()?,
        };
        let method = if path == "$default" { "ANY".to_owned() } else { method_of(&self.required("Method")?)? };
        if path != "$default" && !path.starts_with('/') {
            return Err(Invalid::expected(format!("{}.Properties.Path", self.at), "a path that starts with /"));
        }
        if self.property("RouteSettings").is_some() {
            api.unread.push(format!("{}.Properties.RouteSettings", self.at));
        }
        let timeout = self.property("TimeoutInMillis").map(|timeout| timeout.unsigned()).transpose()?;
        let authorizer = match self.property("Auth").and_then(|auth| auth.get("Authorizer")) {
            Some(own) if own.value == "NONE" => None,
            Some(own) => Some(known_authorizer(&own, &api.authorizers)?),
            None => api.default_authorizer.clone(),
        };
        api.routes.push(Route {
            method,
            path,
            function: self.function.to_owned(),
            authorizer,
            payload_format_version: match (self.kind, self.property("PayloadFormatVersion")) {
                (ApiKind::Rest, _) => "1.0".to_owned(),
                (ApiKind::Http, None) => "2.0".to_owned(),
                (ApiKind::Http, Some(version)) => version.text()?,
            },
            timeout: timeout.map(Duration::from_millis),
        });
        Ok(())
    }
}

fn method_of(method: &Resolved) -> Result<String, Invalid> {
    let method = method.text()?.to_uppercase();
    Ok(if method == "X-AMAZON-APIGATEWAY-ANY-METHOD" { "ANY".to_owned() } else { method })
}
