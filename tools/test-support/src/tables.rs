//! Tables of a test's own, on the DynamoDB Local that the environment names.

use auth::store::client;
use auth::store::denylist::DenylistTable;
use auth::store::login_attempts::LoginAttemptsTable;
use auth::store::sessions::SessionsTable;
use auth::store::signing_keys::SigningKeysTable;
use auth::store::users::UsersTable;
use aws_sdk_dynamodb::Client;
use sam_template::{Parameters, Template};

/// The tables of the template, named for one test.
pub struct Tables {
    pub client: Client,
    name: String,
}

impl Tables {
    /// Makes the tables. `test` is the test's name.
    pub fn create(test: &str) -> Self {
        let endpoint = std::env::var("AWS_ENDPOINT_URL_DYNAMODB")
            .expect("AWS_ENDPOINT_URL_DYNAMODB is not set: run `cargo xtask test`");
        let name = format!("{test}-{}", std::process::id());
        let template = Template::load(&local_stack::workspace::template(), Parameters::new(&name)).unwrap();
        local_stack::tables::create(&endpoint, &template).unwrap();
        Self { client: client::from_lambda_environment(), name }
    }

    /// The same tables, reached through another address.
    pub fn through(&self, endpoint: &str) -> Self {
        let config = self.client.config().to_builder().endpoint_url(endpoint).build();
        Self { client: Client::from_conf(config), name: self.name.clone() }
    }

    fn named(&self, logical_id: &str) -> (Client, String) {
        (self.client.clone(), self.name_of(logical_id))
    }

    pub fn name_of(&self, logical_id: &str) -> String {
        format!("{}-{logical_id}", self.name)
    }

    pub fn users(&self) -> UsersTable {
        let (client, name) = self.named("UsersTable");
        UsersTable::new(client, name)
    }

    pub fn sessions(&self) -> SessionsTable {
        let (client, name) = self.named("SessionsTable");
        SessionsTable::new(client, name)
    }

    pub fn denylist(&self) -> DenylistTable {
        let (client, name) = self.named("DenylistTable");
        DenylistTable::new(client, name)
    }

    pub fn login_attempts(&self) -> LoginAttemptsTable {
        let (client, name) = self.named("LoginAttemptsTable");
        LoginAttemptsTable::new(client, name)
    }

    pub fn signing_keys(&self) -> SigningKeysTable {
        let (client, name) = self.named("SigningKeysTable");
        SigningKeysTable::new(client, name)
    }
}
