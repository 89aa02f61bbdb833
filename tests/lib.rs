//! What the tests of the whole loader share.
