//! Executions on real nodes: each in a sandbox of its own that has proven itself, ended with the
//! true reason whatever happens to it, and with nothing to be had from inside.

#[path = "execution/authority.rs"]
mod authority;
#[path = "execution/crowd.rs"]
mod crowd;
#[path = "execution/egress.rs"]
mod egress;
#[path = "execution/endings.rs"]
mod endings;
#[path = "execution/hostility.rs"]
mod hostility;
#[path = "execution/loss.rs"]
mod loss;
#[path = "execution/output.rs"]
mod output;
#[path = "execution/race.rs"]
mod race;
#[path = "execution/running.rs"]
mod running;
#[path = "execution/schedule.rs"]
mod schedule;
#[path = "execution/seeded.rs"]
mod seeded;
#[path = "execution/storm.rs"]
mod storm;
