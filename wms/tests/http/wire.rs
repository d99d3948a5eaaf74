//! What only a real connection can show.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::bed::Bed;

/// Sends a gigabyte for as long as the server lets it, as a plain client would, and reads the
/// answer only then.
async fn send_a_gigabyte(bed: &Bed, headers: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(axum::serve(listener, bed.router.clone()).into_future());
    let token = bed.user("alice").await;
    let (mut reader, mut writer) = TcpStream::connect(address).await.unwrap().into_split();
    let head = format!(
        "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/jdl\r\n{headers}\r\n\r\n"
    );
    let sending = tokio::spawn(async move {
        writer.write_all(head.as_bytes()).await.unwrap();
        // A chunk of a chunked body; otherwise just bytes.
        let mut piece = b"10000\r\n".to_vec();
        piece.extend([b' '; 0x10000]);
        piece.extend(b"\r\n");
        let mut sent = 0_u64;
        while sent < 1 << 30 && writer.write_all(&piece).await.is_ok() {
            sent += piece.len() as u64;
        }
        sent
    });
    let mut answer = String::new();
    let mut buffer = [0; 4096];
    while !answer.contains("too-large") {
        let count = reader.read(&mut buffer).await.unwrap();
        assert!(
            count > 0,
            "the connection ended without an answer: {answer}"
        );
        answer.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
    sending.abort();
    server.abort();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gigabyte_is_refused_and_the_client_is_told() {
    let bed = Bed::start().await;
    for headers in ["Content-Length: 1073741824", "Transfer-Encoding: chunked"] {
        let answer = send_a_gigabyte(&bed, headers).await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        assert!(answer.contains("application/problem+json"), "{answer}");
    }
}
