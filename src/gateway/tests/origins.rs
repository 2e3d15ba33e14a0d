//! Which web pages may connect, over the wire.

use super::*;

const POLL: &str = "/socket.io/?EIO=4&transport=polling";

/// The status of a request for a WebSocket.
async fn upgrade(server: &Server, headers: &str) -> u16 {
    let host = server.url.trim_start_matches("http://");
    let mut tcp = TcpStream::connect(host).await.expect("the server accepts");
    let host_header = if headers.contains("Host: ") { String::new() } else { format!("Host: {host}\r\n") };
    let request = format!(
        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n{host_header}{headers}Connection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    tcp.write_all(request.as_bytes()).await.expect("the request is sent");
    let mut answer = [0; 12];
    tcp.read_exact(&mut answer).await.expect("an answer");
    String::from_utf8_lossy(&answer)[9..].parse().expect("a status")
}

#[tokio::test]
async fn pages_of_other_origins_may_not_connect() {
    let server = Server::default().await;
    let own = format!("Origin: {}\r\n", server.url);
    for welcome in ["", "Origin: http://localhost:3000\r\n", "Origin: HTTP://LocalHost:3000\r\n", &own] {
        assert!(server.get(POLL, welcome).await.starts_with("HTTP/1.1 200"), "{welcome}");
        assert_eq!(upgrade(&server, welcome).await, 101, "{welcome}");
    }
    for refused in ["https://elsewhere.example", "null", "http://localhost", "http://localhost:3001"] {
        let origin = format!("Origin: {refused}\r\n");
        let answer = server.get(POLL, &origin).await;
        assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("allowed_origins"), "{answer}");
        assert_eq!(upgrade(&server, &origin).await, 403, "{refused}");
    }
    assert_eq!(server.refused("allowed_origins"), 8);
}

#[tokio::test]
async fn a_page_whose_name_server_points_here_is_no_page_of_this_server() {
    let server = Server::default().await;
    let port = server.url.rsplit(':').next().expect("a port");
    let rebound = format!("Host: evil.example:{port}\r\nOrigin: http://evil.example:{port}\r\n");
    assert!(server.get(POLL, &rebound).await.starts_with("HTTP/1.1 403"));
    assert_eq!(upgrade(&server, &rebound).await, 403);
    let own = format!("Host: localhost:{port}\r\nOrigin: http://localhost:{port}\r\n");
    assert_eq!(upgrade(&server, &own).await, 101);
    assert!(server.ask_admin("/metrics", &format!("Host: evil.example:{port}\r\n")).await.starts_with("HTTP/1.1 421"));
}

#[tokio::test]
async fn a_listed_page_may_read_the_answers_with_its_cookies_and_any_page_without() {
    let server = Server::default().await;
    let origin = "Origin: http://localhost:3000\r\n";
    let answer = server.get(POLL, origin).await.to_lowercase();
    assert!(answer.contains("access-control-allow-origin: http://localhost:3000\r\n"), "{answer}");
    assert!(answer.contains("access-control-allow-credentials: true"), "{answer}");
    let elsewhere = server.get("/healthz", "Origin: https://elsewhere.example\r\n").await.to_lowercase();
    assert!(!elsewhere.contains("access-control-allow-origin"), "{elsewhere}");

    let config = GatewayConfig { allowed_origins: Origins::Any, ..GatewayConfig::default() };
    let open = Server::start(config).await;
    let answer = open.get(POLL, "Origin: https://elsewhere.example\r\n").await.to_lowercase();
    assert!(answer.starts_with("http/1.1 200") && answer.contains("access-control-allow-origin: *"), "{answer}");
    assert!(!answer.contains("access-control-allow-credentials"), "{answer}");
}
