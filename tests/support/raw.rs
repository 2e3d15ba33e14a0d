//! A WebSocket to the service on which a test writes whatever it likes, and reads packets as they are on the wire.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{SinkExt, StreamExt, stream::SplitSink};
use tokio::{net::TcpStream, sync::mpsc, task::JoinHandle};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

use super::client::PATIENCE;

/// Packets that wait for the test; more are thrown away.
const KEPT: usize = 1000;

pub struct Raw {
    sink: SplitSink<WebSocketStream<MaybeTlsStream<TcpStream>>, Message>,
    packets: mpsc::Receiver<String>,
    open: Arc<AtomicBool>,
    reader: JoinHandle<()>,
}

/// The other side has closed the connection.
#[derive(Debug)]
pub struct Closed;

impl Drop for Raw {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Raw {
    /// Engine.IO has said hello; nothing has been sent yet.
    pub async fn open(address: SocketAddr) -> Result<Self, Closed> {
        let url = format!("ws://{address}/socket.io/?EIO=4&transport=websocket");
        let connecting = tokio::time::timeout(PATIENCE, connect_async(url)).await.expect("an answer");
        let (socket, _) = connecting.map_err(|_| Closed)?;
        let (sink, mut stream) = socket.split();
        let (sender, packets) = mpsc::channel(KEPT);
        let open = Arc::new(AtomicBool::new(true));
        let reader = tokio::spawn({
            let open = open.clone();
            async move {
                while let Some(Ok(message)) = stream.next().await {
                    if let Message::Text(text) = message {
                        sender.try_send(text.to_string()).ok();
                    }
                }
                open.store(false, Ordering::SeqCst);
            }
        });
        Ok(Self { sink, packets, open, reader })
    }

    /// The same, and connected to Socket.IO with this `auth`, a JSON text or nothing.
    pub async fn connect(address: SocketAddr, auth: &str) -> Result<Self, Closed> {
        let mut raw = Self::open(address).await?;
        raw.send(Message::text(format!("40{auth}"))).await?;
        raw.packet("40").await;
        Ok(raw)
    }

    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::SeqCst)
    }

    pub async fn send(&mut self, message: Message) -> Result<(), Closed> {
        match tokio::time::timeout(Duration::from_secs(5), self.sink.send(message)).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Closed),
        }
    }

    /// Sends a message, and gives its acknowledgement's text: `[{"success":true,…}]`.
    pub async fn acknowledged(&mut self, id: u32, message: &str) -> String {
        self.send(Message::text(format!("42{id}{message}"))).await.expect("still connected");
        self.packet(&format!("43{id}")).await
    }

    /// What follows this beginning in the next packet that has it.
    pub async fn packet(&mut self, beginning: &str) -> String {
        self.packet_of(&[beginning]).await.unwrap_or_else(|| panic!("no packet {beginning}"))
    }

    /// The same for any of these beginnings; `None` if the connection ends first.
    pub async fn packet_of(&mut self, beginnings: &[&str]) -> Option<String> {
        loop {
            let packet = tokio::time::timeout(PATIENCE, self.packets.recv()).await.ok()??;
            if let Some(rest) = beginnings.iter().find_map(|beginning| packet.strip_prefix(beginning)) {
                return Some(rest.to_owned());
            }
        }
    }
}
