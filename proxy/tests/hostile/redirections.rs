//! Addresses to which Redis sends a client, past the proxy.

use crate::hostile::setup::{Setup, expect, send};

#[test]
fn a_moving_push_loses_its_address_and_is_a_line_in_the_log() {
    let (mut setup, fake) = Setup::with_fake(&[]);
    let mut client = setup.client();
    let mut server = fake.accept();
    send(&mut server, b">4\r\n+MOVING\r\n:1\r\n:15\r\n$14\r\n127.0.0.9:6379\r\n");
    expect(&mut client, b">4\r\n+MOVING\r\n:1\r\n:15\r\n_\r\n");
    setup.wait_for_line("(MOVING); the address was left out");
    drop((client, server));
    assert!(setup.over().log.contains("redirections_moving=1"));
}

#[test]
fn a_redirection_of_valkey_arrives_and_is_a_line_in_the_log() {
    let (mut setup, fake) = Setup::with_fake(&[]);
    let mut client = setup.client();
    let mut server = fake.accept();
    send(&mut client, b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n");
    expect(&mut server, b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n");
    send(&mut server, b"-REDIRECT 127.0.0.9:6379\r\n");
    expect(&mut client, b"-REDIRECT 127.0.0.9:6379\r\n");
    setup.wait_for_line("(-REDIRECT), past this proxy");
    drop((client, server));
    assert!(setup.over().log.contains("redirections_redirect=1"));
}
