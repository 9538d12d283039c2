//! Tables of a test's own, on the DynamoDB Local that the environment names.
#![allow(dead_code, reason = "each test file uses some of the tables")]

use aws_sdk_dynamodb::Client;
use sam_template::{Parameters, Template};
use shared::store::client;
use shared::store::denylist::DenylistTable;
use shared::store::login_attempts::LoginAttemptsTable;
use shared::store::sessions::SessionsTable;
use shared::store::signing_keys::SigningKeysTable;
use shared::store::users::UsersTable;

/// The tables of the template, named for one test.
pub(crate) struct Tables {
    pub(crate) client: Client,
    name: String,
}

impl Tables {
    /// Makes the tables. `test` is the test's name.
    pub(crate) fn create(test: &str) -> Self {
        let endpoint = std::env::var("AWS_ENDPOINT_URL_DYNAMODB")
            .expect("AWS_ENDPOINT_URL_DYNAMODB is not set: run `cargo xtask test`");
        let name = format!("{test}-{}", std::process::id());
        let template = Template::load(&xtask::workspace::template(), Parameters::new(&name)).unwrap();
        xtask::tables::create(&endpoint, &template).unwrap();
        Self { client: client::from_lambda_environment(), name }
    }

    /// The same tables, reached through another address.
    pub(crate) fn through(&self, endpoint: &str) -> Self {
        let config = self.client.config().to_builder().endpoint_url(endpoint).build();
        Self { client: Client::from_conf(config), name: self.name.clone() }
    }

    fn named(&self, logical_id: &str) -> (Client, String) {
        (self.client.clone(), self.name_of(logical_id))
    }

    pub(crate) fn name_of(&self, logical_id: &str) -> String {
        format!("{}-{logical_id}", self.name)
    }

    pub(crate) fn users(&self) -> UsersTable {
        let (client, name) = self.named("UsersTable");
        UsersTable::new(client, name)
    }

    pub(crate) fn sessions(&self) -> SessionsTable {
        let (client, name) = self.named("SessionsTable");
        SessionsTable::new(client, name)
    }

    pub(crate) fn denylist(&self) -> DenylistTable {
        let (client, name) = self.named("DenylistTable");
        DenylistTable::new(client, name)
    }

    pub(crate) fn login_attempts(&self) -> LoginAttemptsTable {
        let (client, name) = self.named("LoginAttemptsTable");
        LoginAttemptsTable::new(client, name)
    }

    pub(crate) fn signing_keys(&self) -> SigningKeysTable {
        let (client, name) = self.named("SigningKeysTable");
        SigningKeysTable::new(client, name)
    }
}
