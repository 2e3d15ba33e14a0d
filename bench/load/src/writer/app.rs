//! The application's HTTP interface, over one connection that is kept open.

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// One connection to the application.
pub(super) struct Application {
    stream: TcpStream,
    host: String,
    answer: Vec<u8>,
}

impl Application {
    pub async fn connect(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, host: address.to_owned(), answer: Vec::with_capacity(512) })
    }

    /// Sets a product's description. The application answers with 204, which has no body.
    pub async fn describe(&mut self, id: &str, description: &str) -> Result<()> {
        let request = format!(
            "PUT /products/{id} HTTP/1.1\r\nHost: {}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{description}",
            self.host,
            description.len(),
        );
        self.stream.write_all(request.as_bytes()).await?;
        self.answer.clear();
        while !self.answer.ends_with(b"\r\n\r\n") {
            if self.stream.read_buf(&mut self.answer).await? == 0 {
                bail!("the application closed the connection instead of answering");
            }
        }
        if !self.answer.starts_with(b"HTTP/1.1 204") {
            bail!("expected 204 of the application, found {:?}", String::from_utf8_lossy(&self.answer));
        }
        Ok(())
    }
}
