#![no_main]
#![allow(dead_code, clippy::unwrap_used, reason = "only some functions of the included modules are used")]

#[path = "../../../crates/az-status/src/board.rs"]
mod board;
#[path = "../../../crates/az-status/src/clock.rs"]
mod clock;
#[path = "../../../crates/az-status/src/event.rs"]
mod event;
#[path = "../../../crates/az-status/src/judge.rs"]
mod judge;
#[path = "../../../crates/az-status/src/lines.rs"]
mod lines;
#[path = "../../../crates/az-status/src/outlook.rs"]
mod outlook;
#[path = "../../../crates/az-status/src/prometheus.rs"]
mod prometheus;
#[path = "../../../crates/az-status/src/property.rs"]
mod property;
#[path = "../../../crates/az-status/src/verdict.rs"]
mod verdict;
#[path = "../../../crates/az-status/src/wording.rs"]
mod wording;

libfuzzer_sys::fuzz_target!(|input: &[u8]| property::lines_end_in_a_verdict(input));
