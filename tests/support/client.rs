//! A small Socket.IO client for tests: Engine.IO over a WebSocket, by hand, so that nothing hides what is on the wire.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    io::ErrorKind,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{SinkExt, StreamExt, stream::SplitSink};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error as WsError, Message, client::IntoClientRequest, error::ProtocolError},
};

/// Longer than anything takes that works, even on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Why a connection was refused: the message of `connect_error`, or what happened at the transport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused(pub String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

type Acks = Arc<Mutex<HashMap<u64, oneshot::Sender<Value>>>>;

/// A connected client. Dropping it closes its TCP connection without a word, as a lost network would.
pub struct Client {
    sink: Arc<tokio::sync::Mutex<SplitSink<Socket, Message>>>,
    acks: Acks,
    last_ack: AtomicU64,
    events: mpsc::UnboundedReceiver<(String, Value)>,
    /// Events that were received and passed over.
    passed_over: VecDeque<(String, Value)>,
    /// `None` while connected.
    ended: watch::Receiver<Option<String>>,
    reading: watch::Sender<bool>,
    reader: JoinHandle<()>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Client {
    /// Connects by WebSocket. `url` is the server's, as in `http://127.0.0.1:4000`; `auth` may be `null`.
    pub async fn connect(url: &str, auth: Value) -> Result<Self, Refused> {
        Self::connect_with(url, auth, &[]).await
    }

    /// The same with headers, as a browser sends cookies.
    pub async fn connect_with(url: &str, auth: Value, headers: &[(&'static str, &str)]) -> Result<Self, Refused> {
        let mut socket = open_websocket(url, None, headers).await?;
        let open = text(&mut socket).await?;
        if !open.starts_with('0') {
            return Err(Refused(format!("expected an open packet, found {open}")));
        }
        Self::enter(socket, auth).await
    }

    /// Connects as browsers do: by polling, upgraded to a WebSocket.
    pub async fn connect_upgraded(url: &str, auth: Value) -> Result<Self, Refused> {
        Self::connect_upgraded_with(url, auth, &[]).await
    }

    /// The same with headers.
    pub async fn connect_upgraded_with(
        url: &str,
        auth: Value,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, Refused> {
        let open = poll_with(url, "EIO=4&transport=polling", headers).await?;
        let open: Value = open
            .strip_prefix('0')
            .and_then(|json| serde_json::from_str(json).ok())
            .ok_or_else(|| Refused(format!("expected an open packet, found {open}")))?;
        let mut socket = open_websocket(url, open["sid"].as_str(), headers).await?;
        send(&mut socket, "2probe").await?;
        let probe = text(&mut socket).await?;
        if probe != "3probe" {
            return Err(Refused(format!("expected the answer to the probe, found {probe}")));
        }
        send(&mut socket, "5").await?;
        Self::enter(socket, auth).await
    }

    async fn enter(mut socket: Socket, auth: Value) -> Result<Self, Refused> {
        send(&mut socket, &if auth.is_null() { "40".to_owned() } else { format!("40{auth}") }).await?;
        loop {
            let packet = text(&mut socket).await?;
            if packet == "2" {
                send(&mut socket, "3").await?;
            } else if packet.starts_with("40") {
                break;
            } else if let Some(json) = packet.strip_prefix("44") {
                return Err(Refused(parse(json)["message"].as_str().unwrap_or(json).to_owned()));
            }
        }
        let (sink, mut stream) = socket.split();
        let sink = Arc::new(tokio::sync::Mutex::new(sink));
        let acks: Acks = Arc::default();
        let (event_sender, events) = mpsc::unbounded_channel();
        let (end, ended) = watch::channel(None);
        let (reading, mut may_read) = watch::channel(true);
        let reader = tokio::spawn({
            let (sink, acks) = (sink.clone(), acks.clone());
            async move {
                let reason = loop {
                    if may_read.wait_for(|reading| *reading).await.is_err() {
                        break "the client was dropped".to_owned();
                    }
                    let packet = tokio::select! {
                        biased;
                        _ = may_read.changed() => continue,
                        message = stream.next() => match message {
                            Some(Ok(Message::Text(text))) => text.to_string(),
                            Some(Ok(Message::Close(_))) | None => break "closed by the server".to_owned(),
                            Some(Ok(_)) => continue,
                            Some(Err(error)) => break format!("lost: {error}"),
                        },
                    };
                    if packet == "2" {
                        sink.lock().await.send(Message::text("3")).await.ok();
                    } else if packet == "1" {
                        break "transport closed by the server".to_owned();
                    } else if packet == "41" {
                        break "disconnected by the server".to_owned();
                    } else if let Some(event) = packet.strip_prefix("42") {
                        let event = parse(event);
                        let name = event[0].as_str().expect("an event has a name").to_owned();
                        event_sender.send((name, event[1].clone())).ok();
                    } else if let Some(ack) = packet.strip_prefix("43") {
                        let digits = ack.find('[').expect("an ack has arguments");
                        let waiting = acks.lock().unwrap().remove(&ack[..digits].parse().expect("an ack has an id"));
                        if let Some(waiting) = waiting {
                            waiting.send(parse(&ack[digits..])[0].clone()).ok();
                        }
                    }
                };
                acks.lock().unwrap().clear();
                end.send_replace(Some(reason));
            }
        });
        Ok(Self {
            sink,
            acks,
            last_ack: AtomicU64::new(0),
            events,
            passed_over: VecDeque::new(),
            ended,
            reading,
            reader,
        })
    }

    /// Sends a message without an acknowledgement.
    pub async fn emit(&self, name: &str, payload: Value) {
        self.send_raw(&format!("42{}", json!([name, payload]))).await;
    }

    /// Sends a message and waits for its acknowledgement.
    pub async fn emit_with_ack(&self, name: &str, payload: Value) -> Value {
        self.raw_with_ack(&json!([name, payload]).to_string()).await
    }

    /// The same where the connection may well end: then there is no answer.
    pub async fn ask(&self, name: &str, payload: Value) -> Option<Value> {
        let answer = self.send_asking(&json!([name, payload]).to_string()).await;
        let mut ended = self.ended.clone();
        tokio::select! {
            answer = answer => answer.ok(),
            _ = ended.wait_for(Option::is_some) => None,
            () = tokio::time::sleep(PATIENCE) => None,
        }
    }

    async fn send_asking(&self, array: &str) -> oneshot::Receiver<Value> {
        let id = self.last_ack.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        self.acks.lock().unwrap().insert(id, sender);
        self.send_raw(&format!("42{id}{array}")).await;
        answer
    }

    /// The same with the text of the message's array as it is, well-formed or not.
    pub async fn raw_with_ack(&self, array: &str) -> Value {
        let answer = self.send_asking(array).await;
        tokio::time::timeout(PATIENCE, answer)
            .await
            .unwrap_or_else(|_| panic!("no acknowledgement of {array:.200}"))
            .unwrap_or_else(|_| panic!("disconnected before the acknowledgement of {array:.200}: {:?}", self.end()))
    }

    /// Sends a packet as it is.
    pub async fn send_raw(&self, packet: &str) {
        match self.sink.lock().await.send(Message::text(packet)).await {
            Ok(()) | Err(WsError::ConnectionClosed | WsError::AlreadyClosed) => {}
            // The other side has gone, or is going; the reader says so.
            Err(WsError::Protocol(ProtocolError::SendAfterClosing)) => {}
            Err(WsError::Io(error)) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {}
            Err(error) => panic!("could not send {packet:.200}: {error}"),
        }
    }

    /// Sends a binary packet, such as one that an event has announced.
    pub async fn send_binary(&self, bytes: &'static [u8]) {
        self.sink.lock().await.send(Message::binary(bytes)).await.expect("sent");
    }

    /// The next event in the order of arrival, or `None` if there is none within `timeout` or the connection has ended.
    pub async fn next_event(&mut self, timeout: Duration) -> Option<(String, Value)> {
        if let Some(event) = self.passed_over.pop_front() {
            return Some(event);
        }
        tokio::time::timeout(timeout, self.events.recv()).await.ok().flatten()
    }

    /// All events up to the first for which `is_last` is true, that one included.
    pub async fn events_until(&mut self, is_last: impl Fn(&str, &Value) -> bool) -> Vec<(String, Value)> {
        let mut events = Vec::new();
        loop {
            let Some((name, payload)) = self.next_event(PATIENCE).await else {
                panic!("the awaited event did not come; {} did; the connection's end: {:?}", events.len(), self.end());
            };
            let last = is_last(&name, &payload);
            events.push((name, payload));
            if last {
                return events;
            }
        }
    }

    /// The next event of this name; others stay for later.
    pub async fn event_named(&mut self, wanted: &str) -> Value {
        let mut events = self.events_until(|name, _| name == wanted).await;
        let (_, payload) = events.pop().expect("the last is the wanted one");
        for event in events.into_iter().rev() {
            self.passed_over.push_front(event);
        }
        payload
    }

    /// What has arrived so far, up to the answer to a question that is asked now: no event that the server sent before
    /// can be missing.
    pub async fn events_so_far(&mut self) -> Vec<(String, Value)> {
        let answer = self.emit_with_ack("ping", Value::Null).await;
        assert_eq!(answer["success"], true, "{answer}");
        let mut events: Vec<_> = self.passed_over.drain(..).collect();
        while let Ok(event) = self.events.try_recv() {
            events.push(event);
        }
        events
    }

    fn end(&self) -> Option<String> {
        self.ended.borrow().clone()
    }

    /// Stops taking anything off the wire, as a frozen tab does.
    pub fn stop_reading(&self) {
        self.reading.send_replace(false);
    }

    pub fn read_again(&self) {
        self.reading.send_replace(true);
    }

    pub fn is_connected(&self) -> bool {
        self.end().is_none()
    }

    /// Waits for the end of the connection, and says how it came.
    pub async fn disconnected(&mut self) -> String {
        let reason = tokio::time::timeout(PATIENCE, self.ended.wait_for(Option::is_some)).await;
        reason.expect("the connection did not end").expect("the reader says how it ends").clone().expect("it has ended")
    }
}

async fn open_websocket(url: &str, sid: Option<&str>, headers: &[(&'static str, &str)]) -> Result<Socket, Refused> {
    let url = url.trim_end_matches('/').replacen("http", "ws", 1);
    let sid = sid.map(|sid| format!("&sid={sid}")).unwrap_or_default();
    let mut request = format!("{url}/socket.io/?EIO=4&transport=websocket{sid}").into_client_request().expect("a URL");
    for (name, value) in headers {
        request.headers_mut().append(*name, value.parse().expect("a header's value"));
    }
    let (socket, _) = connect_async(request).await.map_err(|error| Refused(format!("transport: {error}")))?;
    Ok(socket)
}

/// One polling request, answered with the text of the response's body.
pub async fn poll(url: &str, query: &str) -> Result<String, Refused> {
    poll_with(url, query, &[]).await
}

/// The same with headers.
async fn poll_with(url: &str, query: &str, headers: &[(&'static str, &str)]) -> Result<String, Refused> {
    let transport = |error: std::io::Error| Refused(format!("transport: {error}"));
    let host = url.trim_start_matches("http://").trim_end_matches('/');
    let mut tcp = TcpStream::connect(host).await.map_err(transport)?;
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let request = format!("GET /socket.io/?{query} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n");
    tcp.write_all(request.as_bytes()).await.map_err(transport)?;
    let mut response = String::new();
    tcp.read_to_string(&mut response).await.map_err(transport)?;
    let (_, body) = response.split_once("\r\n\r\n").ok_or_else(|| Refused(format!("no HTTP response: {response}")))?;
    Ok(body.to_owned())
}

async fn send(socket: &mut Socket, packet: &str) -> Result<(), Refused> {
    socket.send(Message::text(packet)).await.map_err(|error| Refused(format!("transport: {error}")))
}

async fn text(socket: &mut Socket) -> Result<String, Refused> {
    match tokio::time::timeout(PATIENCE, socket.next()).await {
        Ok(Some(Ok(Message::Text(text)))) => Ok(text.to_string()),
        Ok(Some(Err(error))) => Err(Refused(format!("transport: {error}"))),
        Ok(other) => Err(Refused(format!("transport: expected a packet, found {other:?}"))),
        Err(_) => Err(Refused("transport: the server said nothing".to_owned())),
    }
}

fn parse(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("the server sent broken JSON: {error}: {json:.200}"))
}
