//! Names of runs.

/// Returns true for 1 to 64 characters of `A-Z a-z 0-9 . _ -`.
pub fn is_run_name(run: &str) -> bool {
    (1..=64).contains(&run.len()) && run.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// Returns a random name for a run: 8 hexadecimal digits.
pub fn random_run_name() -> String {
    let mut bytes = [0; 4];
    // Without random bytes the process id still distinguishes runs.
    if getrandom::fill(&mut bytes).is_err() {
        bytes = std::process::id().to_be_bytes();
    }
    format!("{:08x}", u32::from_be_bytes(bytes))
}
