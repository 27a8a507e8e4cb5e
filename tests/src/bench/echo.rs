//! A server that says one thing, whoever asks: what it takes to fetch that is the wire and the client.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Ends with the program.
pub(super) struct Echo {
    pub(super) url: String,
    body: Arc<Mutex<Vec<u8>>>,
}

impl Echo {
    pub(super) fn start() -> Echo {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let body = Arc::new(Mutex::new(Vec::new()));
        let said = Arc::clone(&body);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let said = Arc::clone(&said);
                // A client that hangs up ends its connection, and nothing else.
                std::thread::spawn(move || answer(stream, &said));
            }
        });
        Echo { url, body }
    }

    pub(super) fn say(&self, body: Vec<u8>) {
        *self.body.lock().expect("no panic") = body;
    }
}

fn answer(stream: TcpStream, said: &Mutex<Vec<u8>>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line)? == 0 {
                return Ok(());
            }
            match line.to_ascii_lowercase().trim_end().split_once(": ") {
                Some(("content-length", value)) => length = value.parse().unwrap_or(0),
                None if line.trim_end().is_empty() => break,
                _ => {}
            }
        }
        std::io::copy(&mut (&mut stream).take(length), &mut std::io::sink())?;
        let body = said.lock().expect("no panic").clone();
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length:";
        write!(stream.get_mut(), "{head} {}\r\n\r\n", body.len())?;
        stream.get_mut().write_all(&body)?;
    }
}
