//! The plain layout of archives that were deployed before the sealed format existed.

use crate::digest::{BUFFER_LEN, read_some};
use crate::header::read_full;
use crate::{Error, Key};
use aes::Aes256;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use std::io::{Read, Write};
use zeroize::Zeroizing;

/// Decrypts the plain layout: an IV of 16 bytes, then AES-256-CTR with a 128-bit
/// big-endian counter (NIST SP 800-38A section 6.5; crates/loader-seal/README.md, "The
/// plain layout of old archives").
///
/// The layout is not authenticated: with a wrong key or a changed file, the result is
/// wrong plaintext, not an error.
pub struct PlainCtr<'k> {
    key: &'k Key,
}

impl<'k> PlainCtr<'k> {
    /// Length of the IV in bytes.
    pub const IV_LEN: usize = 16;

    /// Uses this key, which for old archives is [`Key::from_raw_fragment`].
    pub fn new(key: &'k Key) -> Self {
        Self { key }
    }

    /// Reads `reader` to its end and writes the plaintext to `writer`. Returns the length
    /// of the plaintext in bytes, which may be 0. Uses one buffer of 256 KiB.
    ///
    /// # Errors
    /// [`Error::Truncated`] if the input has fewer than 16 bytes; [`Error::Read`] and
    /// [`Error::Write`].
    pub fn open(&self, mut reader: impl Read, mut writer: impl Write) -> Result<u64, Error> {
        let mut iv = [0; Self::IV_LEN];
        let read = read_full(&mut reader, &mut iv)?;
        if read < iv.len() {
            return Err(Error::Truncated { at: read as u64, inside: "the initialization vector".to_owned() });
        }
        let mut cipher = Ctr128BE::<Aes256>::new(self.key.expose().into(), &iv.into());
        let mut buffer = Zeroizing::new(vec![0; BUFFER_LEN]);
        let mut len = 0;
        loop {
            let read = read_some(&mut reader, &mut buffer)?;
            if read == 0 {
                return Ok(len);
            }
            cipher.apply_keystream(&mut buffer[..read]);
            writer.write_all(&buffer[..read]).map_err(Error::Write)?;
            len += read as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aes::cipher::{BlockCipherEncrypt, KeyInit};

    /// Reader that returns 1 to 37 bytes per call, so that blocks are read in pieces.
    struct ShortReads<'a>(&'a [u8], usize);

    impl Read for ShortReads<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.1 = self.1 % 37 + 1;
            let n = self.1.min(self.0.len()).min(buffer.len());
            buffer[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    /// Calculates the keystream by its definition: each block is AES of the counter.
    fn keystream(key: &Key, iv: u128, blocks: u128) -> Vec<u8> {
        let aes = Aes256::new(key.expose().into());
        let block = |i| {
            let mut block = iv.wrapping_add(i).to_be_bytes().into();
            aes.encrypt_block(&mut block);
            block
        };
        (0..blocks).flat_map(block).collect()
    }

    #[test]
    fn counter_carries_into_all_sixteen_bytes() {
        let key = Key::from_raw_fragment(b"some fragment");
        let starts = [0, u32::MAX.into(), u64::MAX.into(), u128::from(u64::MAX) - 3, u128::MAX, u128::MAX - 20];
        for iv in starts {
            let mut file = iv.to_be_bytes().to_vec();
            file.extend([0; 1000]);
            let mut out = Vec::new();
            assert_eq!(PlainCtr::new(&key).open(ShortReads(&file, 0), &mut out).unwrap(), 1000);
            assert_eq!(out, keystream(&key, iv, 63)[..1000], "{iv:x}");
        }
    }

    #[test]
    fn example_of_the_standard_opens() {
        // NIST SP 800-38A F.5.6, first block.
        let hex = |text: &str| -> Vec<u8> {
            text.as_bytes().chunks(2).map(|d| u8::from_str_radix(str::from_utf8(d).unwrap(), 16).unwrap()).collect()
        };
        let key = hex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4").try_into().unwrap();
        let file = hex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff601ec313775789a5b7a7f504bbf3d228");
        let mut out = Vec::new();
        PlainCtr::new(&Key::from_bytes(key)).open(&file[..], &mut out).unwrap();
        assert_eq!(out, hex("6bc1bee22e409f96e93d7e117393172a"));
    }

    #[test]
    fn empty_plaintext_opens_and_truncated_iv_is_an_error() {
        let key = Key::from_bytes([1; 32]);
        let opener = PlainCtr::new(&key);
        assert_eq!(opener.open(&[0; 16][..], &mut Vec::new()).unwrap(), 0);
        for len in 0..16 {
            let error = opener.open(&vec![0; len][..], &mut Vec::new()).unwrap_err();
            assert!(matches!(error, Error::Truncated { at, .. } if at == len as u64));
        }
    }
}
