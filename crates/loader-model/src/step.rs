//! The names of steps in events.

use crate::named::names;

names! {
    /// What happened in an event that is not a change of state.
    Step {
        /// A request failed and is repeated.
        Retry = "retry";
        /// Another process has locked the file.
        LockWait = "lock-wait";
        /// A signal arrived during a commit, which is finished first.
        SignalDeferred = "signal-deferred";
        /// The small part begins.
        SmallPart = "small-part";
        /// The big part begins.
        BigPart = "big-part";
        /// The big part comes from the cache.
        CacheHit = "cache-hit";
        /// A resumed file was checked completely.
        CacheChecked = "cache-checked";
        /// The cached part is of another release and is fetched again.
        CacheStale = "cache-stale";
        /// The cached part is damaged and is fetched again.
        CacheDamaged = "cache-damaged";
        /// The old release was removed because the disk is full.
        CacheRoom = "cache-room";
        /// The cache cannot be used.
        CacheOff = "cache-off";
        /// The resource changed while it was read.
        StartOver = "start-over";
        /// The form in which the server sent the fragment.
        KeyFragment = "key-fragment";
        /// Compares with the published release.
        Compare = "compare";
        /// Continues an upload.
        Resumed = "resumed";
        /// All parts are stored.
        Complete = "complete";
        /// The state file could not be removed.
        StateLeft = "state-left";
        /// Parts in the store could not be removed.
        UploadLeft = "upload-left";
        /// The header lists the images.
        ImagesRecorded = "images-recorded";
        /// The header does not list the images.
        ImagesNotRecorded = "images-not-recorded";
        /// The plaintext is compressed, and would be shorter if sealed uncompressed.
        AlreadyCompressed = "already-compressed";
        /// An engine cannot load this archive.
        EngineLimits = "engine-limits";
        /// The header was replaced.
        Rekeyed = "rekeyed";
        /// An interrupted run was repaired.
        Recovered = "recovered";
        /// How much of the new release is in the old one.
        Compared = "compared";
        /// A patch was applied.
        Patched = "patched";
        /// Keys that opened the old file and do not open the new one.
        SlotsLost = "slots-lost";
        /// The first pass of `--verify-first`.
        Verify = "verify";
        /// The old layout is read.
        PlainCtr = "plain-ctr";
        /// Configured publishers have signed the content.
        SignatureVerified = "signature-verified";
        /// Nobody has signed the content, which `--allow-unsigned` allows.
        UnsignedAccepted = "unsigned-accepted";
        /// The release is older than the newest, which `--allow-downgrade` allows.
        DowngradeAccepted = "downgrade-accepted";
        /// The content was signed.
        Signed = "signed";
        /// The images go to this engine; az-doctor checked it.
        Engine = "engine";
        /// The images go to a command.
        Command = "command";
        /// The archive is compressed with gzip.
        Gzip = "gzip";
        /// The archive is compressed with Zstandard.
        Zstd = "zstd";
        /// A layer was sent.
        LayerSent = "layer-sent";
        /// A layer was not sent.
        LayerSkipped = "layer-skipped";
        /// Number of layers that were not sent.
        LayersSkipped = "layers-skipped";
        /// No layer can be skipped.
        NothingSkipped = "nothing-skipped";
        /// An image for several platforms.
        Platforms = "platforms";
        /// An image that this engine cannot run.
        OtherPlatform = "other-platform";
        /// The list of `--expect-images` was not verified with a key.
        ExpectedImages = "expected-images";
        /// The disk may become full.
        LittleSpace = "little-space";
        /// The decision before the commit.
        Verdict = "verdict";
        /// The engine commits.
        Unpacking = "unpacking";
        /// The answer of the engine was lost.
        AnswerLost = "answer-lost";
        /// Names that could not be removed.
        TemporaryNames = "temporary-names";
        /// az-doctor checked the clock.
        Clock = "clock";
        /// az-doctor checked the credentials.
        Credentials = "credentials";
        /// az-doctor checked the fragment.
        Fragment = "fragment";
        /// az-doctor checked the key.
        Key = "key";
        /// az-doctor checked the device secret.
        DeviceSecret = "device-secret";
        /// az-doctor checked the hardware id.
        Hardware = "hardware";
        /// az-doctor checked the enrolment card.
        Card = "card";
        /// az-doctor checked the archive.
        Archive = "archive";
        /// az-doctor checked the key of the archive.
        ArchiveKey = "archive-key";
        /// az-doctor checked the keys of the publishers.
        Publisher = "publisher";
        /// az-doctor checked the free space.
        Space = "space";
        /// az-doctor checked the run directory.
        RunDir = "run-dir";
        /// az-doctor checked the cache directory.
        Cache = "cache";
        /// az-doctor checked the API.
        Api = "api";
        /// az-doctor checked the login.
        Login = "login";
        /// az-doctor checked the CDN.
        Cdn = "cdn";
        /// az-doctor checked the entries of the cache.
        CacheEntries = "cache-entries";
    }
}
