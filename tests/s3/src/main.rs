//! Runs the server by itself, for manual tests: prints its settings as shell exports, and runs until its
//! standard input ends. Arguments: latency in milliseconds and MB/s of a connection.

use std::io::Read as _;
use std::time::Duration;

use wellspring_s3_testing::{Link, Server};

#[expect(clippy::print_stdout, reason = "it is a program")]
fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args()
        .skip(1)
        .filter_map(|text| text.parse().ok());
    let server = Server::start()?;
    server.link(Link {
        latency: Duration::from_millis(arguments.next().unwrap_or(0)),
        bandwidth: arguments.next().map(|megabytes: u64| megabytes * 1_000_000),
    });
    for (key, value) in server.settings() {
        println!("export {}={value}", key.to_uppercase());
    }
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
