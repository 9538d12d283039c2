//! The page, in a browser: what users do on it, with and without a screen reader, and which other pages may call the
//! API. The tests themselves are in `e2e/browser/page.mjs`.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fs::{self, File};
use std::process::{Command, Stdio};

use local_stack::install::{self, Tools};
use local_stack::stack::{self, Options, Stack};
use local_stack::workspace;

#[test]
fn people_sign_in_and_out_on_the_page() {
    let tools = Tools::find_or_install().unwrap();
    // Tokens that expire during the test.
    let mut options = Options::for_test("page");
    options.parameters.extend(stack::development_parameters());
    options.parameters.insert("AccessTokenLifetimeSeconds".to_owned(), "60".to_owned());
    let mut developed = Stack::start(&tools, &options).unwrap();
    // The template's own choice of origins.
    let mut deployed = Stack::start(&tools, &Options::for_test("page-deployed")).unwrap();

    let screenshots = workspace::root().join("target/screenshots");
    fs::create_dir_all(&screenshots).unwrap();
    let script = workspace::root().join("e2e/browser/page.mjs");
    let output = Command::new("node")
        // A module read from standard input finds packages from the working directory.
        .args(["--input-type=module", "-"])
        .current_dir(install::browser().unwrap())
        .env("BASE_URL", developed.base_url())
        .env("DEPLOYED_URL", deployed.base_url())
        .env("SCREENSHOTS", &screenshots)
        .env_remove("NODE_USE_ENV_PROXY")
        .stdin(Stdio::from(File::open(script).unwrap()))
        .output()
        .expect("node starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}\n{}", output.status, text(&output.stdout), text(&output.stderr));
    developed.must_run().unwrap();
    deployed.must_run().unwrap();
}
