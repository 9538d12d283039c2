//! What the throttle holds of a user, for `latchkey user show`.

use std::fmt::Write as _;

use auth::EpochSeconds;
use auth::attempts::{Bucket, Group, MAX_OF_NETWORKS, MAX_PER_BUCKET, Opening};
use auth::throttle::Holding;
use auth::user::User;
use serde_json::{Value, json};

use crate::keys::span;
use crate::terminal::shell_word;

/// For a person: lines that continue those about the user.
pub(super) fn describe(holding: &Holding, user: &User, now: EpochSeconds) -> String {
    let known: Vec<_> = holding.counter.devices_since(user.password_epoch).map(|(_, known_at)| known_at).collect();
    let mut text = match known.iter().max() {
        Some(last) => format!("devices     {} known, the last login from one at {last} (epoch seconds)", known.len()),
        None => "devices     none known".to_owned(),
    };
    let of_networks = holding.counter.reserved(Group::Networks);
    let _ = match of_networks {
        0 if holding.openings.is_empty() => write!(text, "\nattempts    none since the last success"),
        _ => write!(text, "\nattempts    {of_networks} of {MAX_OF_NETWORKS} from networks without a known device"),
    };
    for (bucket, opening) in &holding.openings {
        let tally = holding.counter.tally(bucket);
        let opens = match opening {
            Opening::Now => "open".to_owned(),
            Opening::AfterThoseInProgress => "opens when an attempt in progress succeeds".to_owned(),
            Opening::At(opens_at) => format!("opens in {}", span(opens_at.seconds_since(now).unwrap_or_default())),
            Opening::NotByTime => "does not open by waiting".to_owned(),
            Opening::UnknownDevice => "closed".to_owned(),
        };
        let name = match bucket {
            Bucket::Device(device) => match holding.counter.devices.get(device) {
                Some(known_at) => format!("device that logged in at {known_at}"),
                None => "device that is no longer known".to_owned(),
            },
            Bucket::Network(network) => format!("network {network}"),
            Bucket::Password => "POST /password".to_owned(),
            Bucket::Address => continue,
        };
        let _ = write!(text, "\n            {name}: {} of {MAX_PER_BUCKET}, {opens}", tally.reserved);
    }
    if holding.new_network == Opening::NotByTime {
        let name = shell_word(user.username.as_str());
        let _ = write!(
            text,
            "\nwarning     nobody can log in from a device that is not known, until a login on a known device, a change of the \
             password or `latchkey user unlock {name}`"
        );
    }
    text
}

/// For a script.
pub(super) fn record(holding: &Holding, user: &User) -> Value {
    let buckets = holding.openings.iter().filter_map(|(bucket, opening)| {
        let tally = holding.counter.tally(bucket);
        let mut object = json!({ "attempts": tally.reserved, "failures": tally.failures, "limit": MAX_PER_BUCKET });
        match bucket {
            Bucket::Device(device) => {
                object["bucket"] = "device".into();
                object["last_login_at"] = json!(holding.counter.devices.get(device));
            }
            Bucket::Network(network) => {
                object["bucket"] = "network".into();
                object["network"] = network.as_str().into();
            }
            Bucket::Password => object["bucket"] = "password".into(),
            Bucket::Address => return None,
        }
        set_opening(&mut object, *opening);
        Some(object)
    });
    let devices = holding.counter.devices_since(user.password_epoch);
    let devices: Vec<Value> = devices.map(|(_, known_at)| json!({ "last_login_at": known_at })).collect();
    let mut networks = json!({ "attempts": holding.counter.reserved(Group::Networks), "limit": MAX_OF_NETWORKS });
    set_opening(&mut networks, holding.new_network);
    json!({ "networks": networks, "buckets": buckets.collect::<Vec<Value>>(), "devices": devices })
}

fn set_opening(object: &mut Value, opening: Opening) {
    let (opens, opens_at) = match opening {
        Opening::Now => ("now", None),
        Opening::AfterThoseInProgress => ("after_those_in_progress", None),
        Opening::At(opens_at) => ("at", Some(opens_at)),
        Opening::NotByTime | Opening::UnknownDevice => ("not_by_time", None),
    };
    object["opens"] = opens.into();
    object["opens_at"] = json!(opens_at);
}
