//! The transcripts beside this file (`*.txt`): conversations, and what the session makes of them.
//!
//! ```text
//! == a promise, in words
//! policy mode=strip carrier=orders.*=json commands=all     settings that differ from the default
//! switch mode=strip                                        the same, from here on
//! C> PUBLISH ch "two words"                                the client sends a multibulk of these words
//! S= PUBLISH ch "two words<trailer 1 2 01>"                what the server gets; without this line the same bytes
//! S> :4␍                                                   the server sends these bytes
//! C= :4␍                                                   what the client gets; without this line the same bytes
//! C> raw GET key␍                                          the client sends these bytes
//! C end                                                    the client has sent its last byte (`S end`: the server)
//! close                                                    the connection is over
//! span publish ch trace=1 span=2 receivers=4               records, in order
//! count injected=1                                         counters
//! ```
//!
//! In bytes and words, `␍` is CRLF, `\xHH` and `\\` are escapes, `$(text)` is a bulk string with its length, and
//!
//! | macro | bytes |
//! |---|---|
//! | `<trailer 1 2 01>` | a trailer for trace 1, span 2, flags 01; then `state=…` and `baggage=…` if there are any |
//! | `<traceparent 1 2 01>` | a W3C `traceparent` |
//! | `<json 1 2 01 sum=01234567>` | the members that the JSON carrier adds, without a leading comma, with this checksum |
//! | `<fields 1 2 01 sum=01234567>` | the two fields in RESP that are added to entries of streams, with this checksum |
//! | `<opencensus 1 2 81>` | an OpenCensus prefix with these trace options |
//! | `<keyed a ch {"id":7} 1 2 01>` | a trailer with a MAC by the key `a` for the payload `{"id":7}` on the channel `ch` |
//! | `<x*100>` | `x`, 100 times |
//!
//! Words are separated by spaces unless they stand in `"…"` or `'…'`. `publish` and `command` records are compared in
//! their order, `deliver` records in theirs; a key that is not named has its usual value (`-` or `no`), except that
//! `size` and `flags` are compared only if named. Counters of things that go well are compared if they are named, all
//! others must be 0 if they are not.
//!
//! After every line all bytes must have left. Each case is run line by line, with the lines of one side joined, byte by
//! byte, and cut at random: bytes, records and counters must always be the same.
//!
//! | module | what it does |
//! |---|---|
//! | [`case`] | reads the lines of a file into cases |
//! | [`policy`] | reads the settings of a line |
//! | [`notation`] | reads words and bytes |
//! | [`macros`] | expands macros |
//! | [`run`] | feeds a case to a session and compares what comes out |
//! | [`records`] | compares a span with its line |

mod case;
mod macros;
mod notation;
mod policy;
mod records;
mod run;

use std::path::Path;

use case::{Case, Step};
use run::Cut;

#[test]
fn every_transcript_is_kept_however_the_stream_is_cut() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    let mut failures = Vec::new();
    let mut cases = 0;
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        for case in Case::read_all(&name, &std::fs::read_to_string(&file).unwrap()) {
            cases += 1;
            let cuts = [Cut::Lines, Cut::Bytes, Cut::Random(1), Cut::Random(2), Cut::Random(3), Cut::Joined];
            let sent = |step: &Step| if let Step::Send { bytes, .. } = step { bytes.len() } else { 0 };
            let is_long = case.steps.iter().map(sent).sum::<usize>() > 200_000;
            for cut in cuts.into_iter().take(if is_long { 3 } else { 6 }) {
                if let Err(difference) = case.run(cut) {
                    failures.push(format!("{}, cut {cut:?}:\n{difference}", case.name));
                    break;
                }
            }
        }
    }
    assert!(cases > 0, "no transcripts");
    assert!(failures.is_empty(), "{} of {cases} transcripts fail:\n\n{}", failures.len(), failures.join("\n"));
}
