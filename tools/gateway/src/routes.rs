//! Which route a request takes.
//!
//! Paths are compared in the form that [`crate::path`] gives them. A full match comes before one by a greedy variable,
//! that before `$default`; among full matches the more literal path, then the route that names the method before `ANY`.

use std::collections::BTreeMap;

use crate::path;

/// Routes with what they lead to, most specific first.
#[derive(Debug)]
pub(crate) struct Routes<T> {
    routes: Vec<(Pattern, T)>,
}

/// A route that was found, and what its variables stand for, in the form of paths.
#[derive(Debug)]
pub(crate) struct Match<'r, T> {
    pub(crate) target: &'r T,
    pub(crate) parameters: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Pattern {
    /// `None` is `ANY`.
    method: Option<String>,
    /// `None` is `$default`.
    segments: Option<Vec<Segment>>,
}

#[derive(Debug)]
enum Segment {
    Literal(String),
    Variable(String),
    Greedy(String),
}

impl<T> Routes<T> {
    /// Creates routes from methods and paths as in the template: `GET`, `ANY`; `/items/{id}`, `/{proxy+}`, `$default`.
    pub(crate) fn new(routes: impl IntoIterator<Item = (String, String, T)>) -> Self {
        let mut routes: Vec<_> =
            routes.into_iter().map(|(method, path, target)| (Pattern::new(method, &path), target)).collect();
        routes.sort_by_cached_key(|(pattern, _)| pattern.rank());
        Self { routes }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.routes.len()
    }

    /// The most specific route for a request.
    pub(crate) fn find(&self, method: &str, path: &str) -> Option<Match<'_, T>> {
        self.routes.iter().find_map(|(pattern, target)| {
            let parameters = pattern.matches(method, path)?;
            Some(Match { target, parameters })
        })
    }
}

impl Pattern {
    fn new(method: String, path: &str) -> Self {
        Self {
            method: (method != "ANY").then_some(method),
            segments: path.strip_prefix('/').map(|rest| rest.split('/').map(Segment::new).collect()),
        }
    }

    /// A sort key: more specific patterns come first.
    fn rank(&self) -> (u8, Vec<u8>, bool) {
        let ranks = |segments: &Vec<Segment>| segments.iter().map(Segment::rank).collect::<Vec<_>>();
        let segments = self.segments.as_ref().map(ranks).unwrap_or_default();
        let reach = if self.segments.is_none() { 2 } else { u8::from(segments.contains(&Segment::GREEDY)) };
        (reach, segments, self.method.is_none())
    }

    /// The path's variables, if this is a route for the request.
    fn matches(&self, method: &str, path: &str) -> Option<BTreeMap<String, String>> {
        if self.method.as_ref().is_some_and(|own| own != method) {
            return None;
        }
        let mut parameters = BTreeMap::new();
        let Some(segments) = &self.segments else { return Some(parameters) };
        let mut rest = Some(path.strip_prefix('/')?);
        for segment in segments {
            // `None` is the end of the path; an empty rest is a last, empty segment.
            let remaining = rest?;
            let (first, following) = match remaining.split_once('/') {
                Some((first, following)) => (first, Some(following)),
                None => (remaining, None),
            };
            rest = following;
            match segment {
                Segment::Literal(literal) if literal == first => {}
                Segment::Variable(name) if !first.is_empty() => {
                    parameters.insert(name.clone(), first.to_owned());
                }
                Segment::Greedy(name) if !remaining.is_empty() => {
                    parameters.insert(name.clone(), remaining.to_owned());
                    return Some(parameters);
                }
                _ => return None,
            }
        }
        rest.is_none().then_some(parameters)
    }
}

impl Segment {
    const GREEDY: u8 = 2;

    fn rank(&self) -> u8 {
        match self {
            Self::Literal(_) => 0,
            Self::Variable(_) => 1,
            Self::Greedy(_) => Self::GREEDY,
        }
    }

    fn new(text: &str) -> Self {
        match text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
            None => Self::Literal(path::normalized(text)),
            Some(name) => match name.strip_suffix('+') {
                Some(name) => Self::Greedy(name.to_owned()),
                None => Self::Variable(name.to_owned()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Routes;

    const KEYS: [&str; 13] = [
        "GET /",
        "GET /me",
        "POST /me",
        "GET /pets/dog/1",
        "GET /pets/dog/{id}",
        "GET /pets/{kind}/{id}",
        "GET /pets/{proxy+}",
        "ANY /pets/cat",
        "ANY /files/{proxy+}",
        "PUT /files/{proxy+}",
        "GET /x/{a}/y",
        "GET /v/{a}/{b}",
        "GET /v/{c}/end",
    ];

    fn routes(keys: &[&'static str]) -> Routes<&'static str> {
        Routes::new(keys.iter().map(|key| match key.split_once(' ') {
            Some((method, path)) => (method.to_owned(), path.to_owned(), *key),
            None => ("ANY".to_owned(), (*key).to_owned(), *key),
        }))
    }

    fn found(method: &str, path: &str) -> Option<&'static str> {
        routes(&KEYS).find(method, path).map(|found| *found.target)
    }

    #[test]
    fn a_path_matches_whole_and_nothing_is_resolved() {
        assert_eq!(found("GET", "/me"), Some("GET /me"));
        assert_eq!(found("POST", "/me"), Some("POST /me"));
        for path in ["/me/", "//me", "/%6de", "/x/../me", "/./me", "/Me", "/me;x", "/me%2f", "me", "", "*"] {
            assert_eq!(found("GET", path), None, "{path}");
        }
        assert_eq!(found("DELETE", "/me"), None);
        assert_eq!(found("get", "/me"), None);
        assert_eq!(found("GET", "/"), Some("GET /"));
    }

    #[test]
    fn the_most_specific_route_comes_first() {
        assert_eq!(found("GET", "/pets/dog/1"), Some("GET /pets/dog/1"));
        assert_eq!(found("GET", "/pets/dog/2"), Some("GET /pets/dog/{id}"));
        assert_eq!(found("GET", "/pets/cow/2"), Some("GET /pets/{kind}/{id}"));
        assert_eq!(found("GET", "/pets/cow"), Some("GET /pets/{proxy+}"));
        assert_eq!(found("GET", "/pets/cow/2/tail"), Some("GET /pets/{proxy+}"));
        assert_eq!(found("GET", "/pets/cat"), Some("ANY /pets/cat"));
        assert_eq!(found("POST", "/pets/cow"), None);
        assert_eq!(found("GET", "/v/1/end"), Some("GET /v/{c}/end"));
        assert_eq!(found("PUT", "/files/a"), Some("PUT /files/{proxy+}"));
        assert_eq!(found("GET", "/files/a"), Some("ANY /files/{proxy+}"));
    }

    #[test]
    fn a_template_may_spell_a_path_in_any_way() {
        for own in ["/a b/é", "/a%20b/%c3%a9"] {
            let routes = Routes::new([("GET".to_owned(), own.to_owned(), ())]);
            assert!(routes.find("GET", "/a%20b/%C3%A9").is_some(), "{own}");
        }
    }

    #[test]
    fn the_default_route_catches_the_rest() {
        let mut keys = KEYS.to_vec();
        keys.insert(0, "$default");
        let routes = routes(&keys);
        assert_eq!(routes.find("GET", "/me").map(|found| *found.target), Some("GET /me"));
        assert_eq!(routes.find("DELETE", "/me").map(|found| *found.target), Some("$default"));
        assert_eq!(routes.find("GET", "//").map(|found| *found.target), Some("$default"));
    }

    #[test]
    fn variables_are_as_in_the_path_and_never_empty() {
        let routes = routes(&KEYS);
        let parameters = |path: &str| {
            let found = routes.find("GET", path).map(|found| found.parameters);
            found.map(|parameters| parameters.into_iter().map(|(name, value)| format!("{name}={value}")).collect())
        };
        assert_eq!(parameters("/pets/dog/a%20b%2Fc"), Some(vec!["id=a%20b%2Fc".to_owned()]));
        assert_eq!(parameters("/pets/cow/%FF"), Some(vec!["id=%FF".to_owned(), "kind=cow".to_owned()]));
        assert_eq!(parameters("/pets/a/b//c"), Some(vec!["proxy=a/b//c".to_owned()]));
        assert_eq!(parameters("/pets/dog/"), Some(vec!["proxy=dog/".to_owned()]));
        assert_eq!(parameters("/pets/"), None);
        assert_eq!(parameters("/pets"), None);
        assert_eq!(parameters("/x//y"), None);
    }
}
