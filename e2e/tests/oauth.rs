//! A standard OAuth client library, which knows nothing of Latchkey, refreshes, introspects and revokes.

use std::fs::File;
use std::process::{Command, Stdio};

use e2e::local::variable;

#[test]
fn a_standard_client_refreshes_introspects_and_revokes() {
    let script = local_stack::workspace::root().join("e2e/oauth-client/oauth-client.mjs");
    let script = File::open(&script).unwrap_or_else(|error| panic!("{}: {error}", script.display()));
    let output = Command::new("node")
        // A module read from standard input finds packages from the working directory.
        .args(["--input-type=module", "-"])
        .arg(variable("LATCHKEY_BASE_URL"))
        .current_dir(variable("LATCHKEY_OAUTH_CLIENT"))
        .env_remove("NODE_USE_ENV_PROXY")
        .stdin(Stdio::from(script))
        .output()
        .expect("node starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}\n{}", output.status, text(&output.stdout), text(&output.stderr));
}
