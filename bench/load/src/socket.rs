//! One client: raw Engine.IO over a WebSocket, as `socket.io-client` speaks it with `transports: ['websocket']`.

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{Message, Utf8Bytes, protocol::WebSocketConfig},
};

/// A client that has signed in as a visitor.
#[derive(Debug)]
pub struct Socket {
    stream: WebSocketStream<TcpStream>,
}

impl Socket {
    /// Connects to `address`, as in `127.0.0.1:4000`.
    pub async fn connect(address: &str) -> Result<Self> {
        let tcp = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
        tcp.set_nodelay(true)?;
        // Thousands of clients in one process: small buffers.
        let config = WebSocketConfig::default().read_buffer_size(2048).write_buffer_size(0);
        let url = format!("ws://{address}/socket.io/?EIO=4&transport=websocket");
        let (stream, _) =
            client_async_with_config(url, tcp, Some(config)).await.context("the WebSocket was not accepted")?;
        let mut socket = Self { stream };
        socket.expect("0").await?;
        socket.send("40").await?;
        socket.expect("40").await?;
        Ok(socket)
    }

    /// Joins a room by a message that is acknowledged, such as `["join:storefront",{"sellerId":"seller-1"}]`.
    pub async fn join(&mut self, message: &str) -> Result<()> {
        self.send(&format!("421{message}")).await?;
        let ack = self.expect("431").await?;
        if !ack.contains("\"success\":true") {
            bail!("expected {message} to be acknowledged with success, found {ack}");
        }
        Ok(())
    }

    /// The next message that is not the server's ping, which is answered.
    pub async fn next(&mut self) -> Result<Utf8Bytes> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) if text.as_str() == "2" => self.send("3").await?,
                Some(Ok(Message::Text(text))) => return Ok(text),
                Some(Ok(Message::Close(_))) | None => bail!("the server closed the connection"),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error).context("the connection broke"),
            }
        }
    }

    async fn send(&mut self, packet: &str) -> Result<()> {
        self.stream.send(Message::text(packet)).await.context("could not send")
    }

    /// The next packet that begins with `start`; events that come before it are passed over.
    async fn expect(&mut self, start: &str) -> Result<Utf8Bytes> {
        loop {
            let packet = self.next().await?;
            if packet.starts_with(start) {
                return Ok(packet);
            }
            if packet.starts_with("44") {
                bail!("expected to be let in, found {packet}");
            }
        }
    }
}
