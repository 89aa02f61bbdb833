//! Tokens of every key family, and every reason for a refusal.

use super::*;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};

const SECRET: &[u8] = b"a secret of the tests, 32 bytes.";
const NOW: u64 = 1_800_000_000;
const RS256: &str = include_str!("tests/rs256.jwt");
const PS256: &str = include_str!("tests/ps256.jwt");
/// Public key of both tokens. The private key was deleted.
const RSA_PEM: &str = include_str!("tests/rsa.pem");

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn claims() -> String {
    format!(r#"{{"nameid":"7","unique_name":"a@b","role":"Operator","nbf":{NOW},"exp":{}}}"#, NOW + 1000)
}

fn token(header: &str, claims: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> Token {
    let signed = format!("{}.{}", BASE64URL.encode(header), BASE64URL.encode(claims));
    let signature = sign(signed.as_bytes());
    Token::parse(&format!("{signed}.{}", BASE64URL.encode(signature))).unwrap()
}

fn hs256(secret: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().to_vec()
}

/// Returns a token with these claims, signed with `SECRET`.
fn with_claims(claims: &str) -> Token {
    token(r#"{"alg":"HS256"}"#, claims, |message| hs256(SECRET, message))
}

fn secret_verifier() -> Verifier {
    Verifier::from_key_file(SECRET).unwrap()
}

fn ec() -> EcdsaKeyPair {
    let random = SystemRandom::new();
    let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.as_ref(), &random).unwrap()
}

fn es256(key: &EcdsaKeyPair, header: &str) -> Token {
    token(header, &claims(), |message| key.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec())
}

fn ed() -> Ed25519KeyPair {
    let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap()
}

/// Returns a public key as PEM. Its SubjectPublicKeyInfo is `start` followed by the key.
fn pem(start: &[u8], key: &[u8]) -> String {
    let body = base64::prelude::BASE64_STANDARD.encode([start, key].concat());
    format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n")
}

fn ec_pem(key: &EcdsaKeyPair) -> String {
    let start =
        b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\0";
    pem(start, key.public_key().as_ref())
}

fn ed_pem(key: &Ed25519KeyPair) -> String {
    pem(b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\0", key.public_key().as_ref())
}

fn ec_jwk(key: &EcdsaKeyPair, id: &str) -> String {
    let (x, y) = key.public_key().as_ref()[1..].split_at(32);
    let (x, y) = (BASE64URL.encode(x), BASE64URL.encode(y));
    format!(r#"{{"kty":"EC","crv":"P-256","kid":"{id}","use":"sig","x":"{x}","y":"{y}"}}"#)
}

fn set(keys: &[&str]) -> Result<Verifier, KeyError> {
    Verifier::from_jwks(format!(r#"{{"keys":[{}]}}"#, keys.join(",")).as_bytes())
}

fn refusal(verifier: &Verifier, token: &Token) -> VerifyError {
    verifier.verify(token, at(NOW)).unwrap_err()
}

fn algorithm(alg: &str, key: &'static str) -> VerifyError {
    VerifyError::Algorithm { alg: alg.to_owned(), key }
}

/// Returns `token` with other claims and the same signature.
fn tampered(token: &Token) -> Token {
    let mut parts: Vec<_> = token.as_str().split('.').map(str::to_owned).collect();
    let claims = String::from_utf8(BASE64URL.decode(&parts[1]).unwrap()).unwrap();
    parts[1] = BASE64URL.encode(claims.replace("Operator", "ApiAdmin"));
    let other = Token::parse(&parts.join(".")).unwrap();
    assert_ne!(other.role(), token.role());
    other
}

/// Returns a verifier for each key family, and a token signed with its key.
fn families() -> Vec<(Verifier, Token)> {
    let (ec, ed) = (ec(), ed());
    let file = |text: &str| Verifier::from_key_file(text.as_bytes()).unwrap();
    vec![
        (secret_verifier(), with_claims(&claims())),
        (file(&ec_pem(&ec)), es256(&ec, r#"{"alg":"ES256"}"#)),
        (file(&ed_pem(&ed)), token(r#"{"alg":"EdDSA"}"#, &claims(), |message| ed.sign(message).as_ref().to_vec())),
        (file(RSA_PEM), Token::parse(RS256).unwrap()),
        (file(RSA_PEM), Token::parse(PS256).unwrap()),
    ]
}

#[test]
fn each_family_verifies_only_its_own_tokens() {
    let families = families();
    for (i, (verifier, own)) in families.iter().enumerate() {
        let user = verifier.verify(own, at(NOW)).unwrap();
        assert!(user.verified && !own.user().verified);
        assert_eq!(refusal(verifier, &tampered(own)), VerifyError::Signature, "{i}");
        for (j, (_, other)) in families.iter().enumerate().filter(|(j, _)| i != *j && i.min(*j) < 3) {
            let error = refusal(verifier, other);
            assert!(matches!(error, VerifyError::Algorithm { .. }), "{i} {j}: {error}");
            assert_eq!(error.code(), ErrorCode::NotPermitted);
        }
    }
}

#[test]
fn a_key_of_the_same_family_does_not_verify() {
    let token = es256(&ec(), r#"{"alg":"ES256"}"#);
    let verifier = Verifier::from_key_file(ec_pem(&ec()).as_bytes()).unwrap();
    assert_eq!(refusal(&verifier, &token), VerifyError::Signature);
    let verifier = Verifier::from_key_file(b"another secret of the tests, 32 bytes and more").unwrap();
    assert_eq!(refusal(&verifier, &with_claims(&claims())), VerifyError::Signature);
}

#[test]
fn every_bit_of_a_signature_counts() {
    let own = with_claims(&claims());
    let (signed, signature) = own.as_str().rsplit_once('.').unwrap();
    let signature = BASE64URL.decode(signature).unwrap();
    for bit in 0..8 * signature.len() {
        let mut flipped = signature.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let token = Token::parse(&format!("{signed}.{}", BASE64URL.encode(flipped))).unwrap();
        assert_eq!(refusal(&secret_verifier(), &token), VerifyError::Signature, "{bit}");
    }
    let short = Token::parse(&format!("{signed}.{}", BASE64URL.encode(&signature[..16]))).unwrap();
    assert_eq!(refusal(&secret_verifier(), &short), VerifyError::Signature);
}

#[test]
fn a_public_key_is_never_used_as_a_secret() {
    let key = ec();
    let pems = [RSA_PEM.to_owned(), ec_pem(&key)];
    for (pem, kind) in pems.iter().zip(["an RSA key", "a P-256 key"]) {
        let verifier = Verifier::from_key_file(pem.as_bytes()).unwrap();
        for secret in [pem.as_bytes(), pem.trim().as_bytes(), key.public_key().as_ref()] {
            let token = token(r#"{"alg":"HS256"}"#, &claims(), |message| hs256(secret, message));
            assert_eq!(refusal(&verifier, &token), algorithm("HS256", kind));
        }
    }
    let token = token(r#"{"alg":"HS256","kid":"a"}"#, &claims(), |m| hs256(key.public_key().as_ref(), m));
    assert_eq!(refusal(&set(&[&ec_jwk(&key, "a")]).unwrap(), &token), algorithm("HS256", "a P-256 key"));
}

#[test]
fn an_unsigned_token_is_refused() {
    for alg in ["none", "None", "NONE"] {
        let token = token(&format!(r#"{{"alg":"{alg}"}}"#), &claims(), |_| b"sig".to_vec());
        for (verifier, _) in families() {
            assert_eq!(refusal(&verifier, &token), VerifyError::Unsigned);
        }
    }
}

#[test]
fn an_invalid_header_is_malformed() {
    for header in ["[]", "{}", r#"{"alg":5}"#, r#"{"alg":"HS256","alg":"none"}"#, "x"] {
        let error = refusal(&secret_verifier(), &token(header, &claims(), |message| hs256(SECRET, message)));
        assert_eq!((error.code(), error), (ErrorCode::Malformed, VerifyError::Malformed("header")), "{header}");
    }
    let own = with_claims(&claims());
    let odd = Token::parse(&format!("{}AA", own.as_str())).unwrap();
    assert!(matches!(refusal(&secret_verifier(), &odd), VerifyError::Malformed("signature")));
    let critical = r#"{"alg":"HS256","crit":["b64"],"b64":false}"#;
    let token = token(critical, &claims(), |message| hs256(SECRET, message));
    assert_eq!(refusal(&secret_verifier(), &token), VerifyError::Extension);
}

#[test]
fn the_key_in_a_set_is_selected_by_its_id() {
    let (first, second) = (ec(), ec());
    let (a, b) = (ec_jwk(&first, "a"), ec_jwk(&second, "b"));
    let both = set(&[&a, r#"{"kty":"future","kid":"c"}"#, &b]).unwrap();
    let of_b = es256(&second, r#"{"alg":"ES256","kid":"b"}"#);
    assert!(both.verify(&of_b, at(NOW)).unwrap().verified);
    assert_eq!(refusal(&both, &es256(&second, r#"{"alg":"ES256","kid":"a"}"#)), VerifyError::Signature);
    for unknown in ["c", "B", ""] {
        let token = es256(&second, &format!(r#"{{"alg":"ES256","kid":"{unknown}"}}"#));
        assert_eq!(refusal(&both, &token), VerifyError::UnknownKey(unknown.to_owned()));
    }
    let nameless = es256(&second, r#"{"alg":"ES256"}"#);
    assert_eq!(refusal(&both, &nameless), VerifyError::NoKeyId);
    assert!(set(&[&b]).unwrap().verify(&nameless, at(NOW)).unwrap().verified);
    assert_eq!(refusal(&set(&[&a]).unwrap(), &of_b), VerifyError::UnknownKey("b".to_owned()));
    // Two keys with the same id, as during a key change of the server.
    assert!(set(&[&ec_jwk(&first, "b"), &b]).unwrap().verify(&of_b, at(NOW)).unwrap().verified);
}

#[test]
fn a_key_of_a_set_is_used_only_for_its_purpose() {
    let key = ec();
    let token = es256(&key, r#"{"alg":"ES256","kid":"a"}"#);
    let jwk = ec_jwk(&key, "a");
    assert!(set(&[&jwk]).unwrap().verify(&token, at(NOW)).is_ok());
    let other = jwk.replace("\"use\"", "\"alg\":\"ES384\",\"use\"");
    assert_eq!(refusal(&set(&[&other]).unwrap(), &token), algorithm("ES256", "a P-256 key"));
    for unusable in [
        jwk.replace("\"sig\"", "\"enc\""),
        jwk.replace("\"use\":\"sig\"", "\"key_ops\":[\"encrypt\"]"),
        jwk.replace("P-256", "P-521"),
        jwk.replace("\"x\":\"", "\"x\":\"AAAA"),
    ] {
        assert_eq!(set(&[&unusable]).unwrap_err(), KeyError::NoneUsable, "{unusable}");
    }
}

#[test]
fn a_set_may_contain_keys_of_all_families() {
    let ed = ed();
    let ed_jwk =
        format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"ed","x":"{}"}}"#, BASE64URL.encode(ed.public_key().as_ref()));
    let oct_jwk = format!(r#"{{"kty":"oct","kid":"oct","alg":"HS256","k":"{}"}}"#, BASE64URL.encode(SECRET));
    let rsa = base64::prelude::BASE64_STANDARD
        .decode(RSA_PEM.lines().filter(|line| !line.starts_with('-')).collect::<String>())
        .unwrap();
    let (n, e) = der::rsa_public_key(der::public_key_info(&rsa).unwrap().1).unwrap();
    let rsa_jwk = format!(r#"{{"kty":"RSA","n":"{}","e":"{}"}}"#, BASE64URL.encode(n), BASE64URL.encode(e));
    let all = set(&[&ed_jwk, &oct_jwk, &rsa_jwk]).unwrap();
    assert!(all.holds_secret() && !set(&[&ed_jwk, &rsa_jwk]).unwrap().holds_secret());
    let of_ed = token(r#"{"alg":"EdDSA","kid":"ed"}"#, &claims(), |message| ed.sign(message).as_ref().to_vec());
    let of_oct = token(r#"{"alg":"HS256","kid":"oct"}"#, &claims(), |message| hs256(SECRET, message));
    let swapped = token(r#"{"alg":"HS256","kid":"ed"}"#, &claims(), |m| hs256(ed.public_key().as_ref(), m));
    assert!(all.verify(&of_ed, at(NOW)).is_ok() && all.verify(&of_oct, at(NOW)).is_ok());
    assert_eq!(refusal(&all, &swapped), algorithm("HS256", "an Ed25519 key"));
    assert!(set(&[&rsa_jwk]).unwrap().verify(&Token::parse(RS256).unwrap(), at(NOW)).is_ok());
}

#[test]
fn the_validity_period_has_a_tolerance_of_one_minute() {
    let token = with_claims(&claims());
    let verify = |now| secret_verifier().verify(&token, at(now)).map(|_| ());
    let (start, end) = ("2027-01-15T08:00:00Z".to_owned(), "2027-01-15T08:16:40Z".to_owned());
    assert_eq!(verify(NOW - 61), Err(VerifyError::NotYetValid(start)));
    assert_eq!((verify(NOW - 60), verify(NOW + 1059)), (Ok(()), Ok(())));
    assert_eq!(verify(NOW + 1060), Err(VerifyError::Expired(end)));
    assert_eq!(verify(NOW + 1060).unwrap_err().code(), ErrorCode::NotPermitted);
    assert_eq!(refusal(&secret_verifier(), &with_claims("{}")), VerifyError::NoExpiry);
    let no_start = with_claims(&format!(r#"{{"exp":{NOW}}}"#));
    assert!(secret_verifier().verify(&no_start, at(NOW)).is_ok());
}

#[test]
fn an_unset_clock_is_reported_instead_of_the_expiry() {
    let token = with_claims(&claims());
    for now in [at(0), at(5), at(1_735_689_599)] {
        let error = secret_verifier().verify(&token, now).unwrap_err();
        assert_eq!(error.code(), ErrorCode::Clock);
        assert!(matches!(&error, VerifyError::Clock(_)));
    }
    let error = secret_verifier().verify(&token, at(5)).unwrap_err();
    assert_eq!(error.to_string(), "the clock of this machine says 1970-01-01T00:00:05Z");
    assert!(matches!(secret_verifier().verify(&token, at(1_735_689_600)), Err(VerifyError::NotYetValid(_))));
    // A bad signature is reported even if the clock is unset.
    assert_eq!(secret_verifier().verify(&tampered(&token), at(0)), Err(VerifyError::Signature));
}

#[test]
fn an_unusable_key_is_refused() {
    let key = ec();
    let certificate = RSA_PEM.replace("PUBLIC KEY", "CERTIFICATE");
    let der = base64::prelude::BASE64_STANDARD.encode([&[0x30, 65][..], key.public_key().as_ref()].concat());
    let off_size = pem(b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x6e\x03\x21\0", &[7; 32]);
    for (file, error) in [
        (certificate.as_str(), KeyError::Pem),
        (&RSA_PEM.repeat(2), KeyError::Pem),
        (&RSA_PEM[..200], KeyError::Pem),
        (&RSA_PEM.replacen("MIIB", "MIIC", 1), KeyError::Pem),
        (&off_size, KeyError::Kind),
        (&der, KeyError::Form),
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA a@b", KeyError::Form),
        (&ec_jwk(&key, "a"), KeyError::Form),
        ("", KeyError::Short(0)),
        ("a secret of thirty-one bytes...\n", KeyError::Short(31)),
    ] {
        let refused = Verifier::from_key_file(file.as_bytes()).unwrap_err();
        assert_eq!((refused.code(), refused), (ErrorCode::Config, error), "{file}");
    }
    let raw = [&[0x30, 65][..], key.public_key().as_ref()].concat();
    let utf_16: Vec<u8> = "\u{feff}".encode_utf16().chain(RSA_PEM.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let base64 = |text: String| text.trim_end_matches('=').replace('+', "-").replace('/', "_").into_bytes();
    for file in [raw.clone(), [&raw[..], b"\n"].concat(), base64(der.clone()), utf_16] {
        assert_eq!(Verifier::from_key_file(&file).unwrap_err(), KeyError::Form);
    }
    for (jwks, error) in
        [("", KeyError::NotAKeySet), ("[]", KeyError::NotAKeySet), (r#"{"keys":[]}"#, KeyError::NoneUsable)]
    {
        assert_eq!(Verifier::from_jwks(jwks.as_bytes()).unwrap_err(), error);
    }
    assert_eq!(set(&["0"; 65]).unwrap_err(), KeyError::NotAKeySet);
    assert!(!format!("{:?}", secret_verifier()).contains("secret of"));
}

#[test]
fn a_point_off_the_curve_verifies_nothing() {
    let start =
        b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\0\x04";
    let verifier = Verifier::from_key_file(pem(start, &[9; 64]).as_bytes()).unwrap();
    assert_eq!(refusal(&verifier, &es256(&ec(), r#"{"alg":"ES256"}"#)), VerifyError::Signature);
}
