//! A collector whose answers are bytes that a test chooses.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;

/// Answers every HTTP/1.1 request with `answer`. The heads of the requests come out of the receiver.
pub(crate) fn answering(answer: &str) -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (heads, seen) = mpsc::channel();
    let answer = answer.to_owned();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (answer, heads) = (answer.clone(), heads.clone());
            // The way in which a connection ends does not matter.
            thread::spawn(move || serve(&stream, &answer, &heads));
        }
    });
    (address, seen)
}

fn serve(mut stream: &TcpStream, answer: &str, heads: &mpsc::Sender<String>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut head, mut len) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                len = value.trim().parse().unwrap();
            }
            head.push_str(&line);
        }
        reader.read_exact(&mut vec![0; len])?;
        // The test may be over.
        let _ = heads.send(head);
        stream.write_all(answer.as_bytes())?;
    }
}

/// An HTTP/1.1 answer with a body of this type.
pub(crate) fn answer(status: &str, kind: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}
