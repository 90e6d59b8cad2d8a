//! What the kernel knows of a TCP socket on this machine, found by its two addresses.
//!
//! Most clients of a sidecar are processes of the same machine, so the kernel that answers for the client's end can be asked about
//! it. That tells what no packet tells: whether a client that has shut its side still has its socket open, or has closed it. The
//! same question about a socket of our own tells what the other side has not acknowledged yet.
//!
//! The question is one datagram to the kernel, and so is the answer (`sock_diag(7)`, `struct inet_diag_req_v2`). Elsewhere than on
//! Linux, and where a sandbox forbids the question, nothing is known.

use std::net::SocketAddr;
use std::time::Duration;

/// What the kernel says of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "nothing else answers"))]
pub(super) enum Answer {
    /// There is such a socket in this network namespace.
    Socket(Facts),
    /// There is none: it is gone, or it is another machine's.
    NoSocket,
    /// The kernel cannot be asked.
    Unknown,
}

/// The state of a TCP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// Whether a process has it open. The kernel keeps a socket that was closed for as long as the protocol needs it.
    pub(super) is_open: bool,
    /// Bytes that were written to it and that the other side has not acknowledged, its end of stream included.
    pub(super) unacknowledged: u32,
    /// Whether unacknowledged bytes wait because the other side has no room for them.
    pub(super) lacks_room: bool,
    /// The time since the other side has acknowledged anything.
    pub(super) since_acknowledgement: Duration,
}

/// Asks about the socket whose own address is `local`, and whose peer is `remote`.
#[cfg(target_os = "linux")]
pub(super) fn ask(local: SocketAddr, remote: SocketAddr) -> Answer {
    linux::ask(local, remote).unwrap_or(Answer::Unknown)
}

/// Asks nobody, because only Linux answers.
#[cfg(not(target_os = "linux"))]
pub(super) fn ask(_local: SocketAddr, _remote: SocketAddr) -> Answer {
    Answer::Unknown
}

#[cfg(target_os = "linux")]
mod linux {
    use std::net::IpAddr;

    use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with};

    use super::{Answer, Duration, Facts, SocketAddr};

    /// `SOCK_DIAG_BY_FAMILY`: the type of the request, and of an answer with a socket.
    const BY_FAMILY: u16 = 20;
    /// `NLMSG_ERROR`: the type of an answer without one.
    const ERROR: u16 = 2;
    /// `NLM_F_REQUEST`: the flag of every request.
    const REQUEST: u16 = 1;
    /// `TCP_LISTEN`: a state.
    const LISTEN: u8 = 10;
    /// `INET_DIAG_INFO`: the attribute that holds a `tcp_info`. Bit 1 of the request asks for it.
    const INFO: u16 = 2;
    /// The lengths of `nlmsghdr`, `inet_diag_req_v2` and `inet_diag_msg`.
    const HEADER: usize = 16;
    const QUERY: usize = 56;
    const MESSAGE: usize = 72;

    /// `None` if the kernel cannot be asked or does not answer as its documentation says.
    pub(super) fn ask(local: SocketAddr, remote: SocketAddr) -> Option<Answer> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let kernel = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(netlink::SOCK_DIAG)).ok()?;
        send(&kernel, &request(local, remote), SendFlags::empty()).ok()?;
        // The kernel has answered when it has taken the request.
        let mut answer = [0; 1024];
        let (len, _) = recv(&kernel, &mut answer, RecvFlags::empty()).ok()?;
        read(answer.get(..len)?)
    }

    fn request(local: SocketAddr, remote: SocketAddr) -> Vec<u8> {
        // A client by IPv4 on a listener for IPv6 has its own socket for IPv4.
        let (local_ip, remote_ip) = (local.ip().to_canonical(), remote.ip().to_canonical());
        let family = if local_ip.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let mut bytes = Vec::with_capacity(HEADER + QUERY);
        bytes.extend_from_slice(&((HEADER + QUERY) as u32).to_ne_bytes());
        bytes.extend_from_slice(&BY_FAMILY.to_ne_bytes());
        bytes.extend_from_slice(&REQUEST.to_ne_bytes());
        // A number and a sender, which a single question needs not.
        bytes.extend_from_slice(&[0; 8]);
        // TCP, with its `tcp_info`, in any state.
        bytes.extend_from_slice(&[family.as_raw() as u8, 6, 1 << (INFO - 1), 0]);
        bytes.extend_from_slice(&u32::MAX.to_ne_bytes());
        bytes.extend_from_slice(&local.port().to_be_bytes());
        bytes.extend_from_slice(&remote.port().to_be_bytes());
        for ip in [local_ip, remote_ip] {
            let mut octets = [0; 16];
            match ip {
                IpAddr::V4(ip) => octets[..4].copy_from_slice(&ip.octets()),
                IpAddr::V6(ip) => octets = ip.octets(),
            }
            bytes.extend_from_slice(&octets);
        }
        // Any interface, any cookie.
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&[u8::MAX; 8]);
        bytes
    }

    fn read(answer: &[u8]) -> Option<Answer> {
        match u16_at(answer, 4)? {
            ERROR => {
                let code = i32::from_ne_bytes(*answer.get(HEADER..)?.first_chunk()?);
                let no_entry = -rustix::io::Errno::NOENT.raw_os_error();
                (code == no_entry).then_some(Answer::NoSocket)
            }
            BY_FAMILY => {
                let message = answer.get(HEADER..)?;
                // Where there is no such connection, the kernel finds a socket that listens on its port.
                if message.get(1) == Some(&LISTEN) {
                    return Some(Answer::NoSocket);
                }
                let (unacknowledged, inode) = (u32_at(message, 60)?, u32_at(message, 68)?);
                // A socket that nobody has open may have none.
                let info = attribute(message.get(MESSAGE..)?, INFO).unwrap_or_default();
                Some(Answer::Socket(Facts {
                    is_open: inode != 0,
                    unacknowledged,
                    // None on its way, or no room for those that are. Linux before 5.4 does not say the second.
                    lacks_room: u32_at(info, 24) == Some(0) || u32_at(info, 228) == Some(0),
                    since_acknowledgement: Duration::from_millis(u32_at(info, 56).unwrap_or(0).into()),
                }))
            }
            _ => None,
        }
    }

    /// The content of the attribute of this type.
    fn attribute(mut rest: &[u8], wanted: u16) -> Option<&[u8]> {
        loop {
            let len = usize::from(u16_at(rest, 0)?);
            let content = rest.get(4..len)?;
            if u16_at(rest, 2)? == wanted {
                return Some(content);
            }
            rest = rest.get(len.next_multiple_of(4)..)?;
        }
    }

    fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
        Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
    }

    fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
        Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::io::Write;
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::thread;
    use std::time::Instant;

    use super::*;

    fn facts(local: SocketAddr, remote: SocketAddr) -> Facts {
        let Answer::Socket(facts) = ask(local, remote) else { panic!("{:?}", ask(local, remote)) };
        facts
    }

    fn pair(address: &str) -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind(address).unwrap();
        let far = TcpStream::connect(("127.0.0.1", listener.local_addr().unwrap().port())).unwrap();
        (listener.accept().unwrap().0, far)
    }

    #[test]
    fn a_socket_that_was_shut_is_told_from_one_that_was_closed() {
        for address in ["127.0.0.1:0", "[::]:0"] {
            let (near, far) = pair(address);
            let (local, remote) = (near.local_addr().unwrap(), near.peer_addr().unwrap());
            assert!(facts(remote, local).is_open, "{address}");
            far.shutdown(Shutdown::Write).unwrap();
            assert!(facts(remote, local).is_open, "{address}");
            drop(far);
            assert!(!facts(remote, local).is_open, "{address}");
        }
    }

    #[test]
    fn what_the_other_side_has_no_room_for_is_not_acknowledged() {
        let (mut near, far) = pair("127.0.0.1:0");
        let (local, remote) = (near.local_addr().unwrap(), near.peer_addr().unwrap());
        near.write_all(b"taken").unwrap();
        assert_eq!(facts(local, remote).unacknowledged, 0);
        near.set_nonblocking(true).unwrap();
        while near.write(&[0; 65_536]).is_ok() {}
        assert!(facts(local, remote).unacknowledged > 0);
        // When what was still on its way has been refused.
        let began = Instant::now();
        while !facts(local, remote).lacks_room {
            assert!(began.elapsed() < Duration::from_secs(20), "{:?}", facts(local, remote));
            thread::sleep(Duration::from_millis(1));
        }
        drop(far);
    }

    #[test]
    fn a_socket_that_is_not_there_is_not_found() {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
        assert_eq!(ask(nowhere, nowhere), Answer::NoSocket);
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let at_its_port = SocketAddr::from(([127, 0, 0, 1], listener.local_addr().unwrap().port()));
        assert_eq!(ask(at_its_port, nowhere), Answer::NoSocket, "a listener is no connection");
    }
}
