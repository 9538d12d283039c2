//! What `auth` needs from a request.

use auth::id::{SessionId, UserId};
use auth::login::RequestSource;
use auth::network::SourceNetwork;
use auth::session::{Origin, SignedIn};
use auth::username::Username;
use shared::Caller;
use shared::http::Request;
use shared::http::request::{caller, context};

use crate::config::TokenParties;
use crate::error::ApiError;

/// The caller, as the authorizer verified the access token.
///
/// # Errors
/// The route has no authorizer, or its context is not Latchkey's.
pub fn signed_in(request: &Request) -> Result<SignedIn, ApiError> {
    let Caller { sub, username, sid, epoch, .. } = caller(request)?;
    Ok(SignedIn { sub: UserId::new(sub), username: Username::from_stored(username), sid: SessionId::new(sid), epoch })
}

/// `iss` of the tokens that this request is about.
///
/// # Errors
/// It is neither configured nor known from the request.
pub fn issuer(request: &Request, parties: &TokenParties) -> Result<String, ApiError> {
    let domain_name = context(request).and_then(|context| context.domain_name.as_deref());
    parties.issuer(domain_name).ok_or(ApiError::NoIssuer)
}

/// The source of a login.
///
/// # Errors
/// The issuer is neither configured nor known from the request.
pub fn source(request: &Request, parties: &TokenParties) -> Result<RequestSource, ApiError> {
    let context = context(request);
    let origin = Origin {
        source_address: context.and_then(|context| context.http.source_ip.clone()),
        user_agent: context.and_then(|context| context.http.user_agent.clone()),
    };
    Ok(RequestSource { issuer: issuer(request, parties)?, network: network(request), origin })
}

/// The network that the request came from, by which attempts are counted. `None` if the address cannot be parsed. That
/// is an error of this deployment or of a proxy in front of the API, and must not make all clients share the counter of
/// one address. They share one network of each account.
#[must_use]
pub fn network(request: &Request) -> Option<SourceNetwork> {
    let address = context(request).and_then(|context| context.http.source_ip.as_deref());
    let network = address.and_then(SourceNetwork::of);
    if network.is_none() {
        // Without its value, which may be anything.
        tracing::error!(
            event = "source_address",
            outcome = "failed",
            reason = "unreadable_source_address",
            "the request's sourceIp is not an address; nothing is counted for it"
        );
    }
    network
}
