#![no_main]
#![allow(dead_code, clippy::unwrap_used, reason = "only some functions of the included modules are used")]

#[path = "../../../crates/az-status/src/processes.rs"]
mod processes;
#[path = "../../../crates/az-status/src/clock.rs"]
mod clock;
#[path = "../../../crates/az-status/src/event.rs"]
mod event;
#[path = "../../../crates/az-status/src/release.rs"]
mod release;
#[path = "../../../crates/az-status/src/root_cause.rs"]
mod root_cause;
#[path = "../../../crates/az-status/src/line_reader.rs"]
mod line_reader;
#[path = "../../../crates/az-status/src/status.rs"]
mod status;
#[path = "../../../crates/az-status/src/status_file.rs"]
mod status_file;
#[path = "../../../crates/az-status/src/prometheus.rs"]
mod prometheus;
#[path = "../../../crates/az-status/src/property.rs"]
mod property;
#[path = "../../../crates/az-status/src/verdict.rs"]
mod verdict;
#[path = "../../../crates/az-status/src/text.rs"]
mod text;

libfuzzer_sys::fuzz_target!(|input: &[u8]| property::lines_end_in_a_verdict(input));
