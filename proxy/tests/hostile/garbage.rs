//! Random bytes. A failure shows its seed.

use crate::hostile::setup::{Setup, expect, read_to_the_end, send, shown};
use crate::support::Rng;

#[test]
fn random_bytes_are_answered_as_redis_answers_them() {
    let setup = Setup::new(&[]);
    for seed in 0..60 {
        let mut rng = Rng(seed);
        // Shorter than the longest line that Redis reads. Where Redis cuts a longer line depends on its reads.
        let length = 1 + rng.below(8_000);
        let script = rng.bytes(length);
        setup.same_as_direct(&format!("seed {seed}"), &script);
    }
    let aftermath = setup.over();
    assert!(aftermath.grown < 2 << 20, "{} bytes", aftermath.grown);
}

#[test]
fn commands_with_random_bytes_in_them_are_answered_as_redis_answers_them() {
    let whole = b"*2\r\n$4\r\nECHO\r\n$5\r\nsalut\r\n*3\r\n$7\r\nPUBLISH\r\n$2\r\nch\r\n$5\r\nsalut\r\n\
        ECHO \"in line\"\r\n*2\r\n$9\r\nSUBSCRIBE\r\n$2\r\nch\r\n*1\r\n$4\r\nPING\r\n*1\r\n$11\r\nUNSUBSCRIBE\r\n\
        *1\r\n$5\r\nMULTI\r\n*3\r\n$7\r\nPUBLISH\r\n$2\r\nch\r\n$5\r\nsalut\r\n*1\r\n$4\r\nEXEC\r\n\
        *3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$4\r\nSKIP\r\n*1\r\n$4\r\nPING\r\n*2\r\n$4\r\nECHO\r\n$4\r\nlast\r\n";
    let setup = Setup::new(&[]);
    for seed in 0..300 {
        let mut rng = Rng(seed);
        let mut script = whole.to_vec();
        for _ in 0..1 + rng.below(3) {
            let at = rng.below(script.len());
            match rng.below(4) {
                0 => script[at] = rng.bytes(1)[0],
                1 => script[at] = b"0123456789$*\r\n-"[rng.below(15)],
                2 => drop(script.remove(at)),
                _ => script.insert(at, b"0123456789$*\r\n-"[rng.below(15)]),
            }
        }
        setup.same_as_direct(&format!("seed {seed}: {}", shown(&script)), &script);
    }
    setup.over();
}

#[test]
fn random_bytes_from_redis_arrive_as_they_came() {
    let (setup, fake) = Setup::with_fake(&[]);
    for seed in 0..60 {
        let mut rng = Rng(seed);
        let mut client = setup.client();
        let mut server = fake.accept();
        send(&mut client, b"*1\r\n$4\r\nPING\r\n");
        expect(&mut server, b"*1\r\n$4\r\nPING\r\n");
        let length = 1 + rng.below(50_000);
        let said = rng.bytes(length);
        send(&mut server, &said);
        drop(server);
        assert_eq!(shown(&read_to_the_end(&mut client)), shown(&said), "seed {seed}");
    }
    let aftermath = setup.over();
    assert!(aftermath.grown < 2 << 20, "{} bytes", aftermath.grown);
}
