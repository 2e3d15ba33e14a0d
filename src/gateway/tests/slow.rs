//! Clients that take their time, and what that costs the others.

use super::*;

/// Short, so that the tests are; what is in time, is well within it.
const TIMEOUT: Duration = Duration::from_millis(400);

async fn server() -> Server {
    Server::with_limits(LimitsConfig { handshake_timeout: TIMEOUT, ..LimitsConfig::default() }).await
}

async fn tcp(server: &Server) -> TcpStream {
    TcpStream::connect(server.url.trim_start_matches("http://")).await.expect("the server accepts")
}

/// Waits for the end of a connection, and says what came before it.
async fn end_of(tcp: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    let read = async {
        // A reset is an end too.
        tcp.read_to_end(&mut heard).await.ok();
    };
    tokio::time::timeout(PATIENCE, read).await.expect("the server ends the connection");
    String::from_utf8_lossy(&heard).into_owned()
}

/// Sends a byte now and then, until the server has had enough.
async fn trickle(mut tcp: TcpStream, text: &'static [u8]) -> String {
    let (mut read, mut write) = tcp.split();
    let mut heard = Vec::new();
    let send = async {
        for byte in text.iter().cycle() {
            if write.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(TIMEOUT / 20).await;
        }
    };
    let listen = async { read.read_to_end(&mut heard).await.ok() };
    let until_the_end = async {
        tokio::select! { () = send => {}, _ = listen => {} }
    };
    tokio::time::timeout(PATIENCE, until_the_end).await.expect("the server ends the connection");
    String::from_utf8_lossy(&heard).into_owned()
}

#[tokio::test]
async fn whoever_does_not_ask_for_anything_in_time_is_let_go_while_others_are_served() {
    let server = server().await;
    let client = server.connect("b1").await;
    let mut silent = tcp(&server).await;
    let mut halfway = tcp(&server).await;
    halfway.write_all(b"GET /healthz HTTP/1.1\r\nHost: localh").await.expect("sent");
    let trickling = trickle(tcp(&server).await, b"X");
    let serving = async {
        for _ in 0..20 {
            assert_eq!(client.emit_with_ack("ping", Value::Null).await["success"], true);
            assert!(server.get("/healthz", "").await.starts_with("HTTP/1.1 200"));
            tokio::time::sleep(TIMEOUT / 20).await;
        }
    };
    let answers = tokio::join!(end_of(&mut silent), end_of(&mut halfway), trickling, serving);
    assert!(!answers.0.contains("200") && !answers.1.contains("200") && !answers.2.contains("200"), "{answers:?}");
    assert_eq!(server.refused("handshake_timeout"), 3);
    assert!(client.is_connected());
}

#[tokio::test]
async fn a_body_that_trickles_in_is_not_waited_for() {
    let server = server().await;
    let open = server.get("/socket.io/?EIO=4&transport=polling", "").await;
    let sid = open.split(r#""sid":""#).nth(1).and_then(|rest| rest.split('"').next()).expect("an open packet");
    let mut tcp = tcp(&server).await;
    let head = format!(
        "POST /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\n"
    );
    tcp.write_all(head.as_bytes()).await.expect("sent");
    let answer = trickle(tcp, b"4").await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert_eq!(server.refused("handshake_timeout"), 1);
}

#[tokio::test]
async fn a_request_for_a_websocket_whose_body_never_comes_is_not_waited_for() {
    let server = server().await;
    let mut tcp = tcp(&server).await;
    let head = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
                Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                Content-Length: 10\r\n\r\n";
    tcp.write_all(head.as_bytes()).await.expect("sent");
    end_of(&mut tcp).await;
    server.wait_until_nothing_is_taken().await;
}

#[tokio::test]
async fn a_connection_that_asked_in_time_may_ask_again_later() {
    let server = server().await;
    let mut tcp = tcp(&server).await;
    for _ in 0..3 {
        tokio::time::sleep(TIMEOUT / 2).await;
        tcp.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("sent");
        let mut answer = [0; 1024];
        let length = tcp.read(&mut answer).await.expect("an answer");
        assert!(answer[..length].starts_with(b"HTTP/1.1 200"));
    }
    assert_eq!(server.refused("handshake_timeout"), 0);
}

#[tokio::test]
async fn a_websocket_over_which_nobody_signs_in_is_closed() {
    let server = server().await;
    let url = format!("{}/socket.io/?EIO=4&transport=websocket", server.url.replacen("http", "ws", 1));
    for says in [None, Some(r#"40{"userId":"nobody"}"#), Some("40/elsewhere,"), Some("41"), Some("3")] {
        let (mut socket, _) = tokio_tungstenite::connect_async(&url).await.expect("a WebSocket");
        if let Some(says) = says {
            futures_util::SinkExt::send(&mut socket, says.into()).await.expect("sent");
        }
        let heard = async { while let Some(Ok(_)) = futures_util::StreamExt::next(&mut socket).await {} };
        tokio::time::timeout(PATIENCE, heard).await.unwrap_or_else(|_| panic!("{says:?} keeps the connection open"));
    }
    server.wait_until_nothing_is_taken().await;
}

#[tokio::test]
async fn a_client_that_polls_or_changes_over_without_end_is_forgotten() {
    let server = server().await;
    let open = server.get("/socket.io/?EIO=4&transport=polling", "").await;
    assert!(open.starts_with("HTTP/1.1 200"));
    let open = client::poll(&server.url, "EIO=4&transport=polling").await.expect("an open packet");
    let sid = open.split(r#""sid":""#).nth(1).and_then(|rest| rest.split('"').next()).expect("a session");
    let url = format!("{}/socket.io/?EIO=4&transport=websocket&sid={sid}", server.url.replacen("http", "ws", 1));
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.expect("a WebSocket");
    let heard = async { while let Some(Ok(_)) = futures_util::StreamExt::next(&mut socket).await {} };
    tokio::time::timeout(PATIENCE, heard).await.expect("without a probe it is closed");
    server.wait_until_nothing_is_taken().await;
}

#[tokio::test]
async fn who_takes_leave_but_not_its_connection_loses_it() {
    let server = server().await;
    let mut client = server.connect("b1").await;
    client.send_raw("41").await;
    client.disconnected().await;
    server.wait_until_empty().await;
    server.wait_until_nothing_is_taken().await;
}

#[tokio::test]
async fn a_stop_waits_for_no_request_that_may_never_come() {
    let server = Server::default().await;
    let silent = tcp(&server).await;
    server.get("/healthz", "").await;
    server.stop.cancel();
    tokio::time::timeout(Duration::from_secs(5), server.task).await.expect("it ends").expect("no panic");
    drop(silent);
}
