//! Addresses as people write them, and sockets on loopback.

use super::accept::Places;
use super::address::{Listen, resolve};
use super::*;
use std::net::{Ipv6Addr, SocketAddr};

fn list(texts: &[&str]) -> Result<Vec<Listen>, String> {
    let texts: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
    resolve(&texts).map_err(|error| error.to_string())
}

#[test]
fn addresses_are_read_as_people_write_them() {
    for (text, address) in [("127.0.0.1:5672", "127.0.0.1:5672"), ("[::1]:5672", "[::1]:5672")] {
        assert_eq!(list(&[text]).unwrap()[0].address, address.parse().unwrap(), "{text}");
    }
    for text in [":5672", "*:5672"] {
        let address = list(&[text]).unwrap()[0].address;
        assert!(address.ip().is_unspecified() && address.port() == 5672, "{address}");
    }
    assert!(list(&["localhost:5672"]).unwrap().iter().all(|l| l.address.ip().is_loopback()));
    for text in ["5672", "127.0.0.1", "1.2.3.4:99999", ":x", ""] {
        let error = list(&[text]).unwrap_err();
        assert!(error.contains("write HOST:PORT"), "{error}");
    }
}

#[test]
fn a_wildcard_shares_its_port_with_the_other_family() {
    let both = list(&["0.0.0.0:5672", "[::]:5672"]).unwrap();
    assert_eq!([both[0].ipv6_only, both[1].ipv6_only], [false, true]);
    assert!(!list(&["[::]:5672"]).unwrap()[0].ipv6_only);
    assert_eq!(list(&["127.0.0.1:1", "127.0.0.1:1"]).unwrap().len(), 1);
}

#[tokio::test]
async fn a_dual_stack_listener_takes_both_families() {
    let wildcard = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    // A machine without IPv6 cannot show this.
    let Ok(listener) = bind(wildcard, false) else { return };
    let listener = listener.listen(16).unwrap();
    let port = listener.local_addr().unwrap().port();
    for address in [format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
        let (client, accepted) =
            tokio::join!(tokio::net::TcpStream::connect(&address), listener.accept());
        client.unwrap();
        accepted.unwrap();
    }
}

#[tokio::test]
async fn a_port_in_use_is_told_with_what_to_do() {
    let first = bind("127.0.0.1:0".parse().unwrap(), false).unwrap();
    let address = first.address();
    let _first = first.listen(16).unwrap();
    let second = bind(address, false).and_then(|bound| bound.listen(16));
    let error = second.unwrap_err().to_string();
    assert!(error.contains("choose another port"), "{error}");
}

#[tokio::test]
async fn places_are_given_back() {
    let places = Places::new(2);
    let first = places.take(&mut None).await.unwrap();
    let second = places.take(&mut None).await.unwrap();
    let mut told = None;
    {
        let mut third = std::pin::pin!(places.take(&mut told));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(third.as_mut().poll(&mut context).is_pending());
        drop(first);
        drop(third.await);
    }
    drop(second);
    assert!(told.is_some(), "the log says that there was none");
    places.emptied().await;
}
