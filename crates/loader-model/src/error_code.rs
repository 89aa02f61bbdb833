//! The error codes of the stages, and the exit status of each.

use crate::Name;
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::fmt;

/// An error of a known class. All errors of libraries that end a stage have one.
pub trait Coded: Error {
    /// Returns the class of the error, which determines the exit status.
    fn code(&self) -> ErrorCode;

    /// Returns what the user can do about it, if that is known.
    fn hint(&self) -> Option<String> {
        None
    }
}

macro_rules! codes {
    ($(#[doc = $doc:literal] $variant:ident = $name:literal, $exit:literal;)*) => {
        /// Class of the failure of a stage. Its name is the field `error.code` of the event,
        /// and each code has one exit status (that of `sysexits.h` if one fits).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum ErrorCode { $(#[doc = $doc] #[serde(rename = $name)] $variant,)* }

        impl ErrorCode {
            /// All codes, in the order of their exit status.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Returns the name in events, in lower case with underscores.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Returns the exit status of a process that fails with this code.
            pub fn exit(self) -> u8 {
                match self { $(Self::$variant => $exit,)* }
            }

            /// Returns the description: one sentence with a full stop.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $doc,)* }.trim_start()
            }
        }

        impl Name for ErrorCode {
            fn as_str(self) -> &'static str {
                self.as_str()
            }

            fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

codes! {
    /// The command line is wrong.
    Usage = "usage", 2;
    /// The input is not a sealed stream.
    NotSealed = "not_sealed", 65;
    /// The input is sealed in a way that this version does not support.
    Unsupported = "unsupported", 65;
    /// The header does not match its MAC.
    HeaderTampered = "header_tampered", 65;
    /// The input ends too early.
    Truncated = "truncated", 65;
    /// A segment fails its authentication check.
    Corrupt = "corrupt", 65;
    /// There are bytes after the end of the stream.
    Trailing = "trailing", 65;
    /// The plaintext does not have the length in the header.
    LengthMismatch = "length_mismatch", 65;
    /// A frame of packed content is invalid.
    FrameInvalid = "frame_invalid", 65;
    /// The statement about packed content is invalid.
    StatementInvalid = "statement_invalid", 65;
    /// The content does not have the digests in its statement.
    StatementMismatch = "statement_mismatch", 65;
    /// The seek table of packed content is invalid, or does not match its frames.
    SeekTableInvalid = "seek_table_invalid", 65;
    /// Nobody has signed the content, and a signature is required.
    Unsigned = "unsigned", 65;
    /// A signature of the content is not valid.
    SignatureInvalid = "signature_invalid", 65;
    /// The input is not a patch, or an invalid one.
    PatchInvalid = "patch_invalid", 65;
    /// The patch is for another release.
    PatchMismatch = "patch_mismatch", 65;
    /// A line, a token or a document cannot be parsed.
    Malformed = "malformed", 65;
    /// Standard input is empty: the previous stage wrote nothing.
    NoInput = "no_input", 65;
    /// The bytes do not have the expected digest.
    DigestMismatch = "digest_mismatch", 65;
    /// The object was replaced while it was read.
    Changed = "changed", 65;
    /// The range is outside the plaintext.
    OutOfRange = "out_of_range", 65;
    /// The input, the file or the resource does not exist.
    NotFound = "not_found", 66;
    /// A required service is not available.
    Unavailable = "unavailable", 69;
    /// A bug in the program.
    Bug = "bug", 70;
    /// The output cannot be created.
    CannotCreate = "cannot_create", 73;
    /// Reading or writing failed.
    Io = "io", 74;
    /// The network failed after the retries, or another process holds a lock.
    Temporary = "temporary", 75;
    /// The response of the server violates the protocol.
    Protocol = "protocol", 76;
    /// Login refused, role too low, token expired, or HTTP status 401 or 403.
    NotPermitted = "not_permitted", 77;
    /// A setting or a credential is missing or unusable.
    Config = "config", 78;
    /// The clock of this machine is wrong.
    Clock = "clock", 78;
    /// The key does not open the input.
    WrongKey = "wrong_key", 79;
    /// A fragment is missing, duplicate, from another key, or the fragments do not yield the key.
    WrongFragment = "wrong_fragment", 79;
    /// The input is sealed to another user, password, hardware or device secret.
    WrongDevice = "wrong_device", 79;
    /// None of the publishers that have signed the content is configured.
    SignerUnknown = "signer_unknown", 79;
    /// Fewer publishers have signed the content than required.
    SignaturesMissing = "signatures_missing", 79;
    /// The content has another name than expected.
    NameMismatch = "name_mismatch", 79;
    /// The release is older than this device accepts.
    ReleaseTooOld = "release_too_old", 79;
    /// SIGHUP stopped the stage: the terminal was closed.
    HungUp = "hung_up", 129;
    /// SIGINT stopped the stage.
    Interrupted = "interrupted", 130;
    /// The reader of standard output closed the pipe.
    ReaderGone = "reader_gone", 141;
    /// SIGTERM stopped the stage.
    Terminated = "terminated", 143;
}

impl ErrorCode {
    /// Returns true if the same command may succeed later without any change.
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::Unavailable | Self::Temporary)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
