//! The floor, (d): forwards a notification to its rooms, by bare socketioxide. No log, no rules, no resume.

use std::{env::var, future::poll_fn};

use axum::{Router, routing::get};
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use socketioxide::{
    SocketIo,
    extract::{AckSender, Data, SocketRef},
};
use tokio_postgres::{AsyncMessage, NoTls};

#[derive(Deserialize)]
#[serde(rename_all(deserialize = "camelCase"))]
struct Join {
    product_id: Option<String>,
    seller_id: Option<String>,
}

#[derive(Deserialize)]
struct Row<'a> {
    id: &'a str,
    seller_id: &'a str,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (sockets, io) = SocketIo::new_layer();
    io.ns("/", |socket: SocketRef| async move {
        socket.on("join:product", async |socket: SocketRef, Data(join): Data<Join>, ack: AckSender| {
            socket.join(format!("product:{}", join.product_id.unwrap_or_default()));
            ack.send(&json!({ "success": true })).ok();
        });
        socket.on("join:storefront", async |socket: SocketRef, Data(join): Data<Join>, ack: AckSender| {
            socket.join(format!("storefront:{}", join.seller_id.unwrap_or_default()));
            ack.send(&json!({ "success": true })).ok();
        });
    });

    let (client, mut connection) = tokio_postgres::connect(&var("DATABASE_URL")?, NoTls).await?;
    let listening = tokio::spawn(async move {
        while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
            let AsyncMessage::Notification(notification) = message? else { continue };
            let row: Row = serde_json::from_str(notification.payload())?;
            let rooms = [format!("product:{}", row.id), format!("storefront:{}", row.seller_id)];
            let payload: &RawValue = serde_json::from_str(notification.payload())?;
            io.to(rooms).emit("product:updated", payload).await.ok();
        }
        anyhow::bail!("the connection to Postgres ended")
    });
    client.batch_execute("listen product_changes").await?;

    let app = Router::new().route("/readyz", get(|| async { "ready" })).layer(sockets);
    let listener = tokio::net::TcpListener::bind(var("LISTEN")?).await?;
    tokio::select! {
        served = axum::serve(listener, app) => Ok(served?),
        ended = listening => ended?,
    }
}
