//! Stores that refuse, hang and break off for a time.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use wellspring_s3_testing::{Fault, Server, Trouble};

use super::*;

/// Longer than anything here takes on a busy machine, shorter than the patience of a minute.
const AT_ONCE: Duration = Duration::from_secs(40);

/// An object in the bucket of a server at an address, asked for again for so long.
fn object(address: SocketAddr, retry_for: &str) -> Location {
    object_within(address, retry_for, "30s")
}

/// An object whose requests have so long for their answers.
fn object_within(address: SocketAddr, retry_for: &str, timeout: &str) -> Location {
    let settings = [
        ("aws_endpoint", format!("http://{address}")),
        ("aws_access_key_id", "anyone".into()),
        ("aws_secret_access_key", "anything".into()),
        ("timeout", timeout.into()),
        ("retry_for", retry_for.into()),
    ];
    let settings = settings.map(|(key, value)| (key.to_owned(), value));
    // A bucket of its own for each test, since names that have answered are known to the process.
    Location::parse_with(&format!("s3://bucket-{}/object", address.port()), &settings).unwrap()
}

/// An address that nobody listens at.
fn free_address() -> SocketAddr {
    // Closed when this returns, unlike a server, which ends a moment later.
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap()
}

/// Waits until so many requests were made again.
async fn retried(place: &Location, times: u64) {
    while place.retries() < times {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn always(method: &'static str, fault: Fault, times: u64) -> Trouble {
    let every = 1;
    Trouble {
        method,
        fault,
        every,
        times,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_back_is_waited_for() {
    let address = free_address();
    let place = object(address, "1m");
    let writing = tokio::spawn({
        let place = place.clone();
        async move { place.put("abc").await }
    });
    retried(&place, 3).await;
    assert!(!writing.is_finished());
    let server = Server::start_at(address).unwrap();
    writing.await.unwrap().unwrap();
    assert_eq!(place.get().await.unwrap(), "abc");

    // In the midst of its work, too; the connections that were open are cut.
    drop(server);
    while std::net::TcpStream::connect(address).is_ok() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let before = place.retries();
    let reading = tokio::spawn({
        let place = place.clone();
        async move { place.exists().await }
    });
    retried(&place, before + 1).await;
    assert!(!reading.is_finished());
    let _server = Server::start_at(address).unwrap();
    assert!(!reading.await.unwrap().unwrap());
}

#[tokio::test]
async fn a_server_that_does_not_come_back_is_told_with_the_tries_and_in_time() {
    let place = object(free_address(), "2s");
    let began = Instant::now();
    let error = place.get().await.unwrap_err();
    let took = began.elapsed();
    assert!(
        (Duration::from_secs(2)..AT_ONCE).contains(&took),
        "{took:?}"
    );
    assert!(
        matches!(&error, Error::GaveUp { tries, .. } if *tries > 1),
        "{error:?}"
    );
    let text = with_causes(&error).to_lowercase();
    for said in ["s3://bucket-", " tries within ", "refused", "--retry-for"] {
        assert!(text.contains(said), "{text}");
    }
}

#[tokio::test]
async fn hanging_cut_and_busy_answers_are_asked_for_again_and_every_operation_is() {
    let server = Server::start().unwrap();
    let place = object_within(server.address(), "1m", "1s");
    let bytes = vec![7_u8; 5000];
    for fault in [
        Fault::Hang,
        Fault::Gone,
        Fault::Status(500),
        Fault::Status(503),
    ] {
        server.trouble(always("PUT", fault, 2));
        place.put(bytes.clone()).await.unwrap();
        server.trouble(always("GET", fault, 2));
        assert_eq!(place.get().await.unwrap(), bytes, "{fault:?}");
        server.trouble(always("HEAD", fault, 2));
        assert_eq!(place.size().await.unwrap(), 5000, "{fault:?}");
    }
    // Each of these comes a piece further.
    server.trouble(always("GET", Fault::Reset { after: 700 }, 6));
    assert_eq!(place.get().await.unwrap(), bytes);
    assert_eq!(server.seen().faults, 4 * 6 + 6);
}

/// An object of more than four parts.
fn large() -> bytes::Bytes {
    let bytes = (0..130_u64 << 17).flat_map(u64::to_le_bytes);
    bytes.collect::<Vec<u8>>().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_object_goes_in_parts_each_of_which_is_sent_again() {
    let server = Server::start().unwrap();
    let place = object(server.address(), "1m");
    place.put(large()).await.unwrap();
    assert_eq!(server.seen().puts, 5);
    assert!(place.get().await.unwrap() == large());
    // Which request has a fault, and how many parts come. The fault comes after the server has done what was asked.
    for (method, every, fault, puts) in [
        ("PUT", 3, Fault::Status(503), 6),
        // Not counted as one that came.
        ("PUT", 3, Fault::Gone, 5),
        // The request that makes an object of the parts: all goes again.
        ("POST", 2, Fault::Status(500), 10),
        ("POST", 2, Fault::Gone, 10),
        // The one before the parts.
        ("POST", 1, Fault::Status(503), 5),
    ] {
        place.put("small").await.unwrap();
        let before = server.seen();
        server.trouble(Trouble {
            every,
            ..always(method, fault, 1)
        });
        place.put(large()).await.unwrap();
        let seen = server.seen();
        assert_eq!(seen.faults - before.faults, 1, "{method} {fault:?}");
        assert_eq!(seen.puts - before.puts, puts, "{method} {fault:?}");
        assert!(place.get().await.unwrap() == large());
        // An upload whose beginning was not heard of stays.
        assert_eq!(server.uploads(), usize::from(every == 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_large_object_that_fails_nothing_stays() {
    let server = Server::start().unwrap();
    let place = object(server.address(), "1s");
    place.put("before").await.unwrap();
    server.trouble(always("PUT", Fault::Status(503), 1000));
    let began = Instant::now();
    let error = place.put(large()).await.unwrap_err();
    assert!(matches!(error, Error::GaveUp { .. }), "{error:?}");
    assert!(began.elapsed() < AT_ONCE);
    assert_eq!(place.get().await.unwrap(), "before");
    assert_eq!(server.uploads(), 0);
}

#[tokio::test]
async fn a_write_on_a_condition_is_made_again_only_where_it_was_not_done() {
    let address = free_address();
    let place = object_within(address, "1m", "1s");
    let writing = tokio::spawn({
        let place = place.clone();
        async move { place.put_new("one").await }
    });
    retried(&place, 1).await;
    let server = Server::start_at(address).unwrap();
    assert!(writing.await.unwrap().unwrap());
    // It was done, and only the answer is lost: made again, it would be refused because of itself.
    let other = place.join("other");
    server.trouble(always("PUT", Fault::Hang, 1));
    let error = other.put_new("two").await.unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error:?}");
    assert_eq!(other.get().await.unwrap(), "two");
}

#[tokio::test]
async fn what_does_not_pass_is_told_at_once() {
    let server = Server::start().unwrap();
    let place = object(server.address(), "1m");
    let began = Instant::now();
    assert_eq!(place.get_opt().await.unwrap(), None);
    for status in [400, 401, 403, 501] {
        server.trouble(always("GET", Fault::Status(status), 1));
        let error = place.get().await.unwrap_err();
        assert!(with_causes(&error).contains(&status.to_string()), "{error}");
    }
    let name = Location::parse_with(
        "https://no-such-host.invalid/object",
        &[("retry_for".into(), "1m".into())],
    );
    let error = name.unwrap().get().await.unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error:?}");
    assert!(began.elapsed() < AT_ONCE, "{error}");
    assert_eq!(place.retries(), 0);
}

#[tokio::test]
async fn an_object_that_was_replaced_is_not_mixed_with_what_took_its_place() {
    let server = Server::start().unwrap();
    let place = object(server.address(), "1m");
    place.put(vec![1_u8; 5000]).await.unwrap();
    let answer = place
        .object_store()
        .get_opts(place.path(), Default::default());
    server.trouble(always("GET", Fault::Reset { after: 700 }, 1));
    let answer = answer.await.unwrap();
    place.put(vec![2_u8; 5000]).await.unwrap();
    let error = answer.bytes().await.unwrap_err();
    assert!(
        matches!(error, object_store::Error::Precondition { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn an_outage_and_its_end_are_told_once() {
    let notes = Arc::new(crate::Notes::default());
    report_outages(notes.clone());
    let address = free_address();
    let place = object(address, "1m");
    let waiting = (0..4).map(|i| {
        let place = place.join(&i.to_string());
        async move { place.exists().await }
    });
    let waiting = tokio::spawn(futures::future::join_all(waiting.collect::<Vec<_>>()));
    let store = format!("s3://bucket-{}", address.port());
    let of_store = || {
        let told = notes.take().into_iter();
        told.filter(|note| note.starts_with(&store))
            .collect::<Vec<String>>()
    };
    let mut told = of_store();
    while told.is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
        told.extend(of_store());
    }
    let _server = Server::start_at(address).unwrap();
    for found in waiting.await.unwrap() {
        assert!(!found.unwrap());
    }
    told.extend(of_store());
    assert_eq!(told.len(), 2, "{told:?}");
    let begins = "does not answer (connection refused); trying again for up to ";
    assert!(told[0].contains(begins), "{told:?}");
    assert!(told[1].ends_with("answers again"), "{told:?}");
}
