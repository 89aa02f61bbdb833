//! Every way a stage can end badly, by name, and the exit status of each.

use std::fmt;

macro_rules! codes {
    ($(#[doc = $doc:literal] $variant:ident = $name:literal, $exit:literal;)*) => {
        /// Why a stage failed. The name goes into the event's `error.code`, the
        /// exit status follows from it by one table (sysexits where one fits).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode { $(#[doc = $doc] $variant,)* }

        impl ErrorCode {
            /// All codes, in the order of their exit status.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name on the wire, lower case with underscores.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The exit status of the process that ends with this code.
            pub fn exit(self) -> u8 {
                match self { $(Self::$variant => $exit,)* }
            }

            /// What it means: one sentence, with its full stop.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $doc,)* }.trim_start()
            }

            /// The code with this name, or [`ErrorCode::Bug`] for a name that is
            /// not in the table: an error nobody classified is a bug.
            pub fn from_name(name: &str) -> Self {
                match name { $($name => Self::$variant,)* _ => Self::Bug }
            }
        }
    };
}

codes! {
    /// The command line is wrong.
    Usage = "usage", 2;
    /// The input is not a sealed stream at all.
    NotSealed = "not_sealed", 65;
    /// The input is sealed in a way this version does not know.
    Unsupported = "unsupported", 65;
    /// The header does not match its MAC.
    HeaderTampered = "header_tampered", 65;
    /// The input ends too early.
    Truncated = "truncated", 65;
    /// A segment fails its check.
    Corrupt = "corrupt", 65;
    /// There are bytes after the end.
    Trailing = "trailing", 65;
    /// The plaintext is not as long as the header says.
    LengthMismatch = "length_mismatch", 65;
    /// A line, a token or a document cannot be parsed.
    Malformed = "malformed", 65;
    /// Standard input was empty where the stage before should have written.
    NoInput = "no_input", 65;
    /// The bytes do not have the digest that was promised.
    DigestMismatch = "digest_mismatch", 65;
    /// The object was replaced while it was read.
    Changed = "changed", 65;
    /// The range lies outside the plaintext.
    OutOfRange = "out_of_range", 65;
    /// The input, the file or the resource does not exist.
    NotFound = "not_found", 66;
    /// A needed service is not there.
    Unavailable = "unavailable", 69;
    /// A bug in the program.
    Bug = "bug", 70;
    /// The output cannot be created.
    CannotCreate = "cannot_create", 73;
    /// Reading or writing failed.
    Io = "io", 74;
    /// The network failed after the retries, or another process holds a lock.
    Temporary = "temporary", 75;
    /// The server answered something outside the protocol.
    Protocol = "protocol", 76;
    /// Login refused, role too low, token expired, 401 or 403.
    NotPermitted = "not_permitted", 77;
    /// A setting or a credential is missing or unusable.
    Config = "config", 78;
    /// The clock of this machine is wrong.
    Clock = "clock", 78;
    /// The key does not open the input.
    WrongKey = "wrong_key", 79;
    /// A fragment is foreign, missing, duplicate or does not give the key.
    WrongFragment = "wrong_fragment", 79;
    /// Sealed to another user, password, hardware or device secret.
    WrongDevice = "wrong_device", 79;
    /// SIGHUP: the terminal went away.
    HungUp = "hung_up", 129;
    /// SIGINT asked the stage to stop.
    Interrupted = "interrupted", 130;
    /// The reader of standard output went away.
    ReaderGone = "reader_gone", 141;
    /// SIGTERM asked the stage to stop.
    Terminated = "terminated", 143;
}

impl ErrorCode {
    /// True where the same command may succeed later though nobody mended anything.
    pub fn is_worth_a_retry(self) -> bool {
        matches!(self, Self::Unavailable | Self::Temporary)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_name(code.as_str()), *code);
        }
        assert_eq!(ErrorCode::from_name("no such code"), ErrorCode::Bug);
    }
}
