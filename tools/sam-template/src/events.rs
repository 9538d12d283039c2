//! From the events of functions to the routes of HTTP APIs.

use std::time::Duration;

use serde_json::Value;

use crate::{
    Route, Template,
    error::{Invalid, Problem},
    functions,
    http_api::{HttpApi, IMPLICIT_API, known_authorizer},
    resolved::Resolved,
    sorted,
};

/// An event of a function, before its API is known.
pub(crate) struct Event<'t> {
    function: &'t str,
    pub(crate) at: String,
    properties: Option<Resolved>,
    /// Its `ApiId`; `None` is the API that SAM adds.
    pub(crate) api: Option<Resolved>,
}

/// The events of this type of all functions.
pub(crate) fn events<'t>(template: &'t Template, kind: &str) -> Result<Vec<Event<'t>>, Invalid> {
    let mut found = Vec::new();
    for resource in template.resources(&[functions::TYPE])? {
        let events = sorted(resource.body.pointer("/Properties/Events").and_then(Value::as_object));
        for (name, event) in events {
            if event.get("Type").and_then(Value::as_str) != Some(kind) {
                continue;
            }
            let at = format!("{}.Properties.Events.{name}", resource.at());
            let properties = match event.get("Properties") {
                Some(properties) => template.resolve(properties, format!("{at}.Properties"))?,
                None => None,
            };
            let api = properties.as_ref().and_then(|properties| properties.get("ApiId"));
            found.push(Event { function: resource.logical_id, at, properties, api });
        }
    }
    Ok(found)
}

impl Event<'_> {
    /// The id of the API the event belongs to.
    pub(crate) fn api_id(&self, template: &Template) -> Result<String, Invalid> {
        match &self.api {
            Some(api) => api.text(),
            None => Ok(template.physical_name(IMPLICIT_API, &self.at)?.unwrap_or_default()),
        }
    }

    fn property(&self, name: &str) -> Option<Resolved> {
        self.properties.as_ref().and_then(|properties| properties.get(name))
    }

    fn required(&self, name: &str) -> Result<Resolved, Invalid> {
        let missing = || Invalid::new(format!("{}.Properties", self.at), Problem::Missing(name.to_owned()));
        self.property(name).ok_or_else(missing)
    }

    /// Adds the event's route to its API.
    pub(crate) fn add_to(&self, api: &mut HttpApi) -> Result<(), Invalid> {
        let path = match self.property("Path") {
            None if self.property("Method").is_some() => return self.required("Path").map(drop),
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
            payload_format_version: self
                .property("PayloadFormatVersion")
                .map_or_else(|| Ok("2.0".to_owned()), |version| version.text())?,
            timeout: timeout.map(Duration::from_millis),
        });
        Ok(())
    }
}

fn method_of(method: &Resolved) -> Result<String, Invalid> {
    let method = method.text()?.to_uppercase();
    Ok(if method == "X-AMAZON-APIGATEWAY-ANY-METHOD" { "ANY".to_owned() } else { method })
}
