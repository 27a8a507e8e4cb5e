//! Who may listen to a channel: a message of it is written, looked for as the caller, and taken back, so that the policies that
//! decide are the database's own. Where there is no schema `realtime`, everybody has the channel `marea:<user>` to themselves.

use tokio_postgres::Client;
use uuid::Uuid;

use super::Realtime;
use crate::database;
use crate::storage::Caller;

impl Realtime {
    /// Whether the policies let this caller read messages of the channel. False too when the database cannot say.
    pub(super) async fn may_listen(&self, caller: &Caller, topic: &str) -> bool {
        let mut held = self.authorizing.lock().await;
        let client = match held.take().filter(|client| !client.is_closed()) {
            Some(client) => Ok(client),
            None => database::connect(&self.database_url).await,
        };
        let Ok(mut client) = client else { return false };
        let answer = look(&mut client, caller, topic).await;
        // After a failure the next one has a connection of its own.
        if answer.is_ok() {
            *held = Some(client);
        }
        answer.unwrap_or(false)
    }
}

async fn look(client: &mut Client, caller: &Caller, topic: &str) -> Result<bool, tokio_postgres::Error> {
    let has_channels = "SELECT to_regclass('realtime.messages') IS NOT NULL";
    if !client.query_one(has_channels, &[]).await?.get::<_, bool>(0) {
        return Ok(caller.role == "authenticated"
            && caller.owner.is_some_and(|owner| topic == format!("marea:{owner}")));
    }
    let transaction = client.transaction().await?;
    let message: Uuid = transaction.query_one("SELECT gen_random_uuid()", &[]).await?.get(0);
    let statement = "INSERT INTO realtime.messages (id, topic, extension, event, private) VALUES ($1, $2, 'broadcast', 'join', true)";
    transaction.execute(statement, &[&message, &topic]).await?;
    let statement = "SELECT set_config('request.jwt.claims', $1, true), set_config('role', $2, true), set_config('realtime.topic', $3, true)";
    transaction.execute(statement, &[&caller.claims, &caller.role, &topic]).await?;
    let statement = "SELECT EXISTS (SELECT FROM realtime.messages WHERE id = $1)";
    let seen = transaction.query_one(statement, &[&message]).await?.get(0);
    transaction.rollback().await?;
    Ok(seen)
}
