//! Plain services behind real sidecars: whether the parents of exported spans are the true causes.

mod fleet;
mod judge;
mod load;
mod wire;
mod witness;

use crate::failure::Failure;
use crate::options::Services;
use fleet::{Kind, Level};
use judge::Judgement;

use super::score::{Bounds, Score};

/// Runs every kind of services at every level, says how good the answers are, and adds them to `bounds`.
///
/// # Errors
/// If something could not be run, or if what was seen does not fit together.
pub(super) fn check(options: &Services, bounds: &mut Bounds, say: &impl Fn(&str)) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(Failure::io("starting the runtime"))?;
    say(&Score::heading("services behind sidecars"));
    let mut all = Score::default();
    for level in Level::ALL {
        let mut of_level = Score::default();
        for kind in Kind::ALL {
            if !options.wants(&format!("{} {} at once", kind.name(), level.at_once)) {
                continue;
            }
            let judgements = runtime.block_on(fleet::run(options, kind, level))?;
            for (role, judgement) in ["api", "worker"].into_iter().zip(judgements) {
                let Judgement { score, wrong, unplaced } = judgement;
                let name = format!("{} {role}, {} at once", kind.name(), level.at_once);
                say(&score.row(&name));
                if unplaced > 0 {
                    say(&format!("  {unplaced} more spans are of a command that cannot be told from another"));
                }
                for ((command, rule), count) in wrong {
                    say(&format!("  wrong by {rule}: {count} times {command}"));
                }
                bounds.hold(&name, &score, role == "worker");
                of_level.add(&score);
            }
        }
        say(&of_level.row(&format!("all with {} at once", level.at_once)));
        all.add(&of_level);
    }
    say(&all.row("all"));
    bounds.hold_all("services behind sidecars", &all);
    Ok(())
}
